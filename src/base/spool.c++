// One descriptor whose offset is always the end.
#include "base/spool.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

namespace quant {

namespace {

Error failed(const std::string& path, const char* what) {
    return Error{Code::io, escaped(path) + ": cannot " + what + ": " + std::strerror(errno)};
}

}  // namespace

Result<Spool> Spool::open(const std::string& path) {
    Spool out;
    out.path_ = path;
    out.fd_ = syscalls().open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    struct stat info;
    if (out.fd_ < 0 || syscalls().fstat(out.fd_, &info) != 0) return failed(path, "open");
    out.bytes_ = static_cast<uint64_t>(info.st_size);
    if (::lseek(out.fd_, 0, SEEK_END) < 0) return failed(path, "read");
    return out;
}

Spool::Spool(Spool&& other) noexcept
    : path_(std::move(other.path_)), fd_(std::exchange(other.fd_, -1)), bytes_(std::exchange(other.bytes_, 0)) {}

Spool& Spool::operator=(Spool&& other) noexcept {
    std::swap(path_, other.path_);
    std::swap(fd_, other.fd_);
    std::swap(bytes_, other.bytes_);
    return *this;
}

Spool::~Spool() {
    if (fd_ >= 0) syscalls().close(fd_);
}

Status Spool::cut(uint64_t bytes) {
    if (::ftruncate(fd_, static_cast<off_t>(bytes)) != 0 || ::lseek(fd_, 0, SEEK_END) < 0) return failed(path_, "shorten");
    bytes_ = bytes;
    return {};
}

Status Spool::append(Bytes data) {
    while (!data.empty()) {
        const ssize_t done = syscalls().write(fd_, data.data(), data.size());
        if (done < 0 && errno == EINTR) continue;
        if (done <= 0) return failed(path_, "write");
        data = data.subspan(static_cast<size_t>(done));
        bytes_ += static_cast<uint64_t>(done);
    }
    return {};
}

Status Spool::sync() { return syscalls().fsync(fd_) == 0 ? Status() : Status(failed(path_, "sync")); }

}  // namespace quant
