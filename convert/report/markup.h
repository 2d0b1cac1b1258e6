// Pieces of HTML and SVG as text. Everything that comes from outside passes through html().
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace quant {

// For text and attribute values: markup escaped, control characters and bytes that are no UTF-8 replaced by U+FFFD.
std::string html(std::string_view text);
// Few digits for people: 0.0123, 4.52, 1.2e-05.
std::string figure(double value, int digits = 3);
// A table with a caption; the first column heads its rows. `numbers`: the columns from there on stand at the right.
std::string html_table(const std::string& caption, const std::vector<std::string>& titles,
                       const std::vector<std::vector<std::string>>& rows, size_t numbers);
// `body` that opens when asked for.
std::string html_details(const std::string& summary, const std::string& body);

// The style sheet of the page.
extern const char* const kReportStyle;

}  // namespace quant
