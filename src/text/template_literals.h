// Reads the quoted texts of a Jinja template without executing it: enough to tell formats apart and to find
// their constants.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace quant {

struct TemplateLiteral {
    std::string value;          // unescaped
    size_t begin = 0, end = 0;  // with the quotes, in the template
};

// All string literals inside {{ }} and {% %}, in order; comments and plain text are skipped. Linear in the
// text.
std::vector<TemplateLiteral> template_literals(std::string_view text);

// The value of `"a" + strftime_now("%Y") + "b"` that begins with literal `first`: a{date:%Y}b.
// Ends where anything else is added; then `complete` is false.
std::string template_sum(std::string_view text, const std::vector<TemplateLiteral>& literals, size_t first,
                         bool& complete);

}  // namespace quant
