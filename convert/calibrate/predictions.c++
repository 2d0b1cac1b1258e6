// Logits of a few rows per window, in the order of windows.
#include "convert/calibrate/predictions.h"

#include <algorithm>

namespace quant {

namespace {

constexpr uint64_t kLogitBytes = uint64_t{128} << 20;

}  // namespace

Predictions::Predictions(const Model& model, const std::vector<int32_t>& tokens, int64_t window, int64_t windows, ThreadPool& pool)
    : window_(window), vocab_(model.config().vocab), pool_(&pool) {
    const int64_t held = static_cast<int64_t>(tokens.size()) / window;
    const int64_t count = std::min(held, windows);
    for (int64_t w = 0; w < count; ++w) {
        const auto from = tokens.begin() + w * held / count * window;
        tokens_.insert(tokens_.end(), from, from + window);
    }
    const uint64_t row = sizeof(float) * static_cast<uint64_t>(vocab_ * std::max<int64_t>(count, 1));
    places_ = std::clamp<int64_t>(static_cast<int64_t>(kLogitBytes / row), 1, std::max<int64_t>(window / 2, 1));
}

int64_t Predictions::place(int64_t index) const { return window_ / 2 + index * (window_ - window_ / 2) / places_; }

Status Predictions::run(PartRunner& head, const Hidden& hidden, const Step& step, std::vector<float>& out) {
    out.resize(static_cast<size_t>(windows() * places_ * vocab_));
    TRY(head.load(Part::logits, 0));
    std::vector<float> rows(static_cast<size_t>(places_ * hidden.width()));
    for (int64_t w = 0; w < windows(); ++w) {
        for (int64_t i = 0; i < places_; ++i)
            std::copy_n(hidden.at(w) + place(i) * hidden.width(), hidden.width(), rows.data() + i * hidden.width());
        std::copy_n(head.run(rows.data()).f32(), places_ * vocab_, out.data() + w * places_ * vocab_);
        TRY(step());
    }
    return {};
}

Predictions::Score Predictions::score(const std::vector<float>& logits, bool compared) const {
    const auto vocab = static_cast<size_t>(vocab_);
    const size_t rows = static_cast<size_t>(windows() * places_);
    std::vector<double> divergences(rows), surprises(rows);
    std::vector<float> scratch(2 * vocab * static_cast<size_t>(pool_->size()));
    pool_->for_each_piece(static_cast<int64_t>(rows), 1, [&](int64_t row, int64_t, int thread) {
        const auto i = static_cast<size_t>(row);
        // The last place of a window has no token behind it: it is not scored below.
        const int64_t at = place(row % places_);
        const int32_t next = at + 1 < window_ ? tokens_[static_cast<size_t>(row / places_ * window_ + at + 1)] : 0;
        const std::span<const float> q(logits.data() + i * vocab, vocab), p(kept_.data() + (compared ? i * vocab : 0), compared ? vocab : 0);
        const TokenScore found = score_token(q, p, next, scratch.data() + static_cast<size_t>(thread) * 2 * vocab);
        divergences[i] = found.divergence;
        surprises[i] = found.surprise;
    });
    Score out;
    out.divergence = mean_of(divergences);
    out.divergence.value = std::max(out.divergence.value, 0.0);
    std::vector<double> scored;
    for (size_t i = 0; i < rows; ++i)
        if (place(static_cast<int64_t>(i) % places_) + 1 < window_) scored.push_back(surprises[i]);
    out.surprise = mean_of(scored);
    return out;
}

Status Predictions::keep(PartRunner& head, const Hidden& hidden, const Step& step) { return run(head, hidden, step, kept_); }

Result<Predictions::Score> Predictions::compare(PartRunner& head, const Hidden& hidden, const Step& step) {
    std::vector<float> logits;
    TRY(run(head, hidden, step, logits));
    return score(logits, true);
}

Estimate Predictions::kept_surprise() const { return score(kept_, false).surprise; }

}  // namespace quant
