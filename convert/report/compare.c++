// Sums are taken per row and added in the order of rows: the same for any number of threads.
#include "convert/report/compare.h"

#include <algorithm>
#include <cmath>
#include <unordered_map>

#include "base/signals.h"

namespace quant {

namespace {

constexpr size_t kWorst = 6;
constexpr size_t kBins = 81;
constexpr double kRange = 4;  // root mean squares
constexpr int64_t kPieceWeights = 65536;

struct RowSums {
    double error = 0, norm = 0, weighted_error = 0, weighted_norm = 0;
};

// Mean squares of what each matrix reads; null where they are not known.
const InputSums* sums_of(const Statistics* statistics, const TensorInfo& tensor) {
    if (!statistics) return nullptr;
    const auto found = statistics->find(tensor.name);
    if (found == statistics->end() || found->second.squares.size() != static_cast<size_t>(tensor.cols() * tensor.ne[2])) return nullptr;
    return &found->second;
}

class Comparer {
public:
    Comparer(const Source& before, const Source& after, const Statistics* statistics, ThreadPool& pool)
        : before_(before), after_(after), statistics_(statistics), pool_(pool) {
        for (size_t i = 0; i < before.tensors().size(); ++i) index_[before.tensors()[i].name] = i;
    }

    // The tensor of the source with this name and shape; false: none that holds numbers.
    bool match(const TensorInfo& tensor, size_t& index) const {
        const auto found = index_.find(tensor.name);
        if (found == index_.end()) return false;
        const TensorInfo& from = before_.tensors()[found->second];
        index = found->second;
        return from.cols() == tensor.cols() && from.rows() == tensor.rows() && from.format->kind != FormatKind::integer &&
               tensor.format->kind != FormatKind::integer;
    }

    ReportTensor compare(size_t at) const {
        const TensorInfo& tensor = after_.tensors()[at];
        ReportTensor out;
        out.name = tensor.name;
        out.format = tensor.format->name;
        out.weights = static_cast<uint64_t>(tensor.elements());
        out.bytes = tensor.bytes;
        size_t from = 0;
        if (!match(tensor, from)) {
            out.quantized = tensor.format->kind == FormatKind::block;
            return out;
        }
        out.source_bytes = before_.tensors()[from].format->tensor_bytes(tensor.cols(), tensor.rows(), before_.tensors()[from].group);
        out.quantized = tensor.format->kind == FormatKind::block && before_.tensors()[from].format != tensor.format;
        const RowSums sums = sum_rows(from, at, sums_of(statistics_, tensor));
        if (sums.error > 0 && tensor.format->kind == FormatKind::block) out.quantized = true;
        if (sums.norm > 0) out.error = sums.error / sums.norm;
        if (sums.weighted_norm > 0) out.weighted_error = sums.weighted_error / sums.weighted_norm;
        return out;
    }

    ReportHistogram histogram(const ReportTensor& of, size_t at) const {
        const TensorInfo& tensor = after_.tensors()[at];
        ReportHistogram out{of.name, of.format, of.shown(), kRange, std::vector<double>(kBins), std::vector<double>(kBins)};
        size_t from = 0;
        match(tensor, from);
        std::vector<float> rows(2 * static_cast<size_t>(tensor.cols()));
        // Evenly spread rows show the shape.
        const int64_t count = std::clamp<int64_t>((int64_t{1} << 20) / tensor.cols(), 1, tensor.rows());
        double squares = 0;
        for (int64_t i = 0; i < count; ++i) {
            before_.read_rows(from, i * tensor.rows() / count, 1, rows.data());
            for (int64_t c = 0; c < tensor.cols(); ++c) squares += static_cast<double>(rows[static_cast<size_t>(c)]) * static_cast<double>(rows[static_cast<size_t>(c)]);
        }
        const double weights = static_cast<double>(count * tensor.cols());
        const double unit = squares > 0 ? std::sqrt(squares / weights) : 1;
        for (int64_t i = 0; i < count; ++i) {
            const int64_t row = i * tensor.rows() / count;
            before_.read_rows(from, row, 1, rows.data());
            after_.read_rows(at, row, 1, rows.data() + tensor.cols());
            for (int64_t c = 0; c < tensor.cols(); ++c) {
                add(static_cast<double>(rows[static_cast<size_t>(c)]) / unit, 1 / weights, out.before);
                add(static_cast<double>(rows[static_cast<size_t>(c + tensor.cols())]) / unit, 1 / weights, out.after);
            }
        }
        return out;
    }

private:
    static void add(double value, double share, std::vector<double>& bins) {
        const double place = (value / kRange + 1) / 2 * static_cast<double>(kBins);
        if (std::isfinite(place)) bins[static_cast<size_t>(std::clamp(place, 0.0, static_cast<double>(kBins - 1)))] += share;
    }

    RowSums sum_rows(size_t from, size_t to, const InputSums* inputs) const {
        const TensorInfo& tensor = after_.tensors()[to];
        const int64_t cols = tensor.cols();
        std::vector<RowSums> rows(static_cast<size_t>(tensor.rows()));
        pool_.for_each_piece(tensor.rows(), std::max<int64_t>(1, kPieceWeights / cols), [&](int64_t begin, int64_t end, int) {
            std::vector<float> w(static_cast<size_t>((end - begin) * cols)), q(w.size());
            before_.read_rows(from, begin, end - begin, w.data());
            after_.read_rows(to, begin, end - begin, q.data());
            for (int64_t r = begin; r < end; ++r) {
                const double* weight = inputs ? inputs->squares.data() + r / tensor.ne[1] * cols : nullptr;
                RowSums& sums = rows[static_cast<size_t>(r)];
                for (int64_t c = 0; c < cols; ++c) {
                    const auto i = static_cast<size_t>((r - begin) * cols + c);
                    const double value = static_cast<double>(w[i]), off = value - static_cast<double>(q[i]);
                    sums.error += off * off;
                    sums.norm += value * value;
                    if (!weight) continue;
                    sums.weighted_error += weight[c] * off * off;
                    sums.weighted_norm += weight[c] * value * value;
                }
            }
        });
        RowSums total;
        for (const RowSums& row : rows) {
            total.error += row.error, total.norm += row.norm;
            total.weighted_error += row.weighted_error, total.weighted_norm += row.weighted_norm;
        }
        before_.release(from);
        after_.release(to);
        return total;
    }

    const Source &before_, &after_;
    const Statistics* statistics_;
    ThreadPool& pool_;
    std::unordered_map<std::string, size_t> index_;
};

}  // namespace

Result<Comparison> compare_tensors(const Source& before, const Source& after, const Statistics* statistics, ThreadPool& pool,
                                   const std::function<bool(int64_t done, int64_t total, const std::string& tensor)>& progress) {
    const Comparer comparer(before, after, statistics, pool);
    Comparison out;
    int64_t total = 0, done = 0;
    for (const TensorInfo& tensor : after.tensors()) total += tensor.elements();
    for (size_t i = 0; i < after.tensors().size(); ++i) {
        out.tensors.push_back(comparer.compare(i));
        done += after.tensors()[i].elements();
        if (interrupted() || (progress && !progress(done, total, out.tensors.back().name))) return Error{Code::interrupted, "interrupted"};
    }
    std::vector<size_t> order;
    for (size_t i = 0; i < out.tensors.size(); ++i)
        if (out.tensors[i].quantized && out.tensors[i].error > 0) order.push_back(i);
    std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return out.tensors[a].shown() > out.tensors[b].shown(); });
    order.resize(std::min(order.size(), kWorst));
    for (const size_t i : order) out.worst.push_back(comparer.histogram(out.tensors[i], i));
    return out;
}

}  // namespace quant
