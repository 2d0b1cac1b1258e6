// The progress bar. Drawn at most ten times a second; without a terminal one line every few seconds.
#include "base/progress.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <utility>

#include "base/file.h"
#include "base/log.h"

namespace quant {
namespace {

constexpr double kTerminalSeconds = 0.1, kPlainSeconds = 5;

double seconds_now() {
    return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

size_t terminal_columns() {
    winsize size{};
    return ::ioctl(2, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
}

std::string duration_text(double seconds) {
    const auto whole = static_cast<long>(seconds + 0.5);
    if (whole >= 3600) return format_text("%ld:%02ld:%02ld", whole / 3600, whole / 60 % 60, whole % 60);
    return format_text("%ld:%02ld", whole / 60, whole % 60);
}

std::string rate_text(double per_second, const std::string& unit) {
    if (unit == "bytes") return format_text("%.1f MB/s", per_second / 1e6);
    return format_text(per_second < 10 ? "%.2f %s/s" : "%.0f %s/s", per_second, unit.c_str());
}

}  // namespace

Progress::Progress(std::string title, std::string unit, uint64_t total)
    : title_(std::move(title)), unit_(std::move(unit)), total_(total), started_(seconds_now()), drawn_(started_),
      terminal_(::isatty(2) == 1), shown_(log_level() != LogLevel::quiet) {}

Progress::~Progress() { finish(); }

void Progress::advance(uint64_t amount) {
    done_ += amount;
    if (shown_ && seconds_now() - drawn_ >= (terminal_ ? kTerminalSeconds : kPlainSeconds)) draw(false);
}

void Progress::note(std::string text) { note_ = std::move(text); }

void Progress::finish() {
    if (std::exchange(finished_, true) || !shown_) return;
    // What was too short for a first line needs no last one.
    if (drawn_ > started_) draw(true);
}

void Progress::draw(bool last) {
    drawn_ = seconds_now();
    const double elapsed = std::max(drawn_ - started_, 1e-9);
    const double rate = static_cast<double>(done_) / elapsed;
    const double fraction = total_ ? std::min(1.0, static_cast<double>(done_) / static_cast<double>(total_)) : 0;
    std::string figures;
    if (total_) figures = format_text("%3.0f %%, ", fraction * 100);
    else figures = unit_ == "bytes" ? human_bytes(done_) + ", " : format_text("%llu %s, ", static_cast<unsigned long long>(done_), unit_.c_str());
    figures += rate_text(rate, unit_);
    if (last) figures += ", " + duration_text(elapsed);
    else if (total_ && rate > 0) figures += ", " + duration_text(static_cast<double>(total_ - std::min(done_, total_)) / rate) + " left";
    if (!note_.empty()) figures += "  " + escaped(note_);
    if (!terminal_) {
        log_info(title_ + " " + figures);
        return;
    }
    constexpr size_t kBar = 24;
    std::string line = title_ + " ";
    if (total_) {
        const auto filled = static_cast<size_t>(fraction * kBar);
        line += "[" + std::string(filled, '#') + std::string(kBar - filled, '.') + "] ";
    }
    line += figures;
    // A line longer than the terminal would wrap and could not be overwritten. Cut between characters.
    size_t room = terminal_columns() - 1;
    if (line.size() > room) {
        while (room > 0 && (static_cast<unsigned char>(line[room]) & 0xC0) == 0x80) --room;
        line.resize(room);
    }
    std::fprintf(stderr, "\r%s\x1b[K%s", line.c_str(), last ? "\n" : "");
    std::fflush(stderr);
    set_progress_line(!last);
}

}  // namespace quant
