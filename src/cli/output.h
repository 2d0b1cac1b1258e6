// What commands print on standard output: tables, and text that appears at once. Knows no models and no files.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace quant {

// A table for people: columns padded to their widest cell, numbers (right = true) aligned at the right.
class Table {
public:
    struct Column {
        std::string title;
        bool right = false;
    };
    explicit Table(std::vector<Column> columns);
    void row(std::vector<std::string> cells);
    std::string plain() const;     // aligned with spaces
    std::string markdown() const;

private:
    std::string line(const std::vector<std::string>& cells, const std::vector<size_t>& widths, std::string_view left,
                     std::string_view between) const;
    std::vector<size_t> widths() const;
    std::vector<Column> columns_;
    std::vector<std::vector<std::string>> rows_;
};

// Writes to standard output at once. Error "io" names the reason; a reader that went away is reported by
// standard_output_closed(), so that `quant ... | head` can end without a word.
Status write_output(std::string_view text);
bool standard_output_closed();

}  // namespace quant
