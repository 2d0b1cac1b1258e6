// Implementation of mappings and atomic outputs. Knows nothing of what the bytes mean.
// Order of the steps of an output and their reasons: README, "Safety".
#include "base/file.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "base/huge_pages.h"
#include "base/log.h"
#include "base/rng.h"
#include "base/signals.h"
#include "base/utf8.h"

namespace quant {
namespace {

// Mapped and read data alike start at a multiple of this, so that aligned tensors of a file are aligned in memory.
constexpr size_t kDataAlignment = 64;

Error system_error(const std::string& path, const char* action) {
    const int reason = errno;
    return {reason == ENOMEM ? Code::memory : Code::io,
            escaped(path) + ": cannot " + action + ": " + std::strerror(reason)};
}

template <class Call>
auto uninterrupted(Call call) {
    auto result = call();
    while (result == -1 && errno == EINTR) result = call();
    return result;
}

std::string directory_of(const std::string& path) {
    const size_t slash = path.find_last_of('/');
    if (slash == std::string::npos) return ".";
    return slash == 0 ? "/" : path.substr(0, slash);
}

std::string name_of(const std::string& path) { return path.substr(path.find_last_of('/') + 1); }

// Closed on every way out.
struct Descriptor {
    int fd = -1;
    ~Descriptor() {
        if (fd >= 0) syscalls().close(fd);
    }
};

// Reads exactly `bytes`; a shorter file is an error.
Status read_fully(int fd, const std::string& path, uint8_t* data, size_t bytes) {
    size_t done = 0;
    while (done < bytes) {
        const ssize_t got = uninterrupted([&] { return syscalls().read(fd, data + done, bytes - done); });
        if (got < 0) return system_error(path, "read");
        if (got == 0)
            return io_error(escaped(path) + format_text(": ended after %zu of %zu bytes", done, bytes));
        done += static_cast<size_t>(got);
    }
    return {};
}

mode_t default_mode() {
    static const mode_t mask = [] {
        const mode_t current = ::umask(0);
        ::umask(current);
        return current;
    }();
    return static_cast<mode_t>(0666) & ~mask;
}

uint64_t random_number() {
    static uint64_t calls = 0;
    const auto now = std::chrono::steady_clock::now().time_since_epoch().count();
    return Rng(static_cast<uint64_t>(now) ^ (static_cast<uint64_t>(::getpid()) << 32) ^ __atomic_add_fetch(&calls, 1, __ATOMIC_RELAXED)).next();
}

// Names of temporaries: `.NAME.PID.RANDOM.tmp`, NAME cut so that the whole stays a legal file name.
std::string temporary_prefix(const std::string& target) { return "." + name_of(target).substr(0, 200) + "."; }

// Removes temporaries of this output whose writer was killed. A writer holds a lock on its temporary, so that one which
// lives where its process number means nothing to us (another container) keeps its file.
void remove_stale(const std::string& target) {
    const std::string directory = directory_of(target), prefix = temporary_prefix(target);
    const std::unique_ptr<DIR, int (*)(DIR*)> listing(::opendir(directory.c_str()), ::closedir);
    if (!listing) return;
    while (const dirent* entry = ::readdir(listing.get())) {
        const std::string name = entry->d_name;
        if (!name.starts_with(prefix) || !name.ends_with(".tmp")) continue;
        char* end = nullptr;
        const long pid = std::strtol(name.c_str() + prefix.size(), &end, 10);
        if (pid <= 0 || *end != '.' || ::kill(static_cast<pid_t>(pid), 0) == 0 || errno != ESRCH) continue;
        const std::string path = directory + "/" + name;
        Descriptor file{syscalls().open(path.c_str(), O_RDWR | O_CLOEXEC | O_NOFOLLOW, 0)};
        if (file.fd >= 0 && ::flock(file.fd, LOCK_EX | LOCK_NB) == 0) syscalls().unlink(path.c_str());
    }
}

// Follows symbolic links, so that the file behind a link is replaced and not the link.
Result<std::string> resolve_output(const std::string& path) {
    struct stat info;
    if (path.empty()) return usage_error("the output path is empty");
    if (::lstat(path.c_str(), &info) != 0 || !S_ISLNK(info.st_mode)) return path;
    char* resolved = ::realpath(path.c_str(), nullptr);
    if (!resolved) return usage_error(escaped(path) + ": the output is a symbolic link that leads nowhere");
    std::string target = resolved;
    std::free(resolved);
    return target;
}

Status check_output(const std::string& path, const std::string& target, bool force, std::span<const FileId> inputs) {
    struct stat info;
    if (::stat(target.c_str(), &info) != 0) {
        if (errno != ENOENT) return system_error(path, "write");
        if (target.ends_with('/')) return usage_error(escaped(path) + ": the output is a directory");
        return {};
    }
    if (S_ISDIR(info.st_mode)) return usage_error(escaped(path) + ": the output is a directory");
    if (!S_ISREG(info.st_mode)) return usage_error(escaped(path) + ": the output is not a regular file");
    for (const FileId& input : inputs)
        if (input == FileId{static_cast<uint64_t>(info.st_dev), static_cast<uint64_t>(info.st_ino)})
            return usage_error(escaped(path) + ": the output is the input; choose another name");
    if (!force) return usage_error(escaped(path) + ": exists already (--force replaces it)");
    return {};
}

}  // namespace

Syscalls& syscalls() {
    static Syscalls table = {
        [](const char* path, int flags, unsigned mode) { return ::open(path, flags, static_cast<mode_t>(mode)); },
        ::read, ::write, ::fsync,
        [](int fd, unsigned mode) { return ::fchmod(fd, static_cast<mode_t>(mode)); },
        ::close, ::rename, ::unlink,
        [](int fd, struct stat* out) { return ::fstat(fd, out); },
        ::mmap, ::munmap,
    };
    return table;
}

Result<MappedFile> MappedFile::open(const std::string& path, Mode mode) {
    // O_NONBLOCK: opening a pipe without a writer must not hang; it means nothing for regular files.
    Descriptor file{uninterrupted([&] { return syscalls().open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK, 0); })};
    if (file.fd < 0) return system_error(path, "open");
    struct stat info;
    if (uninterrupted([&] { return syscalls().fstat(file.fd, &info); }) != 0) return system_error(path, "read");
    if (S_ISDIR(info.st_mode)) return io_error(escaped(path) + ": is a directory");
    if (!S_ISREG(info.st_mode)) return io_error(escaped(path) + ": is not a regular file");
    MappedFile result;
    result.path_ = path;
    result.id_ = {static_cast<uint64_t>(info.st_dev), static_cast<uint64_t>(info.st_ino)};
    result.size_ = static_cast<size_t>(info.st_size);
    if (result.size_ == 0) return result;
    if (mode == Mode::map) {
        void* data = syscalls().mmap(nullptr, result.size_, PROT_READ, MAP_PRIVATE, file.fd, 0);
        if (data != MAP_FAILED) {
            result.data_ = static_cast<const uint8_t*>(data);
            return result;
        }
        if (errno == ENOMEM || errno == EAGAIN) return system_error(path, "map");
    }
    // A file system that cannot map, or the caller wants a copy: in huge pages where the system has them.
    const size_t alignment = result.size_ >= kHugePage ? kHugePage : kDataAlignment;
    result.owned_.reset(new uint8_t[result.size_ + alignment]);
    const auto start = reinterpret_cast<uintptr_t>(result.owned_.get());
    uint8_t* data = result.owned_.get() + (alignment - start % alignment) % alignment;
    if (alignment == kHugePage) ask_for_huge_pages(data, result.size_);
    TRY(read_fully(file.fd, path, data, result.size_));
    result.data_ = data;
    return result;
}

MappedFile::MappedFile(MappedFile&& other) noexcept { *this = std::move(other); }

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
    if (this == &other) return *this;
    if (data_ && !owned_) syscalls().munmap(const_cast<uint8_t*>(data_), size_);
    data_ = std::exchange(other.data_, nullptr);
    size_ = std::exchange(other.size_, 0);
    id_ = other.id_;
    path_ = std::move(other.path_);
    owned_ = std::move(other.owned_);
    return *this;
}

MappedFile::~MappedFile() {
    if (data_ && !owned_) syscalls().munmap(const_cast<uint8_t*>(data_), size_);
}

void MappedFile::release(size_t offset, size_t bytes) const {
    if (!data_ || owned_ || offset > size_ || bytes > size_ - offset) return;
    // Whole pages only: those at the ends may belong to neighbours still in use.
    const auto page = static_cast<size_t>(::sysconf(_SC_PAGESIZE));
    const size_t first = (offset + page - 1) / page * page, last = (offset + bytes) / page * page;
    if (first < last) ::madvise(const_cast<uint8_t*>(data_) + first, last - first, MADV_DONTNEED);
}

Status AtomicFile::check(const std::string& path, bool force, std::span<const FileId> inputs) {
    LET(target, resolve_output(path));
    return check_output(path, target, force, inputs);
}

Result<AtomicFile> AtomicFile::create(const std::string& path, bool force, std::span<const FileId> inputs) {
    LET(target, resolve_output(path));
    TRY(check_output(path, target, force, inputs));
    remove_stale(target);
    AtomicFile file;
    file.path_ = path;
    file.target_ = std::move(target);
    const std::string base = directory_of(file.target_) + "/" + temporary_prefix(file.target_);
    for (int attempt = 0; attempt < 100; ++attempt) {
        // Set before the file exists: from then on every way out removes it.
        file.temporary_ = base + format_text("%ld.%016llx.tmp", static_cast<long>(::getpid()),
                                             static_cast<unsigned long long>(random_number()));
        file.fd_ = uninterrupted([&] {
            return syscalls().open(file.temporary_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
        });
        if (file.fd_ >= 0) {
            ::flock(file.fd_, LOCK_EX | LOCK_NB);
            return file;
        }
        const int reason = errno;
        file.temporary_.clear();  // not ours
        if (reason == EEXIST) continue;
        errno = reason;
        return system_error(path, "create a file beside the output");
    }
    return io_error(escaped(path) + ": no free temporary name beside the output");
}

AtomicFile::AtomicFile(AtomicFile&& other) noexcept { *this = std::move(other); }

AtomicFile& AtomicFile::operator=(AtomicFile&& other) noexcept {
    if (this == &other) return *this;
    discard();
    fd_ = std::exchange(other.fd_, -1);
    written_ = std::exchange(other.written_, 0);
    path_ = std::move(other.path_);
    target_ = std::move(other.target_);
    temporary_ = std::move(other.temporary_);
    other.temporary_.clear();
    return *this;
}

AtomicFile::~AtomicFile() { discard(); }

Status AtomicFile::write(Bytes data) {
    while (!data.empty()) {
        const ssize_t put = uninterrupted([&] { return syscalls().write(fd_, data.data(), data.size()); });
        if (put < 0) return system_error(path_, "write");
        if (put == 0) return io_error(escaped(path_) + ": cannot write: the system took no bytes");
        written_ += static_cast<uint64_t>(put);
        data = data.subspan(static_cast<size_t>(put));
    }
    return {};
}

Status AtomicFile::seal(uint64_t expected_bytes) {
    struct stat info;
    if (uninterrupted([&] { return syscalls().fstat(fd_, &info); }) != 0) return system_error(path_, "check the size");
    const auto found = static_cast<uint64_t>(info.st_size);
    if (found != written_ || found != expected_bytes)
        return io_error(escaped(path_) + format_text(": %llu bytes planned, %llu written, the file holds %llu",
                                                     static_cast<unsigned long long>(expected_bytes),
                                                     static_cast<unsigned long long>(written_),
                                                     static_cast<unsigned long long>(found)));
    // Readable for others only now; where permissions cannot be set (FAT), there is nothing to set.
    if (syscalls().fchmod(fd_, default_mode()) != 0 && errno != EPERM && errno != ENOTSUP) return system_error(path_, "set the mode");
    // Never repeated after a failure: the state of the pages is unknown then.
    if (syscalls().fsync(fd_) != 0) return system_error(path_, "sync");
    // The descriptor is gone whatever close says; after the sync an interruption has lost nothing.
    const int closed = syscalls().close(std::exchange(fd_, -1));
    if (closed != 0 && errno != EINTR) return system_error(path_, "close");
    return {};
}

Status AtomicFile::publish() {
    if (uninterrupted([&] { return syscalls().rename(temporary_.c_str(), target_.c_str()); }) != 0)
        return system_error(path_, "rename the finished file");
    temporary_.clear();
    const std::string directory = directory_of(target_);
    Descriptor opened{uninterrupted([&] {
        return syscalls().open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
    })};
    if (opened.fd < 0) return system_error(directory, "open");
    // Some file systems cannot sync a directory and say so.
    if (syscalls().fsync(opened.fd) != 0 && errno != EINVAL && errno != ENOTSUP) return system_error(directory, "sync");
    return {};
}

Status AtomicFile::commit(uint64_t expected_bytes) {
    TRY(seal(expected_bytes));
    return publish();
}

void AtomicFile::discard() {
    if (fd_ >= 0) syscalls().close(std::exchange(fd_, -1));
    if (!temporary_.empty()) uninterrupted([&] { return syscalls().unlink(temporary_.c_str()); });
    temporary_.clear();
}

Result<std::string> read_text_file(const std::string& path, uint64_t max_bytes) {
    const bool standard_input = path == "-";
    Descriptor opened;
    if (!standard_input) {
        opened.fd = uninterrupted([&] { return syscalls().open(path.c_str(), O_RDONLY | O_CLOEXEC, 0); });
        if (opened.fd < 0) return system_error(path, "open");
    }
    const int fd = standard_input ? 0 : opened.fd;
    const std::string name = standard_input ? "standard input" : path;
    std::string text;
    std::vector<char> piece(size_t{1} << 16);
    for (;;) {
        const ssize_t got = syscalls().read(fd, piece.data(), piece.size());
        if (got == 0) return text;
        if (got < 0) {
            if (errno != EINTR) return system_error(name, "read");
            if (interrupted()) return Error{Code::interrupted, escaped(name) + ": reading was interrupted"};
            continue;
        }
        if (static_cast<uint64_t>(got) > max_bytes - text.size())
            return input_error(escaped(name) + format_text(": longer than %llu bytes", static_cast<unsigned long long>(max_bytes)));
        text.append(piece.data(), static_cast<size_t>(got));
    }
}

uint64_t free_bytes_at(const std::string& path) {
    struct statvfs info;
    if (::statvfs(path.c_str(), &info) != 0 && ::statvfs(directory_of(path).c_str(), &info) != 0) return 0;
    return static_cast<uint64_t>(info.f_bavail) * info.f_frsize;
}

std::string escaped(std::string_view text) {
    std::string out;
    out.reserve(text.size());
    while (!text.empty()) {
        const auto byte = static_cast<uint8_t>(text[0]);
        const size_t length = utf8_length(text);
        const bool control = byte < 0x20 || byte == 0x7F || (byte == 0xC2 && length == 2 && static_cast<uint8_t>(text[1]) < 0xA0);
        if (byte == '\n') {
            out += "\\n";
        } else if (byte == '\t') {
            out += "\\t";
        } else if (control || length == 0) {
            for (size_t i = 0; i < (length ? length : 1); ++i) out += format_text("\\x%02x", static_cast<uint8_t>(text[i]));
        } else {
            out.append(text.substr(0, length));
        }
        text.remove_prefix(length ? length : 1);
    }
    return out;
}

}  // namespace quant
