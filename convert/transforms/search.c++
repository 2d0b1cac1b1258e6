// One pass over the layers with the unrounded model.
#include "convert/transforms/search.h"

#include <algorithm>
#include <cmath>
#include <memory>

#include "base/signals.h"
#include "convert/calibrate/gram.h"
#include "convert/calibrate/layers.h"

namespace quant {

namespace {

// What one site's matrices read over all windows.
struct Reading {
    Site site;
    InputStatistics statistics;
    ChannelRange ranges;
    std::unique_ptr<ProductSum> learned, held_out;
};

void add_ranges(const Tensor& x, ChannelRange& out) {
    const auto cols = static_cast<size_t>(x.ne[0]);
    for (int64_t t = 0; t < x.ne[1]; ++t) {
        const float* row = x.f32() + t * x.ne[0];
        for (size_t c = 0; c < cols; ++c) {
            const double v = static_cast<double>(row[c]);
            out.squares[c] += v * v;
            out.absolute[c] += std::fabs(v);
            out.low[c] = std::min(out.low[c], v);
            out.high[c] = std::max(out.high[c], v);
        }
    }
}

// Columns that share a channel become one.
ChannelRange by_channel(const Place& place, const ChannelRange& columns) {
    if (place.channel_of.empty()) return columns;
    ChannelRange out(static_cast<size_t>(place.channels));
    const double share = static_cast<double>(place.channels) / static_cast<double>(columns.squares.size());
    for (size_t c = 0; c < columns.squares.size(); ++c) {
        const auto j = static_cast<size_t>(place.channel_of[c]);
        out.squares[j] += share * columns.squares[c];
        out.absolute[j] += share * columns.absolute[c];
        out.low[j] = std::min(out.low[j], columns.low[c]);
        out.high[j] = std::max(out.high[j], columns.high[c]);
    }
    return out;
}

class Search {
public:
    Search(const Source& source, const Model& model, const PlannedTensors& planned, const std::vector<Place>& places, const Candidates& candidates, bool gate,
           const SplitWindows& text, const CheckOptions& options, ThreadPool& pool)
        : source_(source), model_(model), places_(places), candidates_(candidates), gate_(gate), text_(text), options_(options), pool_(pool),
          inputs_([this](const std::string& name) { return reading_of(name) ? &reading_of(name)->statistics : nullptr; }),
          loss_{model, planned, inputs_, pool} {}

    Result<PlaceChoices> run() {
        LET(runner, PartRunner::create(model_, model_.weights(), text_.window, pool_));
        Hidden x;
        TRY(x.make(text_.window, text_.count(), model_.config().embedding, options_.memory));
        TRY(runner.embed(text_.tokens, x));
        for (int32_t i = 0; i < static_cast<int32_t>(model_.weights().layers.size()); ++i) {
            TRY(read_layer(runner, i, x));
            for (const Place& place : places_)
                if (place.layer == i) TRY(decide(place));
        }
        return std::move(out_);
    }

private:
    const Reading* reading_of(const std::string& tensor) const {
        for (const Reading& reading : readings_)
            if (std::find(reading.site.weights.begin(), reading.site.weights.end(), tensor) != reading.site.weights.end()) return &reading;
        return nullptr;
    }

    Status read_layer(PartRunner& runner, int32_t index, Hidden& x) {
        std::vector<Site> sites;
        TRY(runner.load_with_sites(index, sites));
        readings_.clear();
        for (const Site& site : sites) {
            const int64_t cols = model_.gguf().find(site.weights.front())->cols();
            readings_.push_back({site, {}, ChannelRange(static_cast<size_t>(cols)), std::make_unique<ProductSum>(cols, cols),
                                 std::make_unique<ProductSum>(cols, cols)});
        }
        const std::string what = "transforms of blk." + std::to_string(index);
        TRY(runner.advance(x, [&](int64_t w) -> Status {
            for (Reading& reading : readings_) {
                const Tensor input = runner.value(reading.site.input);
                ProductSum& sum = SplitWindows::held(w) ? *reading.held_out : *reading.learned;
                sum.add(input.f32(), input.ne[0], input.f32(), input.ne[0], text_.window, pool_);
                if (!SplitWindows::held(w)) add_ranges(input, reading.ranges);
            }
            if (interrupted() || (options_.step && !options_.step(what))) return Error{Code::interrupted, "interrupted"};
            return {};
        }));
        for (Reading& reading : readings_) {
            const auto count = static_cast<double>(reading.learned->tokens());
            reading.statistics.learned = reading.learned->mean(count);
            reading.statistics.held_out = reading.held_out->mean(static_cast<double>(reading.held_out->tokens()));
            for (double& each : reading.ranges.squares) each /= count;
            for (double& each : reading.ranges.absolute) each /= count;
            reading.learned.reset();
            reading.held_out.reset();
        }
        return {};
    }

    Status decide(const Place& place) {
        if (place.readers.empty()) return {};
        const Reading* reading = reading_of(place.readers.front().tensor);
        if (!reading) return {};
        // What q and k make is no column of a reader's input.
        const ChannelRange inputs = place.kind == PlaceKind::keys ? ChannelRange() : by_channel(place, reading->ranges);
        const ChannelRange weights = reader_ranges(source_, place);
        std::vector<PlaceMap> found = candidates_({place, inputs, weights});
        if (found.empty()) return {};
        size_t best = 0;
        double least = 0;
        for (size_t i = 0; i < found.size(); ++i) {
            LET(loss, loss_.of(place, found[i], false));
            if (i == 0 || loss < least) best = i, least = loss;
        }
        LET(before, loss_.of(place, {}, true));
        const PlaceMap& map = found[best];
        LET(after, loss_.of(place, map, true));
        const bool kept = !gate_ || after < before;
        out_.gains.push_back({place.layer, place.name, map.name, before, after, kept});
        if (kept) out_.edits.add(fold_at(place, map.for_makers, map.for_readers));
        return {};
    }

    const Source& source_;
    const Model& model_;
    const std::vector<Place>& places_;
    const Candidates& candidates_;
    bool gate_;
    const SplitWindows& text_;
    const CheckOptions& options_;
    ThreadPool& pool_;
    std::vector<Reading> readings_;  // of the layer at hand
    std::function<const InputStatistics*(const std::string&)> inputs_;
    PlaceLoss loss_;
    PlaceChoices out_;
};

void add_row(const std::vector<float>& row, const Place& place, int64_t first, ChannelRange& out, std::vector<double>& seen) {
    for (size_t c = 0; c < row.size(); ++c) {
        const size_t j = place.channel_of.empty() ? static_cast<size_t>(first) + c : static_cast<size_t>(place.channel_of[c]);
        const double v = static_cast<double>(row[c]);
        out.squares[j] += v * v;
        out.absolute[j] += std::fabs(v);
        out.low[j] = std::min(out.low[j], v);
        out.high[j] = std::max(out.high[j], v);
        ++seen[j];
    }
}

size_t index_of(const Source& source, const std::string& name) {
    const auto& tensors = source.tensors();
    return static_cast<size_t>(std::find_if(tensors.begin(), tensors.end(), [&](const TensorInfo& each) { return each.name == name; }) -
                               tensors.begin());
}

void finish(ChannelRange& out, const std::vector<double>& seen) {
    for (size_t j = 0; j < seen.size(); ++j)
        if (seen[j] > 0) out.squares[j] /= seen[j], out.absolute[j] /= seen[j];
}

}  // namespace

Result<PlaceChoices> search_places(const Source& source, const Model& model, const PlannedTensors& planned, const std::vector<Place>& places,
                                   const Candidates& candidates, bool gate, const SplitWindows& text,
                                   const CheckOptions& options, ThreadPool& pool) {
    return Search(source, model, planned, places, candidates, gate, text, options, pool).run();
}

ChannelRange reader_ranges(const Source& source, const Place& place) {
    ChannelRange out(static_cast<size_t>(place.channels));
    std::vector<double> seen(static_cast<size_t>(place.channels));
    for (const Place::Side& side : place.readers) {
        if (side.as != Fold::As::reader) continue;
        const size_t at = index_of(source, side.tensor);
        const TensorInfo& tensor = source.tensors()[at];
        std::vector<float> row(static_cast<size_t>(tensor.cols()));
        for (int64_t r = 0; r < tensor.rows(); ++r) {
            source.read_rows(at, r, 1, row.data());
            add_row(row, place, side.per_matrix ? r / tensor.ne[1] * tensor.cols() : 0, out, seen);
        }
    }
    finish(out, seen);
    return out;
}

ChannelRange maker_ranges(const Source& source, const Place& place) {
    ChannelRange out(static_cast<size_t>(place.channels));
    for (const Place::Side& side : place.makers) {
        const size_t at = index_of(source, side.tensor);
        const TensorInfo& tensor = source.tensors()[at];
        const bool gain = side.as == Fold::As::maker_elements;
        if (gain && place.kind != PlaceKind::norm) continue;  // a bias
        std::vector<float> row(static_cast<size_t>(tensor.cols()));
        const int64_t count = gain ? 1 : side.count ? side.count : tensor.rows();
        for (int64_t r = 0; r < count; ++r) {
            source.read_rows(at, gain ? r : side.first + r, 1, row.data());
            double squares = 0;
            for (const float each : row) squares += static_cast<double>(each) * static_cast<double>(each);
            for (size_t j = gain ? 0 : static_cast<size_t>(r); j < (gain ? row.size() : static_cast<size_t>(r) + 1); ++j) {
                const double width = gain ? std::fabs(static_cast<double>(row[j])) : std::sqrt(squares);
                if (out.squares[j] > 0) continue;  // a norm's bias after its gain
                out.squares[j] = width * width;
                out.absolute[j] = width;
                out.low[j] = -width;
                out.high[j] = width;
            }
        }
    }
    return out;
}

PlaceMap scale_map_of(const Place& place, ScaleCandidate candidate) {
    const std::vector<float> columns = by_column(place, candidate.s);
    return {std::move(candidate.name), scale_map(std::move(candidate.s)), scale_map(columns)};
}

}  // namespace quant
