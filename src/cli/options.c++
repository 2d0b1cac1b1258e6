// Options as a table: one parser and one help printer for every command.
#include "cli/options.h"

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <numeric>
#include <sstream>
#include <utility>

#include "base/file.h"
#include "base/log.h"
#include "base/real.h"

namespace quant {

namespace {

std::vector<std::string> split_names(const std::string& names) {
    std::istringstream stream(names);
    std::vector<std::string> out;
    for (std::string name; stream >> name;) out.push_back(name);
    return out;
}

// Edit distance in which two neighbours that changed places count once, for the hint at a mistyped option.
size_t distance(std::string_view a, std::string_view b) {
    std::vector<size_t> before, last, row(b.size() + 1);
    std::iota(row.begin(), row.end(), size_t{0});
    for (size_t i = 1; i <= a.size(); ++i) {
        before = std::exchange(last, row);
        row[0] = i;
        for (size_t j = 1; j <= b.size(); ++j) {
            row[j] = std::min({last[j] + 1, row[j - 1] + 1, last[j - 1] + (a[i - 1] != b[j - 1])});
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) row[j] = std::min(row[j], before[j - 2] + 1);
        }
    }
    return row[b.size()];
}

}  // namespace

Result<int64_t> parse_integer(std::string_view text) {
    int64_t value = 0;
    if (!text.empty() && text.front() == '+') text.remove_prefix(1);
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc{} || end != text.data() + text.size() || text.empty())
        return usage_error("expected an integer, found '" + escaped(text) + "'");
    return value;
}

Result<double> parse_real(std::string_view text) {
    if (!text.empty() && text.front() == '+') text.remove_prefix(1);
    const auto value = parse_double(text);
    if (!value || !std::isfinite(*value)) return usage_error("expected a number, found '" + escaped(text) + "'");
    return *value;
}

Result<uint64_t> parse_size(std::string_view text) {
    const size_t digits = std::min(text.find_first_not_of("0123456789.+"), text.size());
    const std::string_view unit = text.substr(digits);
    struct Unit {
        const char* name;
        double bytes;
    };
    static constexpr Unit units[] = {{"", 1},        {"B", 1},        {"K", 1e3},      {"KB", 1e3},
                                     {"M", 1e6},     {"MB", 1e6},     {"G", 1e9},      {"GB", 1e9},
                                     {"KiB", 1024.}, {"MiB", 1048576.}, {"GiB", 1073741824.}};
    for (const Unit& known : units) {
        if (unit != known.name) continue;
        auto number = parse_real(text.substr(0, digits));
        if (!number || *number < 0 || *number * known.bytes >= 9.2e18) break;
        return static_cast<uint64_t>(std::llround(*number * known.bytes));
    }
    return usage_error("expected a size such as 700M, 1.5G or 512MiB, found '" + escaped(text) + "'");
}

Options::Options(std::string usage, std::string summary, std::string examples)
    : usage_(std::move(usage)), summary_(std::move(summary)), examples_(std::move(examples)) {}

void Options::flag(std::string names, std::string help, bool* target) {
    rows_.push_back({split_names(names), "", std::move(help), [target](const std::string&) {
                         *target = true;
                         return Status{};
                     }});
}

void Options::text(std::string names, std::string value, std::string help, std::string* target) {
    rows_.push_back({split_names(names), std::move(value), std::move(help), [target](const std::string& given) {
                         *target = given;
                         return Status{};
                     }});
}

void Options::integer(std::string names, std::string value, std::string help, int64_t* target, int64_t low,
                      int64_t high) {
    rows_.push_back({split_names(names), std::move(value), std::move(help), [=](const std::string& given) -> Status {
                         LET(number, parse_integer(given));
                         if (number < low || number > high)
                             return usage_error(format_text("expected %lld to %lld, found %lld",
                                                            static_cast<long long>(low), static_cast<long long>(high),
                                                            static_cast<long long>(number)));
                         *target = number;
                         return {};
                     }});
}

void Options::real(std::string names, std::string value, std::string help, float* target, double low, double high) {
    rows_.push_back({split_names(names), std::move(value), std::move(help), [=](const std::string& given) -> Status {
                         LET(number, parse_real(given));
                         if (number < low || number > high)
                             return usage_error(format_text("expected %g to %g, found %g", low, high, number));
                         *target = static_cast<float>(number);
                         return {};
                     }});
}

void Options::call(std::string names, std::string value, std::string help,
                   std::function<Status(const std::string&)> take) {
    rows_.push_back({split_names(names), std::move(value), std::move(help), std::move(take)});
}

void Options::call_flag(std::string names, std::string help, std::function<Status()> take) {
    rows_.push_back({split_names(names), "", std::move(help),
                     [take = std::move(take)](const std::string&) { return take(); }});
}

void Options::section(std::string title) { rows_.push_back({{}, "", std::move(title), {}}); }

void Options::positional(std::vector<std::string>* target, size_t least, size_t most) {
    positional_ = target;
    least_ = least;
    most_ = most;
}

Error Options::unknown(std::string_view name) const {
    std::string nearest;
    size_t best = 3;  // further away is no help
    for (const Row& row : rows_)
        for (const std::string& known : row.names)
            if (const size_t d = distance(name, known); d < best && d < known.size() - 1) best = d, nearest = known;
    std::string text = "unknown option '" + escaped(name) + "'";
    if (!nearest.empty()) text += ", did you mean " + nearest + "?";
    return usage_error(text + " (--help lists all)");
}

Result<bool> Options::parse(Arguments arguments) {
    bool only_positional = false;
    size_t found = 0;
    for (size_t i = 0; i < arguments.size(); ++i) {
        const std::string& argument = arguments[i];
        if (!only_positional && argument == "--") {
            only_positional = true;
            continue;
        }
        if (!only_positional && (argument == "-h" || argument == "--help")) {
            print_help();
            return false;
        }
        if (only_positional || argument == "-" || argument.empty() || argument.front() != '-') {
            if (!positional_ || ++found > most_)
                return usage_error("unexpected argument '" + escaped(argument) + "'; usage: " + usage_);
            positional_->push_back(argument);
            continue;
        }
        std::string name = argument, value;
        bool has_value = false;
        if (const size_t equal = argument.find('='); argument.starts_with("--") && equal != std::string::npos) {
            name = argument.substr(0, equal);
            value = argument.substr(equal + 1);
            has_value = true;
        }
        const auto row = std::find_if(rows_.begin(), rows_.end(), [&](const Row& candidate) {
            return std::find(candidate.names.begin(), candidate.names.end(), name) != candidate.names.end();
        });
        if (row == rows_.end()) return unknown(name);
        if (row->value.empty()) {
            if (has_value) return usage_error("option " + name + " takes no value");
        } else if (!has_value) {
            if (i + 1 == arguments.size()) return usage_error("option " + name + " needs a value: " + row->value);
            value = arguments[++i];
        }
        if (Status status = row->take(value); !status)
            return Error{status.error().code, "option " + name + ": " + status.error().text};
    }
    if (found < least_) return usage_error("missing arguments; usage: " + usage_ + " (--help explains)");
    return true;
}

void Options::print_help() const {
    std::printf("%s\n\nusage: %s\n", summary_.c_str(), usage_.c_str());
    for (const Row& row : rows_) {
        if (row.names.empty()) {
            std::printf("\n%s:\n", row.help.c_str());
            continue;
        }
        std::string left = "  ";
        for (size_t i = 0; i < row.names.size(); ++i) left += (i ? ", " : "") + row.names[i];
        if (!row.value.empty()) left += " " + row.value;
        if (left.size() > 33) {
            std::printf("%s\n%34s%s\n", left.c_str(), "", row.help.c_str());
        } else {
            std::printf("%-34s%s\n", left.c_str(), row.help.c_str());
        }
    }
    if (!examples_.empty()) std::printf("\nexamples:\n%s\n", examples_.c_str());
}

}  // namespace quant
