// Files: read-only mappings, and outputs that appear under their final name only when complete.
// All calls to the operating system for file data go through the table `syscalls()`, so that tests can make them fail.
#pragma once

#include <sys/stat.h>
#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace quant {

using Bytes = std::span<const uint8_t>;

// The system calls used for file data; tests replace entries to inject failures and short counts.
struct Syscalls {
    int (*open)(const char* path, int flags, unsigned mode);
    ssize_t (*read)(int fd, void* data, size_t bytes);
    ssize_t (*write)(int fd, const void* data, size_t bytes);
    int (*fsync)(int fd);
    int (*fchmod)(int fd, unsigned mode);
    int (*close)(int fd);
    int (*rename)(const char* from, const char* to);
    int (*unlink)(const char* path);
    int (*fstat)(int fd, struct stat* out);
    void* (*mmap)(void* address, size_t bytes, int protection, int flags, int fd, off_t offset);
    int (*munmap)(void* address, size_t bytes);
};
Syscalls& syscalls();

// Identity of a file on this machine: equal for every path, link or symlink that leads to it.
struct FileId {
    uint64_t device = 0, inode = 0;
    bool operator==(const FileId&) const = default;
};

// A whole file, mapped read-only (or read into memory where mapping is refused or unwanted).
// Movable; the bytes stay at the same address for the object's life.
class MappedFile {
public:
    enum class Mode { map, read };
    static Result<MappedFile> open(const std::string& path, Mode mode = Mode::map);
    MappedFile() = default;
    MappedFile(MappedFile&&) noexcept;
    MappedFile& operator=(MappedFile&&) noexcept;
    ~MappedFile();

    Bytes bytes() const { return {data_, size_}; }
    FileId id() const { return id_; }
    const std::string& path() const { return path_; }
    // Tells the system that these pages will not be needed again (after a tensor was converted or packed).
    void release(size_t offset, size_t bytes) const;

private:
    const uint8_t* data_ = nullptr;
    size_t size_ = 0;
    FileId id_;
    std::string path_;
    std::unique_ptr<uint8_t[]> owned_;  // set in Mode::read
};

// An output file: written to `.NAME.PID.RANDOM.tmp` beside its final name, which is replaced in one step by commit().
// Destroyed without commit, it leaves nothing behind. On signals: see base/signals.h.
class AtomicFile {
public:
    // Refuses a directory, a device, an existing file without `force`, and any file whose id is in `inputs`.
    static Status check(const std::string& path, bool force, std::span<const FileId> inputs);
    // Checks the same, then makes the temporary file.
    static Result<AtomicFile> create(const std::string& path, bool force, std::span<const FileId> inputs);
    AtomicFile() = default;
    AtomicFile(AtomicFile&&) noexcept;
    AtomicFile& operator=(AtomicFile&&) noexcept;
    ~AtomicFile();

    Status write(Bytes data);  // appends; retries short and interrupted writes
    uint64_t written() const { return written_; }
    const std::string& temporary_path() const { return temporary_; }
    // Checks that the file holds `expected_bytes`, syncs, renames, syncs the directory.
    Status commit(uint64_t expected_bytes);
    // The two halves of commit(), for several files that appear together and are read back in between:
    // check, sync and close; then rename and sync the directory.
    Status seal(uint64_t expected_bytes);
    Status publish();
    void discard();  // idempotent

private:
    int fd_ = -1;
    uint64_t written_ = 0;
    std::string path_;       // as given, for messages
    std::string target_;     // what is replaced: `path_` with symbolic links followed
    std::string temporary_;  // empty: nothing to remove
};

// A whole small file as text (at most `max_bytes`); `-` reads standard input.
Result<std::string> read_text_file(const std::string& path, uint64_t max_bytes);
// Bytes free where `path` lies or would lie; 0 when the system does not say.
uint64_t free_bytes_at(const std::string& path);
// `text` with control bytes written as \n, \x1b ...: for paths and names inside messages.
std::string escaped(std::string_view text);

}  // namespace quant
