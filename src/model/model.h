// A loaded model: what was read (Config), what is mapped (tensors by role), its tokenizer. Immutable, shared by sessions.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "gguf/gguf.h"
#include "model/config.h"
#include "text/tokenizer.h"

namespace quant {

struct Architecture;  // model/architecture.h: the data that makes one

struct Layer;    // model/weights.h: tensors of one layer by role
struct Weights;

// The largest absolute value of what a weight reads, for int8 activations of one fixed scale; by the weight's name.
using ActivationRanges = std::map<std::string, float, std::less<>>;
// Keys of our own where a file holds them: names, and ranges in their order.
inline constexpr const char* kRangeNamesKey = "quant.activations.tensors";
inline constexpr const char* kRangesKey = "quant.activations.ranges";

class Model {
public:
    // Opens, validates every hyper-parameter and every tensor's shape. Errors name file, key or tensor.
    static Result<std::shared_ptr<const Model>> load(const std::string& path, MappedFile::Mode mode = MappedFile::Mode::map);
    static Result<std::shared_ptr<const Model>> from_gguf(Gguf gguf);
    ~Model();

    const Config& config() const { return config_; }
    const Gguf& gguf() const { return gguf_; }
    const Tokenizer& tokenizer() const { return tokenizer_; }
    const Architecture& architecture() const { return *architecture_; }
    const Weights& weights() const { return *weights_; }
    const ActivationRanges& activation_ranges() const { return ranges_; }  // empty: none in the file
    std::string description() const;  // "llama 4.2M Q4_K - Medium"

private:
    Model();
    Gguf gguf_;
    Config config_;
    Tokenizer tokenizer_;
    ActivationRanges ranges_;
    const Architecture* architecture_ = nullptr;
    std::unique_ptr<Weights> weights_;
};

// Fills the vocabulary from `tokenizer.ggml.*`, with the ecosystem's defaults for absent keys.
Result<Vocabulary> read_vocabulary(const Metadata& metadata);

}  // namespace quant
