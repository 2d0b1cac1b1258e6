// A model to convert, wherever it comes from: metadata and tensors as a GGUF file would have them, rows on demand.
// Nothing above this knows whether the bytes lie in a GGUF or somewhere else.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "gguf/gguf.h"

namespace quant {

class Source {
public:
    virtual ~Source() = default;

    const Metadata& metadata() const { return metadata_; }
    // `format` is what the rows hold; `data` is null where the stored bytes are not the tensor's rows as they are.
    const std::vector<TensorInfo>& tensors() const { return tensors_; }
    const std::vector<FileId>& files() const { return files_; }  // an output must be none of these
    uint64_t bytes() const { return bytes_; }                    // of all files
    size_t shard_count() const { return shards_; }
    const std::vector<std::string>& warnings() const { return warnings_; }  // what a user should know of it

    // Rows [row, row + count) of a tensor as floats. Any number of threads at once.
    virtual void read_rows(size_t tensor, int64_t row, int64_t count, float* out) const = 0;
    // The same rows in the tensor's format, as bytes. Only for block formats whose `data` is null.
    virtual void stored_rows(size_t tensor, int64_t row, int64_t count, uint8_t* out) const = 0;
    // The tensor's pages will not be needed again.
    virtual void release(size_t tensor) const = 0;

    // Formats whose blocks mean exactly the tensor's numbers, because the source itself stores such codes; best first.
    virtual std::vector<const Format*> exact_formats(size_t) const { return {}; }
    // Rows in one of them.
    virtual void exact_rows(size_t, const Format&, int64_t, int64_t, uint8_t*) const {}

    // What a plan says of a tensor that becomes `wanted`, beyond the plan's own reason; mostly empty.
    virtual std::string note(size_t, const Format&) const { return ""; }
    // True where the rows are not those of the file, so that its own format has to encode them again.
    virtual bool changed(size_t) const { return false; }

protected:
    Metadata metadata_;
    std::vector<TensorInfo> tensors_;
    std::vector<FileId> files_;
    uint64_t bytes_ = 0;
    size_t shards_ = 1;
    std::vector<std::string> warnings_;
};

// Opens and validates what lies at `path`: a GGUF, a Hugging Face folder, or a PEFT adapter of the model `base`.
Result<std::unique_ptr<Source>> open_source(const std::string& path, const std::string& base = "");

// What a file made of this folder is called: its last part.
std::string name_of_folder(std::string path);

}  // namespace quant
