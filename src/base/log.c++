// One-line messages to standard error. Every message passes through escaped(), so that no name from a file
// can move the cursor or start a line of its own.
#include "base/log.h"

#include <atomic>
#include <cstdarg>
#include <cstdio>

#include "base/file.h"

namespace quant {
namespace {

std::atomic<LogLevel> level{LogLevel::normal};
std::atomic<bool> progress_line{false};

void print_line(std::string_view text) {
    // One call per line: lines of several threads do not mix.
    const char* clear = progress_line.exchange(false) ? "\r\x1b[K" : "";
    std::fprintf(stderr, "%squant: %s\n", clear, escaped(text).c_str());
}

}  // namespace

void set_log_level(LogLevel chosen) { level = chosen; }
LogLevel log_level() { return level; }
void set_progress_line(bool open) { progress_line = open; }

void log_error(std::string_view text) { print_line(text); }
void log_warning(std::string_view text) {
    if (level != LogLevel::quiet) print_line("warning: " + std::string(text));
}
void log_info(std::string_view text) {
    if (level != LogLevel::quiet) print_line(text);
}
void log_verbose(std::string_view text) {
    if (level == LogLevel::verbose) print_line(text);
}

std::string format_text(const char* format, ...) {
    va_list arguments, again;
    va_start(arguments, format);
    va_copy(again, arguments);
    const int length = std::vsnprintf(nullptr, 0, format, arguments);
    va_end(arguments);
    std::string text(length > 0 ? static_cast<size_t>(length) : 0, '\0');
    if (length > 0) std::vsnprintf(text.data(), text.size() + 1, format, again);
    va_end(again);
    return text;
}

std::string human_bytes(unsigned long long bytes) {
    static constexpr const char* kUnits[] = {"kB", "MB", "GB", "TB", "PB", "EB"};
    if (bytes < 1000) return format_text("%llu B", bytes);
    double value = static_cast<double>(bytes) / 1000;
    size_t unit = 0;
    // 999.995 would print as 1000.00.
    while (value >= 999.995 && unit + 1 < std::size(kUnits)) {
        value /= 1000;
        ++unit;
    }
    return format_text("%.2f %s", value, kUnits[unit]);
}

}  // namespace quant
