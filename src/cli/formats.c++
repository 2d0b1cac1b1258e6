// `quant formats`: the list of number formats, with their errors on random weights and the kernels in use for each.
#include <algorithm>
#include <cmath>
#include <vector>

#include "base/json_writer.h"
#include "base/log.h"
#include "cli/commands.h"
#include "cli/output.h"
#include "formats/accuracy.h"
#include "formats/affine.h"
#include "formats/format.h"
#include "kernels/kernels.h"

namespace quant {

namespace {

const char* or_dash(const char* text) { return text && *text ? text : "-"; }

const char* use_of(const Format& format) {
    if (format.activation == Activation::none) return "data";
    return format.encodes ? "read, write" : "read";
}

// Formats shown in one line: one by itself, or the affine ones of one number of bits.
using Line = std::vector<const Format*>;

int affine_bits(const Format& format) {
    if (format.slot < FormatSlot::affine || format.slot > FormatSlot::affine_last) return 0;
    return affine_layout(static_cast<size_t>(format.slot) - static_cast<size_t>(FormatSlot::affine)).bits;
}

std::vector<Line> lines(bool every_format) {
    std::vector<Line> out;
    for (const Format& format : formats()) {
        const int bits = every_format ? 0 : affine_bits(format);
        if (bits && affine_bits(*out.back().front()) == bits) out.back().push_back(&format);
        else out.push_back({&format});
    }
    return out;
}

// "4.5", or "4 - 5" where the line's formats differ.
template <class Value>
std::string range_of(const Line& line, const char* number, Value value) {
    double low = value(*line.front()), high = low;
    for (const Format* format : line) {
        low = std::min(low, value(*format));
        high = std::max(high, value(*format));
    }
    if (std::isnan(low)) return "";
    const std::string first = format_text(number, low), last = format_text(number, high);
    return first == last ? first : first + " - " + last;
}

std::string name_of(const Line& line) {
    return line.size() == 1 ? line.front()->name : format_text("A%d_...", affine_bits(*line.front()));
}
std::string purpose_of(const Line& line) {
    if (line.size() == 1) return line.front()->purpose;
    const int bits = affine_bits(*line.front());
    return format_text("%d %s, a scale per 32, 64, 128 weights or row: A%d_G32 A%d_G64 A%d_G128 %s_ROW, with a zero point A%d_G32Z ...",
                       bits, bits == 1 ? "bit" : "bits", bits, bits, bits, bits == 8 ? "Q8" : format_text("A%d", bits).c_str(), bits);
}
std::string bits_of(const Line& line) {
    return range_of(line, "%.6g", [](const Format& f) { return f.bits_per_weight(); });
}
std::string block_of(const Line& line) {
    return range_of(line, "%.0f", [](const Format& f) { return static_cast<double>(f.block); });
}
// Relative root mean square error in percent; empty for formats that are not written.
std::string error_of(const Line& line, Weights weights) {
    return range_of(line, "%.3g", [weights](const Format& f) { return 100 * relative_rms_error(f, weights); });
}

Table format_table(bool every_format) {
    Table table({{"format"}, {"id", true}, {"origin"}, {"bits/weight", true}, {"block", true}, {"bytes", true}, {"use"},
                 {"normal %", true}, {"heavy %", true}, {"one row"}, {"many rows"}, {"purpose"}});
    for (const Line& line : lines(every_format)) {
        const Format& format = *line.front();
        const MatmulKernels& kernel = kernels().matmul[static_cast<size_t>(format.slot)];
        table.row({name_of(line), range_of(line, "%.0f", [](const Format& f) { return static_cast<double>(f.id); }),
                   format.stock ? "stock" : "own", bits_of(line), block_of(line),
                   range_of(line, "%.0f", [](const Format& f) { return static_cast<double>(f.bytes); }), use_of(format),
                   error_of(line, Weights::gaussian), error_of(line, Weights::heavy), or_dash(kernel.gemv_name),
                   or_dash(kernel.gemm_name), purpose_of(line)});
    }
    return table;
}

// For the README: what does not depend on the machine.
Table readme_table() {
    Table table({{"format"}, {"bits/weight", true}, {"block", true}, {"origin"}, {"normal %", true}, {"heavy %", true}, {"purpose"}});
    for (const Line& line : lines(false))
        if (line.front()->activation != Activation::none)
            table.row({name_of(line), bits_of(line), block_of(line), line.front()->stock ? "stock" : "own",
                       error_of(line, Weights::gaussian), error_of(line, Weights::heavy), purpose_of(line)});
    return table;
}

std::string formats_json() {
    std::string out;
    JsonWriter json(out);
    json.begin_array();
    for (const Format& format : formats()) {
        const MatmulKernels& kernel = kernels().matmul[static_cast<size_t>(format.slot)];
        json.begin_object();
        json.member("name", format.name);
        json.member("id", format.id);
        json.member("stock", format.stock);
        json.member("bits_per_weight", format.bits_per_weight());
        json.member("block", format.block);
        json.member("bytes", format.bytes);
        json.member("encodes", format.encodes);
        json.member("needs_importance", format.needs_importance);
        if (format.encodes) {
            json.member("error_normal", relative_rms_error(format, Weights::gaussian));
            json.member("error_heavy", relative_rms_error(format, Weights::heavy));
        }
        json.member("gemv", kernel.gemv_name ? kernel.gemv_name : "");
        json.member("gemm", kernel.gemm_name ? kernel.gemm_name : "");
        json.member("purpose", format.purpose);
        json.end_object();
    }
    json.end_array();
    return out + "\n";
}

}  // namespace

Status formats_command(Arguments arguments) {
    bool json = false, markdown = false, all = false;
    Options options("quant formats [--all | --json | --markdown]",
                    "Lists the number formats, their errors and the kernels in use for each.\n"
                    "normal %, heavy %: root mean square error relative to the weights', for weights that are normally\n"
                    "distributed, and for such with outliers (Student's t, 4 degrees of freedom); all count the same.",
                    "  quant formats\n  QUANT_ISA=scalar quant formats");
    options.flag("--all", "a line for each format, families unfolded", &all);
    options.flag("--json", "print a JSON array, of all formats", &json);
    options.flag("--markdown", "print the table of the README: what is the same on every machine", &markdown);
    LET(go_on, options.parse(arguments));
    if (!go_on) return {};
    if (json && markdown) return usage_error("--json and --markdown exclude each other");
    if (json) return write_output(formats_json());
    if (markdown) return write_output(readme_table().markdown());
    return write_output("instruction set in use: " + std::string(kernels().isa) + "\n\n" + format_table(all).plain());
}

}  // namespace quant
