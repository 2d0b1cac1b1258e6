// Rows in pieces: decode to f32, check, encode. Pieces have a fixed size for a shape, whatever the number of threads.
#include "convert/stream/stream.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>
#include <memory>
#include <utility>

#include "base/log.h"
#include "base/signals.h"
#include "base/threads.h"
#include "convert/stream/row_checks.h"
#include "formats/side_data.h"

namespace quant {

namespace {

// A piece of floats and its decoded copy stay in the second-level cache.
constexpr int64_t kPieceWeights = 16384;

struct Buffer {
    std::unique_ptr<uint8_t[]> data;
    size_t capacity = 0;
    void reserve(size_t bytes) {
        if (bytes <= capacity) return;
        data.reset(new uint8_t[bytes]);
        capacity = bytes;
    }
};

// Floats of one thread: the piece as read and as the encoded one decodes.
struct Workspace {
    std::vector<float> values, decoded;
};

// What one piece found, added up in the order of pieces so that sums do not depend on threads.
struct PieceResult {
    TensorError error;
    bool unfit = false;  // a weight is not finite, or too large for the format
};

class Streamer {
public:
    Streamer(const Source& source, const Plan& plan, const StreamOptions& options, const std::function<Status(Bytes)>& write)
        : source_(source), plan_(plan), options_(options), write_(write), pool_(std::max(options.threads, 1)),
          workspaces_(static_cast<size_t>(pool_.size())), errors_(plan.tensors.size()) {}

    Result<std::vector<TensorError>> run() {
        for (size_t i = 0; i < plan_.tensors.size(); ++i) {
            const TensorInfo& from = source_.tensors()[i];
            const PlannedTensor& to = plan_.tensors[i];
            // Plain numbers are checked even where they stay as they are; blocks and integers pass as bytes.
            const bool raw = to.copies() && from.data && (plan_.recipe.copy || !encodes_again(from));
            TRY(raw ? copy_tensor(i) : encode_tensor(i));
        }
        TRY(write_pending());
        return std::move(errors_);
    }

private:
    static bool encodes_again(const TensorInfo& tensor) {
        return tensor.format->kind == FormatKind::real && tensor.format->encodes;
    }

    Status copy_tensor(size_t index) {
        const TensorInfo& from = source_.tensors()[index];
        TRY(write_pending());
        for (uint64_t begin = 0; begin < from.bytes; begin += kSlabBytes) {
            const Bytes piece(from.data + begin, std::min<uint64_t>(kSlabBytes, from.bytes - begin));
            TRY(write_(piece));
            TRY(report(piece.size(), from.name));
        }
        source_.release(index);
        return {};
    }

    Status encode_tensor(size_t index) {
        const TensorInfo& to = plan_.tensors[index].out;
        if (to.bytes == 0) return {};
        if (options_.rounded) {
            TRY(write_pending());
            LET(rounded, options_.rounded(index));
            rounded_ = rounded;
        }
        if (to.format->head) TRY(write_head(index));
        const uint64_t row_bytes = to.format->row_bytes(to.cols());
        const int64_t piece_rows = std::max<int64_t>(1, kPieceWeights / to.cols());
        const int64_t slab_pieces = std::max<int64_t>(
            1, static_cast<int64_t>(kSlabBytes / (row_bytes * static_cast<uint64_t>(piece_rows))));
        for (Workspace& each : workspaces_) {
            each.values.resize(static_cast<size_t>(piece_rows * to.cols()));
            each.decoded.resize(each.values.size());
        }
        for (int64_t row = 0; row < to.rows();) {
            const int64_t rows = std::min(to.rows() - row, piece_rows * slab_pieces);
            TRY(encode_slab(index, row, rows, piece_rows));
            row += rows;
            const uint64_t source_bytes = source_.tensors()[index].format->row_bytes(to.cols());
            TRY(report(source_bytes * static_cast<uint64_t>(rows), to.name));
        }
        source_.release(index);
        return {};
    }

    // The tables of a tensor come before its rows and from all of them: the source is read for them, then once more.
    // A copy of encoded rows keeps its own.
    Status write_head(size_t index) {
        const PlannedTensor& planned = plan_.tensors[index];
        const TensorInfo& to = planned.out;
        TRY(report(0, to.name));
        std::vector<uint8_t> head(to.format->head_bytes(to.cols(), to.rows(), to.group));
        if (rounded_) {
            std::memcpy(head.data(), rounded_, head.size());
        } else {
            HeadInput input{to.cols(), to.rows(), to.group, {}, {}, &pool_};
            input.read = [&](int64_t row, int64_t count, float* out) {
                source_.read_rows(index, row, count, out);
                zero_nonfinite(out, static_cast<size_t>(count * to.cols()));  // whether they are an error is seen with the rows
            };
            if (planned.importance)
                input.importance = [&](int64_t row) { return planned.importance->data() + row / to.ne[1] * to.cols(); };
            to.format->head->build(input, head.data());
        }
        TRY(write_pending());
        head_ = std::move(head);
        return write_(head_);
    }

    // Encodes rows into the free buffer while whoever comes first writes the other one.
    Status encode_slab(size_t index, int64_t first, int64_t rows, int64_t piece_rows) {
        const TensorInfo& to = plan_.tensors[index].out;
        const uint64_t row_bytes = to.format->row_bytes(to.cols());
        Buffer& buffer = buffers_[current_];
        const size_t slab_bytes = row_bytes * static_cast<uint64_t>(rows);
        buffer.reserve(slab_bytes);
        const int64_t pieces = (rows + piece_rows - 1) / piece_rows;
        results_.assign(static_cast<size_t>(pieces), {});
        std::atomic<bool> stop{false};
        Status written;
        pool_.for_each_piece(pieces + 1, 1, [&](int64_t begin, int64_t, int thread) {
            if (begin == 0) {
                written = write_pending();
                if (!written) stop = true;
                return;
            }
            if (stop || interrupted()) return;
            const int64_t row = (begin - 1) * piece_rows;
            PieceResult& result = results_[static_cast<size_t>(begin - 1)];
            encode_piece(index, first + row, std::min(piece_rows, rows - row),
                         buffer.data.get() + row_bytes * static_cast<uint64_t>(row),
                         workspaces_[static_cast<size_t>(thread)], result);
            if (result.unfit) stop = true;
        });
        TRY(std::move(written));
        if (interrupted()) return Error{Code::interrupted, "interrupted"};
        TRY(add_up(index));
        pending_ = Bytes(buffer.data.get(), slab_bytes);
        current_ ^= 1;
        return {};
    }

    void encode_piece(size_t index, int64_t row, int64_t rows, uint8_t* out, Workspace& space, PieceResult& result) const {
        const PlannedTensor& planned = plan_.tensors[index];
        const Format& format = *planned.out.format;
        const int64_t cols = planned.out.cols();
        // Rows under tables of the whole tensor are encoded anew, with new tables.
        const bool stored = planned.copies() && !encodes_again(planned.out) && !format.head;
        if (stored) return source_.stored_rows(index, row, rows, out);
        float* values = space.values.data();
        source_.read_rows(index, row, rows, values);
        const size_t count = static_cast<size_t>(rows * cols);
        if (any_unfit(values, count, format)) {
            if (options_.zero_nonfinite) result.error.zeroed = zero_nonfinite(values, count);
            result.unfit = any_unfit(values, count, format);
            if (result.unfit) return;
        }
        const uint64_t row_bytes = format.row_bytes(cols), head_bytes = format.head ? head_.size() : 0;
        const bool measures = format.encode_measured && !planned.importance && !planned.repacked && !rounded_;
        RowPlace place{head_.data(), nullptr, cols, planned.out.group, row, 0};
        for (int64_t r = 0; r < rows; ++r) {
            const float* importance = nullptr;
            if (planned.importance)
                importance = planned.importance->data() + (row + r) / planned.out.ne[1] * cols;
            uint8_t* blocks = out + static_cast<uint64_t>(r) * row_bytes;
            place.row = row + r;
            place.row_head = nullptr;
            if (measures) {
                format.encode_measured(values + r * cols, blocks, cols, result.error);
                continue;
            }
            if (planned.repacked) source_.exact_rows(index, format, row + r, 1, blocks);
            else if (rounded_) std::memcpy(blocks, rounded_ + head_bytes + static_cast<uint64_t>(row + r) * row_bytes, row_bytes);
            else format.encode(format.head ? &place : nullptr, values + r * cols, importance, blocks, cols);
            if (planned.copies()) continue;
            place.row_head = blocks;
            format.decode(format.plain() ? nullptr : &place, blocks + format.row_head, space.decoded.data(), cols);
            add_row_error(values + r * cols, space.decoded.data(), importance, cols, result.error);
        }
    }

    // Sums of the slab's pieces into the tensor's; turns the first unfit weight into an error.
    Status add_up(size_t index) {
        TensorError& total = errors_[index];
        for (const PieceResult& piece : results_) {
            if (piece.unfit) return unfit_error(index);
            total += piece.error;
        }
        return {};
    }

    // Reads the whole tensor again, to say where the first such weight is and how many there are.
    Error unfit_error(size_t index) {
        const TensorInfo& tensor = source_.tensors()[index];
        const Format& format = *plan_.tensors[index].out.format;
        std::vector<float> values(static_cast<size_t>(tensor.cols()));
        uint64_t nonfinite = 0, large = 0;
        int64_t row_found = 0;
        size_t column_found = 0;
        float first = 0;
        for (int64_t row = 0; row < tensor.rows(); ++row) {
            source_.read_rows(index, row, 1, values.data());
            if (options_.zero_nonfinite) zero_nonfinite(values.data(), values.size());
            for (size_t c = 0; c < values.size(); ++c) {
                if (!any_unfit(&values[c], 1, format)) continue;
                if (nonfinite + large == 0) row_found = row, column_found = c, first = values[c];
                ++(std::isfinite(values[c]) ? large : nonfinite);
            }
        }
        const std::string place = format_text("tensor %s: row %lld, column %zu is %g", tensor.name.c_str(),
                                              static_cast<long long>(row_found), column_found, static_cast<double>(first));
        if (nonfinite > 0)
            return input_error(place + format_text("; %llu weights are not finite (--nonfinite zero makes them 0)",
                                                   static_cast<unsigned long long>(nonfinite)));
        return input_error(place + format_text("; %llu weights are too large for F16 (largest 65504), BF16 holds them",
                                               static_cast<unsigned long long>(large)));
    }

    Status write_pending() {
        const Bytes bytes = std::exchange(pending_, Bytes());
        return bytes.empty() ? Status() : write_(bytes);
    }

    Status report(uint64_t bytes, const std::string& tensor) {
        done_ += bytes;
        if (interrupted() || (options_.progress && !options_.progress(done_, tensor)))
            return Error{Code::interrupted, "interrupted"};
        return {};
    }

    const Source& source_;
    const Plan& plan_;
    const StreamOptions& options_;
    const std::function<Status(Bytes)>& write_;
    ThreadPool pool_;
    std::vector<Workspace> workspaces_;  // one for each thread
    std::vector<TensorError> errors_;
    std::vector<PieceResult> results_;   // of the slab at hand
    Buffer buffers_[2];
    size_t current_ = 0;                 // the buffer being filled; the other one holds `pending_`
    Bytes pending_;
    std::vector<uint8_t> head_;          // of the tensor at hand
    const uint8_t* rounded_ = nullptr;   // the same: its bytes, where they are made already
    uint64_t done_ = 0;
};

}  // namespace

TensorError& TensorError::operator+=(const TensorError& other) {
    error += other.error;
    norm += other.norm;
    exact = exact && other.exact;
    weighted_error += other.weighted_error;
    weighted_norm += other.weighted_norm;
    zeroed += other.zeroed;
    return *this;
}

Result<std::vector<TensorError>> stream_tensors(const Source& source, const Plan& plan, const StreamOptions& options,
                                                const std::function<Status(Bytes)>& write) {
    return Streamer(source, plan, options, write).run();
}

}  // namespace quant
