// Rows are independent once the factor is there, so they are read, rounded and forgotten in slabs.
#include "convert/saved_rounding.h"

#include <algorithm>

#include "base/log.h"
#include "convert/rounding/factor.h"
#include "convert/stream/row_checks.h"
#include "formats/side_data.h"

namespace quant {

namespace {

constexpr int64_t kSlabWeights = int64_t{1} << 24;
constexpr int64_t kTileRows = 16;  // that error feedback takes at once

}  // namespace

bool rounds_from(const GramFile& grams, const PlannedTensor& tensor) {
    return tensor.out.format->kind == FormatKind::block && !tensor.copies() && !tensor.repacked && tensor.out.ne[2] == 1 && grams.find(tensor.out.name);
}

Status check_grams(const GramFile& grams, const Plan& plan, std::vector<std::string>& warnings) {
    size_t known = 0, missing = 0;
    std::string first;
    for (const PlannedTensor& tensor : plan.tensors) {
        const bool rounded = tensor.out.format->kind == FormatKind::block && !tensor.copies() && !tensor.repacked;
        const TensorInfo* site = grams.find(tensor.out.name);
        if (site && tensor.out.ne[1] > 1 && GramFile::cols(*site) != tensor.out.cols())
            return input_error(escaped(grams.path()) + ": " + escaped(site->name) +
                               format_text(": expected %lld columns as in ", static_cast<long long>(tensor.out.cols())) + escaped(tensor.out.name) +
                               format_text(", found %lld", static_cast<long long>(GramFile::cols(*site))));
        if (rounds_from(grams, tensor)) ++known;
        else if (rounded && tensor.out.name.starts_with("blk.") && missing++ == 0) first = tensor.out.name;
        if (rounded && !site && !tensor.importance && tensor.out.format->needs_importance)
            return usage_error(std::string(tensor.out.format->name) + " needs importance for " + escaped(tensor.out.name) + ", which " + escaped(grams.path()) +
                               " does not know: give --imatrix FILE too");
    }
    if (known == 0) return input_error(escaped(grams.path()) + ": knows no matrix that is quantized here");
    if (missing > 0)
        warnings.push_back(escaped(grams.path()) + format_text(": %zu matrices of layers have no Gram matrix and are rounded without feedback, the first is ", missing) + first);
    return {};
}

Result<const uint8_t*> SavedRounding::tensor(size_t index) {
    const PlannedTensor& planned = plan_.tensors[index];
    if (!rounds_from(grams_, planned)) return static_cast<const uint8_t*>(nullptr);
    const TensorInfo& out = planned.out;
    const Format& format = *out.format;
    const int64_t cols = out.cols(), rows = out.rows();
    if (const TensorInfo* site = grams_.find(out.name); site != site_) {
        site_ = nullptr;
        LET(gram, grams_.read(*site));
        feedback_ = damped_for(options_, cols, static_cast<double>(grams_.facts().windows * grams_.facts().window));
        LET(factor, inverse_factor(gram, cols, feedback_.damping, pool_));
        gram_ = std::move(gram);
        factor_ = std::move(factor);
        site_ = site;
    }
    const int64_t fitting = std::max<int64_t>(1, kSlabWeights / cols / kTileRows) * kTileRows;
    const int64_t slab = format.head ? rows : std::min(rows, fitting);
    blocks_.resize(out.bytes);
    std::vector<float> values(static_cast<size_t>(slab * cols));
    for (int64_t row = 0; row < rows; row += slab) {
        const int64_t count = std::min(slab, rows - row);
        pool_.for_each_piece(count, 16, [&](int64_t begin, int64_t end, int) {
            float* to = values.data() + begin * cols;
            source_.read_rows(index, row + begin, end - begin, to);
            zero_nonfinite(to, static_cast<size_t>((end - begin) * cols));  // whether they are an error is seen when rows are written
        });
        round_with_factor(format, values.data(), count, cols, out.group, gram_, factor_, feedback_, pool_,
                          blocks_.data() + static_cast<uint64_t>(row) * (format.head ? 0 : format.row_bytes(cols)));
    }
    return blocks_.data();
}

}  // namespace quant
