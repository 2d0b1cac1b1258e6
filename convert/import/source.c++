// Opens a model to convert. A GGUF is passed through as views into its mapping.
#include "convert/import/source.h"

#include <sys/stat.h>

#include <cstring>
#include <utility>

#include "base/log.h"
#include "convert/import/hf_source.h"
#include "convert/import/lora_source.h"
#include "kernels/kernels.h"

namespace quant {

namespace {

class GgufSource final : public Source {
public:
    explicit GgufSource(Gguf file) : file_(std::move(file)) {
        metadata_ = file_.metadata();
        tensors_ = file_.tensors();
        files_ = file_.file_ids();
        bytes_ = file_.file_bytes();
        shards_ = file_.shard_count();
    }

    void read_rows(size_t tensor, int64_t row, int64_t count, float* out) const override {
        const TensorInfo& info = tensors_[tensor];
        if (info.format->slot == FormatSlot::f16) {  // the usual source: the kernel is several times faster
            const uint8_t* rows = info.data + info.format->row_bytes(info.cols()) * static_cast<uint64_t>(row);
            kernels().f16_to_f32(reinterpret_cast<const uint16_t*>(rows), out, info.cols() * count);
            return;
        }
        decode_rows(*info.format, info.view(), row, count, out);
    }

    void stored_rows(size_t tensor, int64_t row, int64_t count, uint8_t* out) const override {
        const TensorInfo& info = tensors_[tensor];
        const uint64_t row_bytes = info.format->row_bytes(info.cols());
        std::memcpy(out, row_at(*info.format, info.view(), row), row_bytes * static_cast<uint64_t>(count));
    }

    void release(size_t tensor) const override { file_.release(tensors_[tensor]); }

private:
    Gguf file_;
};

}  // namespace

std::string name_of_folder(std::string path) {
    while (path.size() > 1 && path.ends_with('/')) path.pop_back();
    return path.substr(path.find_last_of('/') + 1);
}

Result<std::unique_ptr<Source>> open_source(const std::string& path, const std::string& base) {
    struct stat info;
    const bool folder = ::stat(path.c_str(), &info) == 0 && S_ISDIR(info.st_mode);
    if (folder && is_lora_folder(path)) return open_lora_source(path, base);
    if (!base.empty()) return usage_error("--base is for adapters, but " + escaped(path) + " is none (no adapter_config.json in it)");
    if (folder) return open_hf_source(path);
    LET(file, Gguf::open(path));
    return std::unique_ptr<Source>(std::make_unique<GgufSource>(std::move(file)));
}

}  // namespace quant
