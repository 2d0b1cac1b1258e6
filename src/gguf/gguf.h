// GGUF files, versions 2 and 3: one validate step, then views. Nothing above this folder knows offsets.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/file.h"
#include "base/result.h"
#include "formats/format.h"
#include "gguf/name_index.h"

namespace quant {

enum class ValueType : uint32_t {
    u8 = 0, i8 = 1, u16 = 2, i16 = 3, u32 = 4, i32 = 5, f32 = 6, boolean = 7,
    string = 8, array = 9, u64 = 10, i64 = 11, f64 = 12,
};
const char* value_type_name(ValueType type);

// An array of strings, each with a NUL behind it. Copies share it: the texts of a vocabulary are 8 MB.
class Texts {
public:
    Texts() = default;
    explicit Texts(std::span<const std::string_view> texts);

    size_t size() const { return data_ ? data_->ends.size() : 0; }
    std::string_view operator[](size_t index) const;
    bool operator==(const Texts& other) const;

private:
    struct Data {
        std::string chars;
        std::vector<size_t> ends;  // of each with its NUL
    };
    std::shared_ptr<const Data> data_;
};

// One metadata value. Scalars and strings are held; arrays of numbers as their little-endian bytes; arrays of strings as texts.
struct Value {
    ValueType type = ValueType::u32;
    ValueType element = ValueType::u8;      // of an array; never array
    uint64_t bits = 0;             // integers (sign-extended), bool; f32/f64: as a double in `real`
    double real = 0;
    std::string text;              // string
    std::vector<uint8_t> raw;      // array of numbers
    Texts texts;                   // array of strings
    uint64_t count() const;        // elements of an array

    static Value of_u32(uint32_t value);
    static Value of_i32(int32_t value);
    static Value of_u64(uint64_t value);
    static Value of_u16(uint16_t value);
    static Value of_f32(float value);
    static Value of_bool(bool value);
    static Value of_string(std::string_view value);
    static Value of_strings(const std::vector<std::string>& values);
    static Value of_i32s(std::span<const int32_t> values);
    static Value of_f32s(std::span<const float> values);
    static Value of_bools(std::span<const uint8_t> values);
};

// Ordered keys and values. Getters convert between integer widths when the value fits, nothing else:
// a missing key is nullopt inside an ok Result, a wrong type is an error that names the key, both types and `origin`.
class Metadata {
public:
    std::string origin;  // file name, for messages
    const std::vector<std::pair<std::string, Value>>& entries() const { return entries_; }
    const Value* find(std::string_view key) const;
    void set(std::string_view key, Value value);  // replaces in place or appends
    bool erase(std::string_view key);

    Result<std::optional<uint32_t>> get_u32(std::string_view key) const;
    Result<std::optional<int64_t>> get_i64(std::string_view key) const;
    Result<std::optional<float>> get_f32(std::string_view key) const;  // accepts f64
    Result<std::optional<bool>> get_bool(std::string_view key) const;
    Result<std::optional<std::string>> get_string(std::string_view key) const;
    Result<std::optional<std::vector<std::string>>> get_strings(std::string_view key) const;
    Result<std::optional<std::vector<float>>> get_f32s(std::string_view key) const;
    Result<std::optional<std::vector<int32_t>>> get_i32s(std::string_view key) const;  // any integer or bool elements that fit

private:
    std::vector<std::pair<std::string, Value>> entries_;
    NameIndex index_;
    friend struct GgufParser;
};

// A tensor's place. Dims in GGUF order: ne[0] is the row length (innermost).
struct TensorInfo {
    std::string name;
    const Format* format = nullptr;
    uint32_t n_dims = 1;            // as stored; 0 is a scalar
    std::array<int64_t, 4> ne{1, 1, 1, 1};
    const uint8_t* data = nullptr;  // into the mapping; null for tensors only planned
    uint64_t bytes = 0;
    uint32_t shard = 0;             // which file of a split
    int64_t group = 0;              // rows that share a table, in formats that have such (at most 2^32 - 1)

    int64_t cols() const { return ne[0]; }
    int64_t rows() const { return ne[1] * ne[2] * ne[3]; }
    int64_t elements() const { return cols() * rows(); }
    EncodedView view() const { return {data, cols(), rows(), format->head_bytes(cols(), rows(), group), group, 0}; }
};
std::string shape_text(const TensorInfo& tensor);  // "[2048, 512]"

// An opened GGUF: for a split model all its files as one. Mappings live as long as the object.
class Gguf {
public:
    // `path` may be the first file of a split; the others are found beside it by their pattern. Validates everything.
    static Result<Gguf> open(const std::string& path, MappedFile::Mode mode = MappedFile::Mode::map);
    // Parses one file's bytes (tests, fuzzing); `origin` is used in messages. Bytes must outlive the object.
    static Result<Gguf> parse(Bytes bytes, const std::string& origin);
    // A model that lies in no file: names differ, shapes and sizes are checked already, `data` outlives the object.
    static Gguf of(Metadata metadata, std::vector<TensorInfo> tensors);

    const Metadata& metadata() const { return metadata_; }
    const std::vector<TensorInfo>& tensors() const { return tensors_; }
    const TensorInfo* find(std::string_view name) const;
    uint32_t version() const { return version_; }
    uint32_t alignment() const { return alignment_; }
    uint64_t file_bytes() const;              // of all shards
    size_t shard_count() const { return files_.empty() ? 1 : files_.size(); }
    std::vector<FileId> file_ids() const;
    const std::string& path() const { return path_; }
    void release(const TensorInfo& tensor) const;  // its pages will not be needed again

private:
    uint32_t version_ = 3, alignment_ = 32;
    std::string path_;
    Metadata metadata_;
    std::vector<TensorInfo> tensors_;
    NameIndex index_;
    std::vector<MappedFile> files_;
    uint64_t parsed_bytes_ = 0;  // without files: the length given to parse()
    friend struct GgufParser;
};

// Writes GGUF version 3. Give all metadata and all planned tensors first, then each tensor's data in the same order.
// Splits into NAME-00001-of-0000N.gguf when `split_max_bytes` > 0 and the tensors do not fit into one (or as `keep_split` says).
// Keys split.* of the given metadata are replaced by those of this output.
// All files appear under their final names together, at finish().
class GgufWriter {
public:
    struct Options {
        bool force = false;
        std::vector<FileId> inputs;     // never overwritten
        uint64_t split_max_bytes = 0;
        bool keep_split = false;        // follow TensorInfo::shard, which must not fall from one tensor to the next
    };
    GgufWriter();
    GgufWriter(GgufWriter&&) noexcept;
    GgufWriter& operator=(GgufWriter&&) noexcept;
    ~GgufWriter();  // without finish(): nothing is left behind

    // Checks names, shapes and sizes, and free space (an early error with both figures); writes the headers.
    static Result<GgufWriter> create(const std::string& path, const Metadata& metadata,
                                     const std::vector<TensorInfo>& tensors, const Options& options);
    // Total bytes that create() would produce for this plan, all files together. Nothing is written.
    static Result<uint64_t> planned_bytes(const std::string& path, const Metadata& metadata,
                                          const std::vector<TensorInfo>& tensors, const Options& options);
    Status write(Bytes piece);  // the next bytes of the tensors' data; padding is added in between
    Status finish();            // every file re-read and validated, then renamed
    uint64_t total_bytes() const;
    std::vector<std::string> paths() const;

private:
    struct State;
    std::unique_ptr<State> state_;
};

// Importance weights by tensor name: mean of squared inputs per column, [n_mat * cols] (n_mat experts for 3-D weights).
struct ImportanceMatrix {
    struct Entry {
        std::vector<float> values;  // sums already divided by counts; experts never seen are all 1
        int64_t n_mat = 1;          // the .dat form does not say it: 1, and values may cover several matrices
    };
    std::map<std::string, Entry, std::less<>> entries;  // ordered: names come from a file and must not collide in a hash
    std::string file;                  // as given
    std::vector<std::string> datasets;
    uint32_t chunk_count = 0, chunk_size = 0;
};
// Reads the GGUF form and the older .dat form (told apart by the magic). Rejects NaN, infinite and negative values.
Result<ImportanceMatrix> read_importance_matrix(const std::string& path);
Result<ImportanceMatrix> parse_importance_matrix(Bytes bytes, const std::string& origin);

}  // namespace quant
