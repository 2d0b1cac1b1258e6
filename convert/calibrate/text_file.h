// A text that calibration reads, more than once if need be. Knows neither models nor tokens.
#pragma once

#include <memory>
#include <string>

#include "base/result.h"

namespace quant {

// Regular files are read anew each time, so that long texts do not stay in memory; what comes out of a pipe, or out of
// standard input ("-"), comes once and is kept. Copies share it. Thread-safe.
class TextFile {
public:
    TextFile(std::string path);
    TextFile(const char* path) : TextFile(std::string(path)) {}
    const std::string& path() const { return path_; }
    std::string name() const;  // without folders, for metadata and titles; what is no file: "pipe"
    // Errors: of the file system; a text of more than 1 GiB.
    Result<std::string> read() const;

private:
    struct Kept;
    std::string path_;
    std::shared_ptr<Kept> kept_;
};

}  // namespace quant
