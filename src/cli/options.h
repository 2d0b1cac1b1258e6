// Options of a command as a table: parsing, errors and --help come from the same rows.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace quant {

using Arguments = std::span<const std::string>;

class Options {
public:
    // `usage`: "quant eval -m MODEL -f TEXT [options]"; `summary` one line; `examples` lines shown at the end of --help.
    Options(std::string usage, std::string summary, std::string examples);

    // Names separated by spaces: "-n --n-predict". `value` is the placeholder in --help.
    void flag(std::string names, std::string help, bool* target);
    void text(std::string names, std::string value, std::string help, std::string* target);
    void integer(std::string names, std::string value, std::string help, int64_t* target, int64_t low, int64_t high);
    void real(std::string names, std::string value, std::string help, float* target, double low, double high);
    void call(std::string names, std::string value, std::string help, std::function<Status(const std::string&)> take);
    void call_flag(std::string names, std::string help, std::function<Status()> take);
    void section(std::string title);  // heading in --help
    // `-` alone and everything after `--` are positional. Filled in order; more than `most` is an error.
    void positional(std::vector<std::string>* target, size_t least, size_t most);

    // false: --help was printed and the command should end with success. Accepts --name=value.
    // Errors name the option, what it takes and, for an unknown one, the nearest known.
    Result<bool> parse(Arguments arguments);

private:
    struct Row {
        std::vector<std::string> names;
        std::string value, help;  // value empty: a flag
        std::function<Status(const std::string&)> take;
    };
    void print_help() const;
    Error unknown(std::string_view name) const;
    std::string usage_, summary_, examples_;
    std::vector<Row> rows_;
    std::vector<std::string>* positional_ = nullptr;
    size_t least_ = 0, most_ = 0;
};

// Whole-text conversions; nullopt-like errors name what was expected.
Result<int64_t> parse_integer(std::string_view text);
Result<double> parse_real(std::string_view text);
Result<uint64_t> parse_size(std::string_view text);  // "700M", "1.5G", "2GiB" -> bytes (K M G decimal, KiB MiB GiB binary)

}  // namespace quant
