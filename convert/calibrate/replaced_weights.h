// The weights of a model, some of them replaced by encoded ones: what a part runner reads instead of the model's own.
#pragma once

#include <memory>
#include <unordered_map>

#include "model/weights.h"

namespace quant {

class ReplacedWeights {
public:
    explicit ReplacedWeights(const Weights& original) : original_(original), weights_(original) {}
    ReplacedWeights(const ReplacedWeights&) = delete;
    ReplacedWeights& operator=(const ReplacedWeights&) = delete;

    const Weights& weights() const { return weights_; }
    // `bytes` of encoded rows stay the caller's and must outlive their use here. A tensor that serves twice (a tied
    // table) is replaced in both places. `group`: rows that share a table, in formats that have such.
    void put(const TensorInfo& tensor, const Format& format, int64_t group, const uint8_t* data, uint64_t bytes);
    void restore(const TensorInfo& tensor);

private:
    void point(const TensorInfo& tensor, const TensorInfo* to);

    const Weights& original_;
    Weights weights_;
    std::unordered_map<std::string, std::unique_ptr<TensorInfo>> replaced_;  // by name
};

}  // namespace quant
