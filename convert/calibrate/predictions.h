// What a model predicts at places spread over windows of text, kept to be compared with what it predicts when weights
// change. Knows hidden states, not what was changed.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "base/result.h"
#include "base/threads.h"
#include "convert/calibrate/layers.h"
#include "model/judge.h"

namespace quant {

class Predictions {
public:
    // At most `windows` whole windows of `tokens`, spread evenly. In each the same places of its second half are looked
    // at: as many as keep all logits of the unchanged model within 128 MiB.
    Predictions(const Model& model, const std::vector<int32_t>& tokens, int64_t window, int64_t windows, ThreadPool& pool);

    const std::vector<int32_t>& tokens() const { return tokens_; }
    int64_t windows() const { return static_cast<int64_t>(tokens_.size()) / window_; }
    int64_t places() const { return places_; }  // of a window; the window of the runner that run() gets

    // `head` computes logits (Part::logits is loaded here) from `hidden`, the states behind the last layer. `step` is
    // called after each window and may stop.
    using Step = std::function<Status()>;
    Status keep(PartRunner& head, const Hidden& hidden, const Step& step);

    struct Score {
        Estimate divergence;  // from the predictions kept, nats per token
        Estimate surprise;    // -ln p(next token)
    };
    Result<Score> compare(PartRunner& head, const Hidden& hidden, const Step& step);
    Estimate kept_surprise() const;

private:
    Status run(PartRunner& head, const Hidden& hidden, const Step& step, std::vector<float>& out);
    Score score(const std::vector<float>& logits, bool compared) const;
    int64_t place(int64_t index) const;  // in a window

    std::vector<int32_t> tokens_;
    int64_t window_, vocab_, places_ = 1;
    ThreadPool* pool_;
    std::vector<float> kept_;
};

}  // namespace quant
