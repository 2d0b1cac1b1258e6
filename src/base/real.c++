#include "base/real.h"

#include <charconv>

#ifndef __cpp_lib_to_chars  // libc++ before 20 reads integers only
#include <locale.h>
#include <stdlib.h>
#ifdef __APPLE__
#include <xlocale.h>
#endif

#include <cerrno>
#include <string>
#endif

namespace quant {

#ifdef __cpp_lib_to_chars

std::optional<double> parse_double(std::string_view text) {
    double value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
    return value;
}

#else

std::optional<double> parse_double(std::string_view text) {
    if (text.empty() || text.find_first_of(" \t\n\v\f\r+xX") < text.find_first_of("eE")) return std::nullopt;
    static const locale_t plain = newlocale(LC_ALL_MASK, "C", nullptr);
    const std::string copy(text);
    char* end = nullptr;
    errno = 0;
    const double value = strtod_l(copy.c_str(), &end, plain);
    if (errno == ERANGE || end != copy.c_str() + copy.size()) return std::nullopt;
    return value;
}

#endif

}  // namespace quant
