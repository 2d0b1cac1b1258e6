// The sites of every layer are known before the first window, so that the place of each in the spool is, too.
#include "convert/calibrate/gram_collection.h"

#include <algorithm>
#include <utility>

#include "base/log.h"

namespace quant {

namespace {

uint64_t sum_bytes(const GramSite& site) { return sizeof(double) * static_cast<uint64_t>(site.cols) * static_cast<uint64_t>(site.cols); }

}  // namespace

Result<GramCollection> GramCollection::begin(const Model& model, PartRunner& runner, const std::string& spool, uint64_t memory) {
    GramCollection out;
    out.memory_ = memory;
    const auto layers = static_cast<int32_t>(model.weights().layers.size());
    for (int32_t i = 0; i < layers; ++i) {
        TRY(runner.load(Part::layer, i));
        for (const Site& site : sites_of(runner.graph())) out.sites_.push_back({site.weights, model.gguf().find(site.weights.front())->cols(), i});
    }
    const TensorInfo& output = *model.weights().output;
    out.sites_.push_back({{output.name}, output.cols(), layers});
    const uint64_t needed = 2 * gram_file_bytes(out.sites_), room = free_bytes_at(spool);
    if (room > 0 && room < needed)
        return Error{Code::io, escaped(spool) + ": Gram matrices and their working file need " + human_bytes(needed) + " there, free are " + human_bytes(room)};
    LET(file, Spool::open(spool));
    out.spool_ = std::move(file);
    return out;
}

size_t GramCollection::first_site(int32_t layer) const {
    return static_cast<size_t>(std::find_if(sites_.begin(), sites_.end(), [&](const GramSite& site) { return site.layer >= layer; }) - sites_.begin());
}

std::vector<GramCollection::Group> GramCollection::groups(int32_t layer) const {
    std::vector<Group> out;
    uint64_t bytes = 0;
    for (size_t i = first_site(layer); i < sites_.size() && sites_[i].layer == layer; ++i) {
        const uint64_t own = sum_bytes(sites_[i]);
        if (out.empty() || bytes + own > memory_) out.push_back({i, i}), bytes = 0;
        out.back().end = i + 1;
        bytes += own;
    }
    if (out.empty()) out.push_back({0, 0});  // a layer of which nothing is kept is passed all the same
    return out;
}

int64_t GramCollection::all_passes() const {
    int64_t sum = 0;
    for (int32_t i = 0; i <= sites_.back().layer; ++i) sum += passes(i);
    return sum;
}

Result<bool> GramCollection::go_on_from(int32_t layer) {
    uint64_t bytes = 0;
    for (size_t i = 0; i < first_site(layer); ++i) bytes += sites_[i].bytes();
    if (spool_.bytes() < bytes) return false;
    TRY(spool_.cut(bytes));
    return true;
}

Status GramCollection::load(PartRunner& runner, int32_t layer, int64_t pass) {
    std::vector<Site> found;
    TRY(runner.load_with_sites(layer, found));
    const Group group = groups(layer)[static_cast<size_t>(pass)];
    sums_.clear();
    inputs_.clear();
    for (size_t i = group.begin; i < group.end; ++i) {
        sums_.emplace_back(sites_[i].cols, sites_[i].cols);
        inputs_.push_back(found[i - first_site(layer)].input);
    }
    return {};
}

void GramCollection::add(const PartRunner& runner, ThreadPool& pool) {
    for (size_t i = 0; i < sums_.size(); ++i) {
        const Tensor x = runner.value(inputs_[i]);
        sums_[i].add(x.f32(), x.ne[0], x.f32(), x.ne[0], x.ne[1], pool);
    }
}

void GramCollection::add_output(const Tensor& x, ThreadPool& pool) {
    if (sums_.empty()) sums_.emplace_back(sites_.back().cols, sites_.back().cols);
    sums_.front().add(x.f32(), x.ne[0], x.f32(), x.ne[0], x.ne[1], pool);
}

Status GramCollection::write() {
    for (const ProductSum& sum : sums_) {
        std::vector<float> row;
        for (int64_t i = 0; i < sum.rows(); ++i) {
            sum.mean_of_row(i, i + 1, row);
            TRY(spool_.append({reinterpret_cast<const uint8_t*>(row.data()), row.size() * sizeof(float)}));
        }
    }
    sums_.clear();
    return {};
}

}  // namespace quant
