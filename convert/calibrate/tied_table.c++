// Errors of a plain rounding are put into one place at a time.
#include "convert/calibrate/tied_table.h"

#include "convert/calibrate/predictions.h"
#include "convert/calibrate/replaced_weights.h"

namespace quant {

namespace {

constexpr int64_t kWindows = 4;

Status through_layers(const Model& model, PartRunner& runner, const std::vector<int32_t>& tokens, Hidden& x) {
    TRY(runner.embed(tokens, x));
    for (size_t i = 0; i < model.weights().layers.size(); ++i) {
        TRY(runner.load(Part::layer, static_cast<int32_t>(i)));
        TRY(runner.advance(x, {}));
    }
    return {};
}

// Rows one by one: a table of many rows need not be in memory twice as floats.
std::vector<uint8_t> rounded(const TensorInfo& table, const Format& format, ThreadPool& pool) {
    std::vector<uint8_t> blocks(format.tensor_bytes(table.cols(), table.rows()));
    pool.for_each_piece(table.rows(), 8, [&](int64_t begin, int64_t end, int) {
        std::vector<float> row(static_cast<size_t>(table.cols()));
        for (int64_t r = begin; r < end; ++r) {
            decode_rows(*table.format, table.view(), r, 1, row.data());
            format.encode(nullptr, row.data(), nullptr, blocks.data() + static_cast<uint64_t>(r) * format.row_bytes(table.cols()), table.cols());
        }
    });
    return blocks;
}

}  // namespace

Result<double> lookup_share(const Model& model, const std::vector<int32_t>& tokens, int64_t window, uint64_t memory, ThreadPool& pool) {
    const TensorInfo& table = *model.weights().embedding;
    const Format& format = format_of(FormatSlot::q4_0);
    if (model.weights().output != &table || table.cols() % format.block != 0) return 0.0;
    const std::vector<uint8_t> blocks = rounded(table, format, pool);
    ReplacedWeights changed(model.weights());
    changed.put(table, format, 0, blocks.data(), blocks.size());
    Predictions predictions(model, tokens, window, kWindows, pool);
    LET(original, PartRunner::create(model, model.weights(), window, pool));
    LET(looked_up, PartRunner::create(model, changed.weights(), window, pool));
    LET(original_head, PartRunner::create(model, model.weights(), predictions.places(), pool));
    LET(changed_head, PartRunner::create(model, changed.weights(), predictions.places(), pool));
    const Predictions::Step none = [] { return Status(); };
    Hidden x;
    TRY(x.make(window, predictions.windows(), model.config().embedding, memory));
    TRY(through_layers(model, original, predictions.tokens(), x));
    TRY(predictions.keep(original_head, x, none));
    LET(output, predictions.compare(changed_head, x, none));
    TRY(through_layers(model, looked_up, predictions.tokens(), x));
    LET(lookup, predictions.compare(original_head, x, none));
    return output.divergence.value > 0 ? lookup.divergence.value / output.divergence.value : 0.0;
}

void add_lookups(std::vector<float>& gram, int64_t n, double share) {
    double sum = 0;
    for (int64_t i = 0; i < n; ++i) sum += static_cast<double>(gram[static_cast<size_t>(i * n + i)]);
    const auto extra = static_cast<float>(share * sum / static_cast<double>(n));
    for (int64_t i = 0; i < n; ++i) gram[static_cast<size_t>(i * n + i)] += extra;
}

}  // namespace quant
