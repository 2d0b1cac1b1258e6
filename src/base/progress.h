// Progress of long work on standard error: a bar with rate and time left on a terminal,
// a plain line every few seconds elsewhere, nothing with --quiet.
#pragma once

#include <cstdint>
#include <string>

namespace quant {

class Progress {
public:
    // `unit` names what is counted: "bytes" shows MB/s, anything else UNIT/s. `total` 0 = unknown.
    Progress(std::string title, std::string unit, uint64_t total);
    ~Progress();  // ends the line
    void advance(uint64_t amount);      // from any one thread at a time
    void note(std::string text);        // a short text behind the bar, for example the tensor's name or a running figure
    void finish();

private:
    void draw(bool last);
    std::string title_, unit_, note_;
    uint64_t total_, done_ = 0;
    double started_, drawn_ = 0;
    bool terminal_, shown_, finished_ = false;
};

}  // namespace quant
