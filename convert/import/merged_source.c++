// Merging as a Source over Sources: rows of the base plus rows of B times A.
#include "convert/import/merged_source.h"

#include <algorithm>
#include <mutex>
#include <unordered_map>
#include <utility>

#include "base/file.h"
#include "base/log.h"
#include "model/adapter.h"

namespace quant {

namespace {

// scale * left * right, [rows, rank] * [rank, cols]: B and A, of an embedding A and B transposed.
struct Addend {
    const Source* adapter;
    size_t left, right;  // its tensors
    bool transposed;     // right is stored [cols, rank]
    int64_t rank;
    float scale;
};

class MergedSource final : public Source {
public:
    explicit MergedSource(std::unique_ptr<Source> base) : base_(std::move(base)) {
        metadata_ = base_->metadata();
        tensors_ = base_->tensors();
        files_ = base_->files();
        bytes_ = base_->bytes();
        shards_ = base_->shard_count();
        warnings_ = base_->warnings();
        for (size_t i = 0; i < tensors_.size(); ++i) place_[tensors_[i].name] = i;
        addends_.resize(tensors_.size());
    }

    Status add(AdapterToMerge given) {
        const Source& adapter = *given.adapter;
        LET(parts, find_adapter_parts(adapter.metadata(), adapter.tensors()));
        LET(architecture, metadata_.get_string("general.architecture"));
        if (parts.architecture != architecture.value_or(""))
            return input_error(escaped(adapter.metadata().origin) + ": general.architecture: expected '" +
                               escaped(architecture.value_or("")) + "', the model's, found '" + escaped(parts.architecture) + "'");
        for (const AdapterPart& part : parts.parts) TRY(add_part(adapter, part, given.scale));
        warnings_.insert(warnings_.end(), adapter.warnings().begin(), adapter.warnings().end());
        if (parts.norms > 0)
            warnings_.push_back(format_text("%s: %zu norm vectors in it are left out", escaped(adapter.metadata().origin).c_str(), parts.norms));
        files_.insert(files_.end(), adapter.files().begin(), adapter.files().end());
        adapters_.push_back(std::move(given.adapter));
        return {};
    }

    void read_rows(size_t tensor, int64_t row, int64_t count, float* out) const override {
        base_->read_rows(tensor, row, count, out);
        if (addends_[tensor].empty()) return;
        const int64_t cols = tensors_[tensor].cols();
        const std::shared_ptr<const Factors> right = factors_of(tensor);
        std::vector<float> left, sum(static_cast<size_t>(cols));
        for (size_t i = 0; i < addends_[tensor].size(); ++i) {
            const Addend& addend = addends_[tensor][i];
            left.resize(static_cast<size_t>(addend.rank * count));
            addend.adapter->read_rows(addend.left, row, count, left.data());
            for (int64_t r = 0; r < count; ++r) {
                std::fill(sum.begin(), sum.end(), 0.0f);
                for (int64_t k = 0; k < addend.rank; ++k) {
                    const float factor = left[static_cast<size_t>(r * addend.rank + k)];
                    const float* from = (*right)[i].data() + k * cols;
                    for (int64_t c = 0; c < cols; ++c) sum[static_cast<size_t>(c)] += factor * from[c];
                }
                float* to = out + r * cols;
                for (int64_t c = 0; c < cols; ++c) to[c] += addend.scale * sum[static_cast<size_t>(c)];
            }
        }
    }

    // Of block formats: decoded, merged, encoded again.
    void stored_rows(size_t tensor, int64_t row, int64_t count, uint8_t* out) const override {
        if (addends_[tensor].empty()) return base_->stored_rows(tensor, row, count, out);
        const TensorInfo& info = tensors_[tensor];
        std::vector<float> values(static_cast<size_t>(info.cols() * count));
        read_rows(tensor, row, count, values.data());
        for (int64_t r = 0; r < count; ++r)
            info.format->encode(nullptr, values.data() + r * info.cols(), nullptr,
                                out + info.format->row_bytes(info.cols()) * static_cast<uint64_t>(r), info.cols());
    }

    void release(size_t tensor) const override {
        const std::lock_guard lock(mutex_);
        factors_.erase(tensor);
        base_->release(tensor);
    }

    std::string note(size_t tensor, const Format& wanted) const override {
        if (addends_[tensor].empty()) return base_->note(tensor, wanted);
        const bool again = tensors_[tensor].format->kind == FormatKind::block && tensors_[tensor].format == &wanted;
        return again ? "merged and encoded again" : "merged";
    }
    bool changed(size_t tensor) const override { return !addends_[tensor].empty(); }

private:
    using Factors = std::vector<std::vector<float>>;  // right sides, by addend

    Status add_part(const Source& adapter, const AdapterPart& part, float scale) {
        const auto found = place_.find(part.target);
        const TensorInfo& a = adapter.tensors()[part.a];
        TensorInfo* target = found == place_.end() ? nullptr : &tensors_[found->second];
        TRY(check_adapter_target(adapter.metadata().origin, part, a, adapter.tensors()[part.b], target));
        if (part.lookup && !place_.contains("output.weight"))
            return input_error(escaped(adapter.metadata().origin) + ": adapts " + escaped(part.target) +
                               ", which is the output matrix as well: merging would change both (run --lora does not)");
        target->data = nullptr;  // the stored bytes are not what it becomes
        const size_t left = part.lookup ? part.a : part.b, right = part.lookup ? part.b : part.a;
        const int64_t rank = part.lookup ? a.ne[0] : a.ne[1];
        addends_[found->second].push_back({&adapter, left, right, part.lookup, rank, scale * part.scale});
        return {};
    }

    // Right sides as floats, made by whoever needs them first, until the tensor is released.
    std::shared_ptr<const Factors> factors_of(size_t tensor) const {
        const std::lock_guard lock(mutex_);
        std::shared_ptr<const Factors>& kept = factors_[tensor];
        if (kept) return kept;
        auto made = std::make_shared<Factors>();
        for (const Addend& addend : addends_[tensor]) {
            const TensorInfo& info = addend.adapter->tensors()[addend.right];
            std::vector<float> stored(static_cast<size_t>(info.elements()));
            addend.adapter->read_rows(addend.right, 0, info.rows(), stored.data());
            if (!addend.transposed) {
                made->push_back(std::move(stored));
                continue;
            }
            std::vector<float> turned(stored.size());
            const int64_t cols = info.rows();
            for (int64_t c = 0; c < cols; ++c)
                for (int64_t k = 0; k < addend.rank; ++k)
                    turned[static_cast<size_t>(k * cols + c)] = stored[static_cast<size_t>(c * addend.rank + k)];
            made->push_back(std::move(turned));
        }
        return kept = std::move(made);
    }

    std::unique_ptr<Source> base_;
    std::vector<std::unique_ptr<Source>> adapters_;
    std::unordered_map<std::string, size_t> place_;
    std::vector<std::vector<Addend>> addends_;  // by tensor
    mutable std::mutex mutex_;
    mutable std::unordered_map<size_t, std::shared_ptr<const Factors>> factors_;
};

}  // namespace

Result<std::unique_ptr<Source>> merge_adapters(std::unique_ptr<Source> base, std::vector<AdapterToMerge> adapters) {
    auto merged = std::make_unique<MergedSource>(std::move(base));
    for (AdapterToMerge& each : adapters) TRY(merged->add(std::move(each)));
    return std::unique_ptr<Source>(std::move(merged));
}

}  // namespace quant
