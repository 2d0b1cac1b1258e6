// What is no regular file is read when it is wanted first.
#include "convert/calibrate/text_file.h"

#include <filesystem>
#include <mutex>
#include <optional>
#include <utility>

#include "base/file.h"

namespace quant {

namespace {

constexpr uint64_t kMaxTextBytes = uint64_t{1} << 30;

bool can_be_read_again(const std::string& path) {
    std::error_code unreadable;
    return std::filesystem::is_regular_file(path, unreadable);
}

}  // namespace

struct TextFile::Kept {
    std::mutex reading;
    std::optional<std::string> text;
};

TextFile::TextFile(std::string path) : path_(std::move(path)), kept_(std::make_shared<Kept>()) {}

std::string TextFile::name() const { return can_be_read_again(path_) ? path_.substr(path_.find_last_of('/') + 1) : "pipe"; }

Result<std::string> TextFile::read() const {
    if (can_be_read_again(path_)) return read_text_file(path_, kMaxTextBytes);
    const std::lock_guard<std::mutex> lock(kept_->reading);
    if (!kept_->text) {
        LET(text, read_text_file(path_, kMaxTextBytes));
        kept_->text = std::move(text);
    }
    return *kept_->text;
}

}  // namespace quant
