// Finished pieces of long work in a file beside the output, each appended as it comes, so that the same command goes on from
// there after a kill. A file of this program for itself: what is of other work, or torn, is cut off and done again.
#pragma once

#include <cstdint>
#include <string>
#include <unordered_map>

#include "base/file.h"
#include "base/result.h"
#include "base/spool.h"

namespace quant {

class Journal {
public:
    // Makes the file where there is none; empties it where it belongs to other work than that of this fingerprint.
    static Result<Journal> open(const std::string& path, uint64_t work);

    // A piece that lay there when the file was opened, valid as long as this; empty: there is none. `key`: a fingerprint of all
    // that it depends on.
    Bytes find(uint64_t key) const;
    Status put(uint64_t key, Bytes piece);
    bool goes_on() const { return !pieces_.empty(); }  // there were pieces when the file was opened

private:
    uint64_t read(uint64_t work);
    MappedFile file_;
    std::unordered_map<uint64_t, Bytes> pieces_;
    Spool spool_;
};

}  // namespace quant
