// Tables and streamed text on standard output.
#include "cli/output.h"

#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>

namespace quant {

namespace {

// Characters, not bytes: a cell may hold UTF-8.
size_t width_of(std::string_view text) {
    return static_cast<size_t>(std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xc0) != 0x80; }));
}

}  // namespace

Table::Table(std::vector<Column> columns) : columns_(std::move(columns)) {}

void Table::row(std::vector<std::string> cells) { rows_.push_back(std::move(cells)); }

std::vector<size_t> Table::widths() const {
    std::vector<size_t> widths;
    for (size_t i = 0; i < columns_.size(); ++i) {
        size_t widest = width_of(columns_[i].title);
        for (const auto& cells : rows_) widest = std::max(widest, width_of(cells[i]));
        widths.push_back(widest);
    }
    return widths;
}

std::string Table::line(const std::vector<std::string>& cells, const std::vector<size_t>& widths, std::string_view left,
                        std::string_view between) const {
    std::string out(left);
    for (size_t i = 0; i < cells.size(); ++i) {
        const std::string padding(widths[i] - width_of(cells[i]), ' ');
        if (i) out += between;
        out += columns_[i].right ? padding + cells[i] : cells[i] + padding;
    }
    return out;
}

std::string Table::plain() const {
    const std::vector<size_t> widths = this->widths();
    std::vector<std::string> titles;
    for (const Column& column : columns_) titles.push_back(column.title);
    std::string out;
    const auto add = [&](const std::vector<std::string>& cells) {
        std::string text = line(cells, widths, "", "  ");
        text.erase(text.find_last_not_of(' ') + 1);
        out += text + '\n';
    };
    add(titles);
    for (const auto& cells : rows_) add(cells);
    return out;
}

std::string Table::markdown() const {
    const std::vector<size_t> widths = this->widths();
    std::vector<std::string> titles, rules;
    for (size_t i = 0; i < columns_.size(); ++i) {
        titles.push_back(columns_[i].title);
        rules.push_back(std::string(std::max<size_t>(widths[i], 2) - 1, '-') + (columns_[i].right ? ":" : "-"));
    }
    std::vector<size_t> wide;
    for (const size_t width : widths) wide.push_back(std::max<size_t>(width, 2));
    std::string out = line(titles, wide, "| ", " | ") + " |\n" + line(rules, wide, "| ", " | ") + " |\n";
    for (const auto& cells : rows_) out += line(cells, wide, "| ", " | ") + " |\n";
    return out;
}

Status write_output(std::string_view text) {
    if (std::fwrite(text.data(), 1, text.size(), stdout) == text.size() && std::fflush(stdout) == 0) return {};
    return io_error(std::string("standard output: ") + std::strerror(errno));
}

bool standard_output_closed() {
    pollfd state{STDOUT_FILENO, POLLOUT, 0};
    return ::poll(&state, 1, 0) == 1 && (state.revents & POLLERR);
}

}  // namespace quant
