// safetensors files: one validate step, then views. A folder may hold one file or several with an index.
// Knows nothing of models: names, types, shapes and bytes.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/file.h"
#include "base/result.h"

namespace quant {

// A number type of the format. Rows of numbers become floats by `decode`; integers are not rounded below 2^24.
struct SafeType {
    const char* name;  // "BF16", "F8_E4M3"
    uint32_t bytes;    // of one number
    bool real;         // floating point
    void (*decode)(const uint8_t* from, float* out, int64_t n);
};
std::span<const SafeType> safe_types();

struct SafeTensor {
    std::string name;
    const SafeType* type = nullptr;
    std::vector<int64_t> shape;  // outermost first, as in the file; empty: one number
    const uint8_t* data = nullptr;
    uint64_t bytes = 0;
    size_t file = 0;             // index into SafeTensors' files

    int64_t elements() const;    // checked on opening: fits 63 bits
    int64_t cols() const { return shape.empty() ? 1 : shape.back(); }
};
std::string shape_text(const SafeTensor& tensor);  // "[512, 64]", outermost first

class SafeTensors {
public:
    // `folder` holds model.safetensors.index.json with its files, or model.safetensors, or one other .safetensors file.
    static Result<SafeTensors> open_folder(const std::string& folder);
    static Result<SafeTensors> open_file(const std::string& path);
    // One file's bytes (tests, fuzzing); they must outlive the object.
    static Result<SafeTensors> parse(Bytes bytes, const std::string& origin);

    // In the order of files, within a file in the order of their data.
    const std::vector<SafeTensor>& tensors() const { return tensors_; }
    const SafeTensor* find(std::string_view name) const;
    std::vector<FileId> file_ids() const;
    uint64_t file_bytes() const;
    void release(const SafeTensor& tensor) const;

private:
    Status add(Bytes bytes, const std::string& origin, size_t file);
    std::vector<MappedFile> files_;
    std::vector<SafeTensor> tensors_;
    std::unordered_map<std::string, size_t> index_;
};

// The file names that an index may use, once each, in alphabetical order. `weight_map` text is untrusted: a name with a
// slash, a backslash, a leading dot, a NUL or without .safetensors at its end is an error.
Result<std::vector<std::string>> index_files(const std::string& index_text, const std::string& origin,
                                             std::unordered_map<std::string, std::string>& file_of);

}  // namespace quant
