// Rows on demand, composed of rows on demand.
#include "convert/import/hf_rows.h"

#include <algorithm>
#include <memory>
#include <utility>

namespace quant {

namespace {

RowStream rows_of_width(const SafeTensor& tensor, int64_t cols) {
    RowStream out;
    out.cols = cols;
    out.rows = cols ? tensor.elements() / cols : 0;
    const uint64_t row_bytes = static_cast<uint64_t>(out.cols) * tensor.type->bytes;
    out.read = [&tensor, cols = out.cols, row_bytes](int64_t row, int64_t count, float* to) {
        tensor.type->decode(tensor.data + row_bytes * static_cast<uint64_t>(row), to, count * cols);
    };
    out.uses = {&tensor};
    return out;
}

// The exact forms of rows that are other rows in another order.
template <class RowOf>
std::vector<ExactRows> reordered(const RowStream& from, const RowOf& row_of) {
    std::vector<ExactRows> out;
    for (const ExactRows& each : from.exact)
        out.push_back({each.format, [write = each.write, row_of, bytes = format_of(each.format).row_bytes(from.cols)](
                                        int64_t row, int64_t count, uint8_t* to) {
                           for (int64_t i = row; i < row + count; ++i, to += bytes) write(row_of(i), 1, to);
                       }});
    return out;
}

}  // namespace

RowStream rows_of(const SafeTensor& tensor) { return rows_of_width(tensor, tensor.cols()); }
RowStream singles_of(const SafeTensor& tensor) { return rows_of_width(tensor, 1); }

RowStream joined(RowStream singles, int64_t cols) {
    RowStream out;
    out.cols = cols;
    out.rows = singles.rows / cols;
    out.uses = singles.uses;
    out.read = [read = std::move(singles.read), cols](int64_t row, int64_t count, float* to) {
        read(row * cols, count * cols, to);
    };
    return out;
}

RowStream transposed(const SafeTensor& tensor) {
    RowStream out;
    const int64_t height = tensor.shape.size() < 2 ? 1 : tensor.shape[tensor.shape.size() - 2], width = tensor.cols();
    const int64_t matrix = height * width;
    out.cols = height;
    out.rows = matrix ? tensor.elements() / matrix * width : 0;
    out.read = [&tensor, height, width, matrix](int64_t row, int64_t count, float* to) {
        std::vector<float> line(static_cast<size_t>(std::min(count, width)));
        while (count > 0) {
            // The columns wanted of one matrix: a short run out of each of its lines.
            const int64_t at = row / width, column = row % width, run = std::min(count, width - column);
            for (int64_t h = 0; h < height; ++h) {
                const int64_t element = at * matrix + h * width + column;
                tensor.type->decode(tensor.data + static_cast<uint64_t>(element) * tensor.type->bytes, line.data(), run);
                for (int64_t i = 0; i < run; ++i) to[i * height + h] = line[static_cast<size_t>(i)];
            }
            row += run;
            count -= run;
            to += run * height;
        }
    };
    out.uses = {&tensor};
    return out;
}

RowStream every_nth(RowStream from, int64_t first, int64_t step, int64_t stacks) {
    RowStream out;
    out.cols = from.cols;
    out.uses = from.uses;
    out.inexact = from.inexact;
    const int64_t group = from.rows / stacks, picked = group / step;
    out.rows = picked * stacks;
    const auto row_of = [=](int64_t i) { return i / picked * group + first + i % picked * step; };
    out.exact = reordered(from, row_of);
    out.read = [read = std::move(from.read), cols = out.cols, row_of](int64_t row, int64_t count, float* to) {
        for (int64_t i = row; i < row + count; ++i, to += cols) read(row_of(i), 1, to);
    };
    return out;
}

RowStream heads_permuted(RowStream from, int64_t heads) {
    RowStream out;
    out.cols = from.cols;
    out.rows = from.rows;
    out.uses = from.uses;
    out.inexact = from.inexact;
    const int64_t head = from.rows / heads, half = head / 2;
    const auto row_of = [=](int64_t i) {
        const int64_t within = i % head;
        return i - within + within % 2 * half + within / 2;
    };
    out.exact = reordered(from, row_of);
    out.read = [read = std::move(from.read), cols = out.cols, row_of](int64_t row, int64_t count, float* to) {
        for (int64_t i = row; i < row + count; ++i, to += cols) read(row_of(i), 1, to);
    };
    return out;
}

RowStream stacked(std::vector<RowStream> parts) {
    RowStream out;
    out.cols = parts.front().cols;
    const int64_t height = parts.front().rows;
    out.rows = height * static_cast<int64_t>(parts.size());
    // Exact where every part is, in the same format.
    out.inexact = parts.front().inexact;
    for (size_t each = 0; each < parts.front().exact.size(); ++each) {
        const FormatSlot format = parts.front().exact[each].format;
        const bool all = std::all_of(parts.begin(), parts.end(), [&](const RowStream& part) {
            return each < part.exact.size() && part.exact[each].format == format;
        });
        if (!all) {
            out.inexact = "its experts differ";
            break;
        }
        std::vector<ExactRows> writers;
        for (const RowStream& part : parts) writers.push_back(part.exact[each]);
        out.exact.push_back({format, [writers = std::move(writers), height, bytes = format_of(format).row_bytes(out.cols)](
                                         int64_t row, int64_t count, uint8_t* to) {
                                 for (int64_t i = row; i < row + count; ++i, to += bytes)
                                     writers[static_cast<size_t>(i / height)].write(i % height, 1, to);
                             }});
    }
    auto readers = std::make_shared<std::vector<RowReader>>();
    for (RowStream& part : parts) {
        out.uses.insert(out.uses.end(), part.uses.begin(), part.uses.end());
        readers->push_back(std::move(part.read));
    }
    out.read = [readers, height, cols = out.cols](int64_t row, int64_t count, float* to) {
        while (count > 0) {
            const int64_t run = std::min(count, height - row % height);
            (*readers)[static_cast<size_t>(row / height)](row % height, run, to);
            row += run;
            count -= run;
            to += run * cols;
        }
    };
    return out;
}

RowStream shifted(RowStream from, float by) {
    RowStream out;
    out.cols = from.cols;
    out.rows = from.rows;
    out.uses = from.uses;
    out.read = [read = std::move(from.read), cols = out.cols, by](int64_t row, int64_t count, float* to) {
        read(row, count, to);
        for (int64_t i = 0; i < count * cols; ++i) to[i] += by;
    };
    return out;
}

RowStream constant(std::vector<float> values) {
    RowStream out;
    out.cols = static_cast<int64_t>(values.size());
    out.rows = 1;
    out.read = [values = std::make_shared<std::vector<float>>(std::move(values))](int64_t, int64_t, float* to) {
        std::copy(values->begin(), values->end(), to);
    };
    return out;
}

}  // namespace quant
