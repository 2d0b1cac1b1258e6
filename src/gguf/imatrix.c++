// Importance matrices: mean squares of the inputs of each weight matrix, measured on text by the ecosystem's tool or ours.
// Two forms: GGUF with tensors NAME.in_sum2 and NAME.counts, and an older stream of length-prefixed records.
// Knows nothing of the model they belong to.
#include <cmath>

#include "base/bytes.h"
#include "base/checked.h"
#include "base/limits.h"
#include "base/log.h"
#include "gguf/gguf.h"
#include "gguf/rules.h"

namespace quant {
namespace {

constexpr std::string_view kSums = ".in_sum2", kCounts = ".counts";

struct Reader {
    std::string where;  // "FILE: "
    ImportanceMatrix& out;

    Error fail(const std::string& text) const { return input_error(where + text); }

    static std::string entry_text(std::string_view name) { return "entry '" + escaped(name) + "'"; }

    Status check_number(std::string_view name, float number, size_t at) const {
        if (std::isfinite(number) && number >= 0) return {};
        return fail(entry_text(name) + format_text(" holds %g at %zu, a finite number not below 0 expected",
                                                   static_cast<double>(number), at));
    }

    // values[n_mat * cols] of sums -> means, in place; a matrix that saw nothing gets the neutral weight 1.
    Status divide(std::string_view name, std::vector<float>& values, const std::vector<float>& counts) const {
        const size_t cols = values.size() / counts.size();
        for (size_t matrix = 0; matrix < counts.size(); ++matrix) {
            TRY(check_number(name, counts[matrix], matrix));
            for (size_t i = matrix * cols; i < (matrix + 1) * cols; ++i) {
                TRY(check_number(name, values[i], i));
                values[i] = counts[matrix] > 0 ? values[i] / counts[matrix] : 1.0f;
                TRY(check_number(name, values[i], i));
            }
        }
        return {};
    }
};

std::vector<float> floats(const TensorInfo& tensor) {
    std::vector<float> numbers(static_cast<size_t>(tensor.elements()));
    std::memcpy(numbers.data(), tensor.data, tensor.bytes);
    return numbers;
}

template <class T>
Result<T> required(const Metadata& metadata, Result<std::optional<T>> found, const char* key) {
    if (!found) return std::move(found.error());
    if (!*found) return input_error(escaped(metadata.origin) + ": not an importance matrix: key '" + key + "' is missing");
    return std::move(**found);
}

Status read_entry(Reader& reader, const Gguf& file, const TensorInfo& sums) {
    const std::string name = sums.name.substr(0, sums.name.size() - kSums.size());
    const TensorInfo* counts = file.find(name + std::string(kCounts));
    if (name.empty()) return reader.fail("an entry has an empty name");
    if (!counts) return reader.fail(Reader::entry_text(name) + " has sums but no counts");
    for (const TensorInfo* tensor : {&sums, counts})
        if (tensor->format->slot != FormatSlot::f32)
            return reader.fail("tensor '" + escaped(tensor->name) + "' has type " + tensor->format->name + ", F32 expected");
    if (counts->elements() != sums.rows())
        return reader.fail(Reader::entry_text(name) + format_text(" has %lld rows of sums and %lld counts",
                                                                  static_cast<long long>(sums.rows()),
                                                                  static_cast<long long>(counts->elements())));
    ImportanceMatrix::Entry entry;
    entry.values = floats(sums);
    entry.n_mat = sums.rows();
    TRY(reader.divide(name, entry.values, floats(*counts)));
    reader.out.entries.emplace(name, std::move(entry));
    return {};
}

Result<ImportanceMatrix> parse_gguf_form(Bytes bytes, const std::string& origin) {
    LET(file, Gguf::parse(bytes, origin));
    const Metadata& keys = file.metadata();
    ImportanceMatrix matrix;
    matrix.file = origin;
    LET(datasets, required(keys, keys.get_strings("imatrix.datasets"), "imatrix.datasets"));
    LET(chunk_count, required(keys, keys.get_u32("imatrix.chunk_count"), "imatrix.chunk_count"));
    LET(chunk_size, required(keys, keys.get_u32("imatrix.chunk_size"), "imatrix.chunk_size"));
    matrix.datasets = std::move(datasets);
    matrix.chunk_count = chunk_count;
    matrix.chunk_size = chunk_size;
    Reader reader{escaped(origin) + ": ", matrix};
    for (const TensorInfo& tensor : file.tensors()) {
        const std::string_view name = tensor.name;
        if (name.ends_with(kSums)) TRY(read_entry(reader, file, tensor));
        if (name.ends_with(kCounts) &&
            !file.find(std::string(name.substr(0, name.size() - kCounts.size())) + std::string(kSums)))
            return reader.fail("tensor '" + escaped(name) + "' has no sums beside it");
    }
    if (matrix.entries.empty()) return reader.fail("the importance matrix has no entries");
    return matrix;
}

// Length-prefixed text of the .dat form.
Result<std::string> take_text(Reader& reader, Cursor& cursor, const std::string& what, uint64_t limit) {
    const auto length = cursor.take<int32_t>();
    if (!length) return reader.fail(what + ": the file ends inside it");
    if (*length < 0 || static_cast<uint64_t>(*length) > limit)
        return reader.fail(what + format_text(" claims %d bytes of text, 0 to %llu expected", *length, static_cast<unsigned long long>(limit)));
    const auto text = cursor.take_text(static_cast<uint64_t>(*length));
    if (!text) return reader.fail(what + ": the file ends inside it");
    return std::string(*text);
}

Status read_record(Reader& reader, Cursor& cursor, int32_t number) {
    const std::string what = format_text("entry number %d", number);
    LET(name, take_text(reader, cursor, what, limits::kTensorNameBytes));
    if (name.empty()) return reader.fail(what + " has an empty name");
    const auto calls = cursor.take<int32_t>(), count = cursor.take<int32_t>();
    if (!calls || !count) return reader.fail(Reader::entry_text(name) + ": the file ends inside it");
    if (*calls < 0) return reader.fail(Reader::entry_text(name) + format_text(" claims %d calls, a number not below 0 expected", *calls));
    if (*count <= 0) return reader.fail(Reader::entry_text(name) + format_text(" claims %d values, a positive number expected", *count));
    const auto raw = cursor.take_bytes(static_cast<uint64_t>(*count) * sizeof(float));
    if (!raw) return reader.fail(Reader::entry_text(name) + format_text(" claims %d values, the file has room for %llu", *count,
                                                                        static_cast<unsigned long long>(cursor.remaining() / sizeof(float))));
    ImportanceMatrix::Entry entry;
    entry.values.resize(static_cast<size_t>(*count));
    std::memcpy(entry.values.data(), raw->data(), raw->size());
    TRY(reader.divide(name, entry.values, {static_cast<float>(*calls)}));
    if (!reader.out.entries.emplace(name, std::move(entry)).second)
        return reader.fail(Reader::entry_text(name) + " occurs twice");
    return {};
}

Result<ImportanceMatrix> parse_dat_form(Bytes bytes, const std::string& origin) {
    ImportanceMatrix matrix;
    matrix.file = origin;
    Reader reader{escaped(origin) + ": ", matrix};
    Cursor cursor(bytes);
    const auto count = cursor.take<int32_t>();
    constexpr uint64_t kLeastRecordBytes = 4 + 1 + 4 + 4 + 4;
    if (!count || *count <= 0 || static_cast<uint64_t>(*count) > cursor.remaining() / kLeastRecordBytes)
        return reader.fail("not an importance matrix (neither GGUF nor a plausible count of entries at the start)");
    for (int32_t i = 0; i < *count; ++i) TRY(read_record(reader, cursor, i));
    if (cursor.remaining() == 0) return matrix;  // the oldest files end here
    const auto chunks = cursor.take<int32_t>();
    if (!chunks || *chunks < 0) return reader.fail("the count of chunks after the entries is not a number from 0");
    matrix.chunk_count = static_cast<uint32_t>(*chunks);
    if (cursor.remaining() == 0) return matrix;
    LET(dataset, take_text(reader, cursor, "the data set's name", limits::kStringBytes));
    matrix.datasets.push_back(std::move(dataset));
    if (cursor.remaining() != 0)
        return reader.fail(format_text("%llu bytes follow the end", static_cast<unsigned long long>(cursor.remaining())));
    return matrix;
}

}  // namespace

Result<ImportanceMatrix> parse_importance_matrix(Bytes bytes, const std::string& origin) {
    const bool gguf = bytes.size() >= kMagic.size() && std::memcmp(bytes.data(), kMagic.data(), kMagic.size()) == 0;
    if (bytes.empty()) return input_error(escaped(origin) + ": the file is empty");
    return gguf ? parse_gguf_form(bytes, origin) : parse_dat_form(bytes, origin);
}

Result<ImportanceMatrix> read_importance_matrix(const std::string& path) {
    LET(file, MappedFile::open(path));
    return parse_importance_matrix(file.bytes(), path);
}

}  // namespace quant
