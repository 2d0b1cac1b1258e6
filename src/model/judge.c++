// Perplexity and Kullback-Leibler divergence from logits. Logits are taken in pieces, so that memory does not
// grow with the window; rows are scored in parallel, sums are taken in the order of the text.
#include "model/judge.h"

#include <algorithm>
#include <cmath>

#include "base/log.h"
#include "base/threads.h"

namespace quant {
namespace {

constexpr uint64_t kLogitBytes = uint64_t{96} << 20;  // of one model at a time

// Turns logits into probabilities in `p`; returns ln(sum(exp(logits))).
double to_probabilities(std::span<const float> logits, float* p, size_t* top) {
    std::copy(logits.begin(), logits.end(), p);
    *top = static_cast<size_t>(std::max_element(logits.begin(), logits.end()) - logits.begin());
    kernels().softmax(p, static_cast<int64_t>(logits.size()), nullptr);
    return static_cast<double>(logits[*top]) - std::log(static_cast<double>(p[*top]));
}

}  // namespace

double TokenScore::change() const { return std::exp(-surprise) - std::exp(-base_surprise); }

TokenScore score_token(std::span<const float> logits, std::span<const float> base, int32_t target,
                       float* scratch) {
    TokenScore score;
    size_t top = 0, base_top = 0;
    const double total = to_probabilities(logits, scratch, &top);
    score.surprise = total - static_cast<double>(logits[static_cast<size_t>(target)]);
    if (base.empty()) return score;
    float* p = scratch + logits.size();
    const double base_total = to_probabilities(base, p, &base_top);
    score.base_surprise = base_total - static_cast<double>(base[static_cast<size_t>(target)]);
    score.same_top = top == base_top;
    // Sum of p (ln p - ln q), with the normalisations inside each term, where they cancel.
    double sum[4] = {0, 0, 0, 0};
    const double shift = total - base_total;
    for (size_t i = 0; i < logits.size(); ++i)
        sum[i % 4] += static_cast<double>(p[i]) *
                      (static_cast<double>(base[i]) - static_cast<double>(logits[i]) + shift);
    score.divergence = (sum[0] + sum[1]) + (sum[2] + sum[3]);
    return score;
}

Estimate mean_of(std::span<const double> values) {
    if (values.empty()) return {};
    const auto n = static_cast<double>(values.size());
    double sum = 0, squares = 0;
    for (const double value : values) sum += value;
    for (const double value : values) squares += (value - sum / n) * (value - sum / n);
    return {sum / n, n > 1 ? std::sqrt(squares / (n - 1) / n) : 0};
}

double quantile(std::span<const double> sorted, double share) {
    const double at = share * static_cast<double>(sorted.size() - 1);
    const auto low = static_cast<size_t>(at);
    const size_t high = std::min(low + 1, sorted.size() - 1);
    return sorted[low] + (at - static_cast<double>(low)) * (sorted[high] - sorted[low]);
}

Judgement summarize(std::span<const TokenScore> scores, bool compared) {
    Judgement all;
    all.tokens = static_cast<int64_t>(scores.size());
    all.compared = compared;
    if (scores.empty()) return all;
    auto each = [&](auto field) {
        std::vector<double> values;
        values.reserve(scores.size());
        for (const TokenScore& score : scores) values.push_back(field(score));
        return values;
    };
    auto perplexity = [](const Estimate& surprise) {
        const double value = std::exp(surprise.value);
        return Estimate{value, value * surprise.error};
    };
    all.perplexity = perplexity(mean_of(each([](const TokenScore& s) { return s.surprise; })));
    if (!compared) return all;
    all.base_perplexity = perplexity(mean_of(each([](const TokenScore& s) { return s.base_surprise; })));
    all.log_ratio = mean_of(each([](const TokenScore& s) { return s.surprise - s.base_surprise; }));
    std::vector<double> divergence = each([](const TokenScore& s) { return s.divergence; });
    all.divergence = mean_of(divergence);
    std::sort(divergence.begin(), divergence.end());
    all.divergence_median = quantile(divergence, 0.5);
    all.divergence_90 = quantile(divergence, 0.9);
    all.divergence_95 = quantile(divergence, 0.95);
    all.divergence_99 = quantile(divergence, 0.99);
    all.divergence_999 = quantile(divergence, 0.999);
    all.divergence_max = divergence.back();
    all.same_top = mean_of(each([](const TokenScore& s) { return s.same_top ? 1.0 : 0.0; }));
    const Estimate square = mean_of(each([](const TokenScore& s) { return s.change() * s.change(); }));
    const double rms = std::sqrt(square.value);
    all.change_rms = {rms, rms > 0 ? square.error / (2 * rms) : 0};
    return all;
}

namespace {

class Judge {
public:
    Judge(Session& session, Session* base) : session_(session), base_(base) {
        const auto vocab = static_cast<size_t>(session.model().config().vocab);
        scratch_.resize(static_cast<size_t>(session.threads().size()) * 2 * vocab);
        most_rows_ = std::max<int64_t>(1, static_cast<int64_t>(kLogitBytes / (sizeof(float) * vocab)));
    }

    // Appends the scores of tokens[first + 1 ...], each predicted from all before it.
    Status window(std::span<const int32_t> tokens, size_t first, std::vector<TokenScore>& scores) {
        session_.truncate(0);
        TRY(session_.eval(tokens.first(first), LogitsOf::none));
        if (base_) {
            base_->truncate(0);
            TRY(base_->eval(tokens.first(first), LogitsOf::none));
        }
        for (size_t at = first; at + 1 < tokens.size();) {
            const size_t rows = std::min(static_cast<size_t>(most_rows_), tokens.size() - 1 - at);
            TRY(session_.eval(tokens.subspan(at, rows), LogitsOf::all));
            if (base_) TRY(base_->eval(tokens.subspan(at, rows), LogitsOf::all));
            score_rows(tokens.subspan(at + 1, rows), scores);
            at += rows;
        }
        return {};
    }

private:
    void score_rows(std::span<const int32_t> targets, std::vector<TokenScore>& scores) {
        const size_t start = scores.size(), vocab = static_cast<size_t>(session_.model().config().vocab);
        scores.resize(start + targets.size());
        session_.threads().for_each_piece(
            static_cast<int64_t>(targets.size()), 1, [&](int64_t row, int64_t, int thread) {
                const auto i = static_cast<size_t>(row);
                const std::span<const float> base = base_ ? base_->logits(row) : std::span<const float>{};
                scores[start + i] = score_token(session_.logits(row), base, targets[i],
                                                scratch_.data() + static_cast<size_t>(thread) * 2 * vocab);
            });
    }

    Session& session_;
    Session* base_;
    std::vector<float> scratch_;
    int64_t most_rows_;
};

}  // namespace

Result<int64_t> judged_windows(size_t tokens, const JudgeOptions& options) {
    const auto window = static_cast<size_t>(std::max<int64_t>(options.window, 0));
    if (window < 4)
        return usage_error("a window needs at least 4 tokens, found " + std::to_string(options.window));
    if (tokens < 2 * window)
        return usage_error(
            format_text("the text has %zu tokens, two windows of %zu need %zu", tokens, window, 2 * window));
    const auto held = static_cast<int64_t>(tokens / window);
    return options.windows > 0 ? std::min(options.windows, held) : held;
}

Result<Judgement> judge(Session& session, Session* base, std::span<const int32_t> text,
                        const JudgeOptions& options) {
    LET(total, judged_windows(text.size(), options));
    const auto window = static_cast<size_t>(options.window);
    if (base && base->model().config().vocab != session.model().config().vocab)
        return usage_error(format_text("the models have different vocabularies: %lld and %lld tokens",
                                       static_cast<long long>(session.model().config().vocab),
                                       static_cast<long long>(base->model().config().vocab)));
    const Vocabulary& vocabulary = session.model().tokenizer().vocabulary();
    Judge work(session, base);
    std::vector<TokenScore> scores;
    for (int64_t i = 0; i < total; ++i) {
        const auto part = text.subspan(static_cast<size_t>(i) * window, window);
        std::vector<int32_t> tokens(part.begin(), part.end());
        if (vocabulary.add_bos && vocabulary.bos >= 0) tokens[0] = vocabulary.bos;
        TRY(work.window(tokens, window / 2, scores));
        if (options.progress) TRY(options.progress(scores));
    }
    Judgement result = summarize(scores, base != nullptr);
    result.windows = total;
    return result;
}

}  // namespace quant
