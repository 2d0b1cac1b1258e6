// Messages to standard error, each one line: `quant: text`. Levels are set once, by the command line.
#pragma once

#include <string>
#include <string_view>

namespace quant {

enum class LogLevel { quiet, normal, verbose };
void set_log_level(LogLevel level);
LogLevel log_level();

void log_error(std::string_view text);    // always shown
void log_warning(std::string_view text);  // not in quiet
void log_info(std::string_view text);     // not in quiet
void log_verbose(std::string_view text);  // in verbose only

// While a progress bar stands on the terminal's last line, the next message clears it first.
void set_progress_line(bool open);

// printf into a string.
std::string format_text(const char* format, ...) __attribute__((format(printf, 1, 2)));
std::string human_bytes(unsigned long long bytes);  // "2.73 MB", decimal units as file sizes are quoted

}  // namespace quant
