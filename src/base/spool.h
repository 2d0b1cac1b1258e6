// A working file that only grows at its end and stays where it is when the program is killed: long work appends to it and
// goes on from it later. For files of this program for itself; results go through AtomicFile.
#pragma once

#include <cstdint>
#include <string>

#include "base/file.h"
#include "base/result.h"

namespace quant {

class Spool {
public:
    // Opens what lies at `path`, or makes it. Error "io": the file system refuses.
    static Result<Spool> open(const std::string& path);
    Spool() = default;
    Spool(Spool&& other) noexcept;
    Spool& operator=(Spool&& other) noexcept;
    ~Spool();  // the file stays

    uint64_t bytes() const { return bytes_; }
    Status cut(uint64_t bytes);  // what lies behind is forgotten; `bytes` is at most bytes()
    Status append(Bytes data);
    Status sync();
    const std::string& path() const { return path_; }

private:
    std::string path_;
    int fd_ = -1;
    uint64_t bytes_ = 0;
};

}  // namespace quant
