// Columns are changed row by row as rows are read. Where rows mix, a whole block of them is made at once and kept while
// its neighbours are being read.
#include "convert/transforms/transformed_source.h"

#include <algorithm>
#include <list>
#include <mutex>
#include <utility>

#include "base/file.h"

namespace quant {

namespace {

constexpr uint64_t kKeptBytes = uint64_t{64} << 20;  // of mixed blocks, or two of them

bool of_rows(const Fold& fold) { return fold.as == Fold::As::maker_rows || fold.as == Fold::As::query_rows; }
bool made(const Fold& fold) { return fold.as == Fold::As::maker_rows || fold.as == Fold::As::maker_elements; }

void change(const Fold& fold, float* values, int64_t count, int64_t channel) {
    if (made(fold)) fold.map->on_maker(values, count, channel);
    else fold.map->on_reader(values, count, channel);
}

struct Block {
    size_t tensor = 0;
    int64_t index = 0;
    std::shared_ptr<const std::vector<float>> rows;
};

class TransformedSource final : public Source {
public:
    explicit TransformedSource(std::shared_ptr<const Source> base) : base_(std::move(base)) {
        metadata_ = base_->metadata();
        tensors_ = base_->tensors();
        files_ = base_->files();
        bytes_ = base_->bytes();
        shards_ = base_->shard_count();
        warnings_ = base_->warnings();
        for (size_t i = 0; i < tensors_.size(); ++i) place_[tensors_[i].name] = from_.emplace_back(i);
    }

    Status add(const Edits& edits) {
        for (const AddedTensor& added : edits.added) {
            LET(from, find(added.copy_of));
            TensorInfo info = tensors_[from];
            info.name = added.name;
            info.data = nullptr;
            place_[added.name] = tensors_.size();
            from_.push_back(from_[from]);
            tensors_.push_back(std::move(info));
        }
        folds_.resize(tensors_.size());
        mixed_.resize(tensors_.size());
        for (const TensorFolds& each : edits.tensors) {
            LET(at, find(each.tensor));
            tensors_[at].data = nullptr;  // the stored bytes are not what it becomes
            for (const Fold& fold : each.folds) {
                folds_[at].push_back(fold);
                if (of_rows(fold) && fold.map->block() > 1) mixed_[at] = true;
            }
        }
        return {};
    }

    void read_rows(size_t tensor, int64_t row, int64_t count, float* out) const override {
        if (!mixed_[tensor]) return make_rows(tensor, row, count, out);
        const int64_t cols = tensors_[tensor].cols();
        while (count > 0) {
            const auto [first, length] = block_around(tensor, row);
            const int64_t step = std::min(count, first + length - row);
            if (length == 1) {
                make_rows(tensor, row, step, out);
            } else {
                const auto block = block_of(tensor, first, length);
                std::copy_n(block->data() + (row - first) * cols, step * cols, out);
            }
            row += step;
            count -= step;
            out += step * cols;
        }
    }

    // Of block formats: decoded, changed, encoded again.
    void stored_rows(size_t tensor, int64_t row, int64_t count, uint8_t* out) const override {
        if (!changed_here(tensor)) return base_->stored_rows(from_[tensor], row, count, out);
        const TensorInfo& info = tensors_[tensor];
        std::vector<float> values(static_cast<size_t>(info.cols() * count));
        read_rows(tensor, row, count, values.data());
        for (int64_t r = 0; r < count; ++r)
            info.format->encode(nullptr, values.data() + r * info.cols(), nullptr,
                                out + info.format->row_bytes(info.cols()) * static_cast<uint64_t>(r), info.cols());
    }

    void release(size_t tensor) const override {
        const std::lock_guard lock(mutex_);
        blocks_.remove_if([&](const Block& block) { return block.tensor == tensor; });
        base_->release(from_[tensor]);
    }

    std::vector<const Format*> exact_formats(size_t tensor) const override {
        return changed_here(tensor) ? std::vector<const Format*>() : base_->exact_formats(from_[tensor]);
    }
    void exact_rows(size_t tensor, const Format& format, int64_t row, int64_t count, uint8_t* out) const override {
        base_->exact_rows(from_[tensor], format, row, count, out);
    }
    std::string note(size_t tensor, const Format& wanted) const override {
        const std::string before = base_->note(from_[tensor], wanted);
        if (!changed_here(tensor)) return before;
        return before.empty() || before == kNote ? kNote : before + ", " + kNote;
    }
    bool changed(size_t tensor) const override { return changed_here(tensor) || base_->changed(from_[tensor]); }

private:
    static constexpr const char* kNote = "transformed";

    Result<size_t> find(const std::string& name) const {
        const auto found = place_.find(name);
        if (found == place_.end())
            return input_error(escaped(metadata_.origin) + ": tensor " + escaped(name) + ": expected by a transform, found none");
        return found->second;
    }

    bool changed_here(size_t tensor) const { return !folds_[tensor].empty(); }

    // Rows without those folds that mix rows.
    void make_rows(size_t tensor, int64_t row, int64_t count, float* out) const {
        base_->read_rows(from_[tensor], row, count, out);
        const TensorInfo& info = tensors_[tensor];
        const int64_t cols = info.cols();
        for (const Fold& fold : folds_[tensor]) {
            if (of_rows(fold) && fold.map->block() > 1) continue;
            for (int64_t r = 0; r < count; ++r) {
                float* values = out + r * cols;
                const int64_t matrix = fold.as == Fold::As::reader ? (row + r) / info.ne[1] : row + r;
                if (of_rows(fold)) scale_row(fold, row + r - fold.first, info.rows(), values, cols);
                else change(fold, values + fold.first, fold.count ? fold.count : cols, fold.per_matrix ? matrix * cols : 0);
            }
        }
    }

    // A factor of one channel: the map's effect on 1.
    static void scale_row(const Fold& fold, int64_t channel, int64_t rows, float* values, int64_t cols) {
        if (channel < 0 || channel >= (fold.count ? fold.count : rows)) return;
        float factor = 1;
        change(fold, &factor, 1, channel);
        for (int64_t c = 0; c < cols; ++c) values[c] *= factor;
    }

    // First row and number of rows that are made together with `row`.
    std::pair<int64_t, int64_t> block_around(size_t tensor, int64_t row) const {
        for (const Fold& fold : folds_[tensor]) {
            if (!mixes(fold, tensor, row)) continue;
            const int64_t size = fold.map->block();
            return {fold.first + (row - fold.first) / size * size, size};
        }
        return {row, 1};
    }

    bool mixes(const Fold& fold, size_t tensor, int64_t row) const {
        const int64_t count = fold.count ? fold.count : tensors_[tensor].rows();
        return of_rows(fold) && fold.map->block() > 1 && row >= fold.first && row < fold.first + count;
    }

    std::shared_ptr<const std::vector<float>> block_of(size_t tensor, int64_t first, int64_t length) const {
        const std::lock_guard lock(mutex_);
        for (const Block& block : blocks_)
            if (block.tensor == tensor && block.index == first) return block.rows;
        const int64_t cols = tensors_[tensor].cols();
        auto rows = std::make_shared<std::vector<float>>(static_cast<size_t>(length * cols));
        make_rows(tensor, first, length, rows->data());
        for (const Fold& fold : folds_[tensor])
            if (mixes(fold, tensor, first)) mix_rows(fold, first - fold.first, length, cols, rows->data());
        const size_t room = std::max<size_t>(2, kKeptBytes / (rows->size() * sizeof(float)));
        while (blocks_.size() >= room) blocks_.pop_front();
        blocks_.push_back({tensor, first, rows});
        return rows;
    }

    static void mix_rows(const Fold& fold, int64_t channel, int64_t length, int64_t cols, float* rows) {
        std::vector<float> column(static_cast<size_t>(length));
        for (int64_t c = 0; c < cols; ++c) {
            for (int64_t r = 0; r < length; ++r) column[static_cast<size_t>(r)] = rows[r * cols + c];
            change(fold, column.data(), length, channel);
            for (int64_t r = 0; r < length; ++r) rows[r * cols + c] = column[static_cast<size_t>(r)];
        }
    }

    std::shared_ptr<const Source> base_;
    std::vector<size_t> from_;  // by tensor: the base's
    std::unordered_map<std::string, size_t> place_;
    std::vector<std::vector<Fold>> folds_;
    std::vector<bool> mixed_;  // by tensor: some rows mix with others
    mutable std::mutex mutex_;
    mutable std::list<Block> blocks_;
};

}  // namespace

void Edits::add(const std::string& tensor, Fold fold) {
    const auto found = std::find_if(tensors.begin(), tensors.end(), [&](const TensorFolds& each) { return each.tensor == tensor; });
    if (found == tensors.end()) tensors.push_back({tensor, {std::move(fold)}});
    else found->folds.push_back(std::move(fold));
}

void Edits::add(Edits others) {
    for (TensorFolds& each : others.tensors)
        for (Fold& fold : each.folds) add(each.tensor, std::move(fold));
    added.insert(added.end(), others.added.begin(), others.added.end());
}

Result<std::shared_ptr<const Source>> transform_source(std::shared_ptr<const Source> source, const Edits& edits) {
    auto made = std::make_shared<TransformedSource>(std::move(source));
    TRY(made->add(edits));
    return std::shared_ptr<const Source>(std::move(made));
}

}  // namespace quant
