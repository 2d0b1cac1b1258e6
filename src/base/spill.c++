// The file is removed as soon as it is open: nothing is left behind whatever ends the program.
#include "base/spill.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <string>
#include <utility>

#include "base/file.h"
#include "base/log.h"

namespace quant {

namespace {

Error failed(const std::string& folder, uint64_t bytes) {
    return Error{Code::io, escaped(folder) + ": cannot keep " + human_bytes(bytes) + " of working data there: " + std::strerror(errno) +
                               "; TMPDIR names another folder"};
}

// Room is taken at once, because a full disk behind a mapping ends a program without a word.
int take_room(int fd, uint64_t bytes) {
#if defined(__linux__)
    return posix_fallocate(fd, 0, static_cast<off_t>(bytes));
#else
    return ftruncate(fd, static_cast<off_t>(bytes)) == 0 ? 0 : errno;
#endif
}

}  // namespace

Result<Spill> Spill::create(uint64_t bytes, uint64_t memory) {
    Spill spill;
    if (bytes == 0) return spill;
    void* data = MAP_FAILED;
    spill.on_disk_ = bytes > memory;
    if (spill.on_disk_) {
        const char* given = std::getenv("TMPDIR");
        const std::string folder = given && *given ? given : "/tmp";
        std::string path = folder + "/quant-XXXXXX";
        const int fd = mkstemp(path.data());
        if (fd < 0) return failed(folder, bytes);
        unlink(path.c_str());
        errno = take_room(fd, bytes);
        if (errno == 0) data = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        const Error error = failed(folder, bytes);
        close(fd);
        if (data == MAP_FAILED) return error;
    } else {
        data = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (data == MAP_FAILED) return Error{Code::memory, "no memory for " + human_bytes(bytes) + " of working data"};
    }
    spill.data_ = data;
    spill.bytes_ = bytes;
    return spill;
}

Spill::Spill(Spill&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), bytes_(std::exchange(other.bytes_, 0)), on_disk_(other.on_disk_) {}

Spill& Spill::operator=(Spill&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(bytes_, other.bytes_);
    std::swap(on_disk_, other.on_disk_);
    return *this;
}

Spill::~Spill() {
    if (data_) munmap(data_, bytes_);
}

}  // namespace quant
