// `quant formats`: the list of number formats, with their errors on random weights and the kernels in use for each.
#include <cmath>

#include "base/json_writer.h"
#include "base/log.h"
#include "cli/commands.h"
#include "cli/output.h"
#include "formats/accuracy.h"
#include "formats/format.h"
#include "kernels/kernels.h"

namespace quant {

namespace {

const char* or_dash(const char* text) { return text && *text ? text : "-"; }

const char* use_of(const Format& format) {
    if (format.activation == Activation::none) return "data";
    return format.encodes ? "read, write" : "read";
}

// Relative root mean square error in percent, three digits; empty for formats that are not written.
std::string error_of(const Format& format, Weights weights) {
    const double error = relative_rms_error(format, weights);
    return std::isnan(error) ? "" : format_text("%.3g", 100 * error);
}

Table format_table() {
    Table table({{"format"}, {"id", true}, {"origin"}, {"bits/weight", true}, {"block", true}, {"bytes", true}, {"use"},
                 {"normal %", true}, {"heavy %", true}, {"one row"}, {"many rows"}, {"purpose"}});
    for (const Format& format : formats()) {
        const MatmulKernels& kernel = kernels().matmul[static_cast<size_t>(format.slot)];
        table.row({format.name, std::to_string(format.id), format.stock ? "stock" : "own",
                   format_text("%.6g", format.bits_per_weight()), std::to_string(format.block), std::to_string(format.bytes),
                   use_of(format), error_of(format, Weights::gaussian), error_of(format, Weights::heavy), or_dash(kernel.gemv_name), or_dash(kernel.gemm_name), format.purpose});
    }
    return table;
}

// For the README: what does not depend on the machine.
Table readme_table() {
    Table table({{"format"}, {"bits/weight", true}, {"block", true}, {"origin"}, {"normal %", true}, {"heavy %", true}, {"purpose"}});
    for (const Format& format : formats())
        if (format.activation != Activation::none)
            table.row({format.name, format_text("%.6g", format.bits_per_weight()), std::to_string(format.block),
                       format.stock ? "stock" : "own", error_of(format, Weights::gaussian), error_of(format, Weights::heavy),
                       format.purpose});
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
    bool json = false, markdown = false;
    Options options("quant formats [--json | --markdown]",
                    "Lists the number formats, their errors and the kernels in use for each.\n"
                    "normal %, heavy %: root mean square error relative to the weights', for weights that are normally\n"
                    "distributed, and for such with outliers (Student's t, 4 degrees of freedom); all count the same.",
                    "  quant formats\n  QUANT_ISA=scalar quant formats");
    options.flag("--json", "print a JSON array", &json);
    options.flag("--markdown", "print the table of the README: what is the same on every machine", &markdown);
    LET(go_on, options.parse(arguments));
    if (!go_on) return {};
    if (json && markdown) return usage_error("--json and --markdown exclude each other");
    if (json) return write_output(formats_json());
    if (markdown) return write_output(readme_table().markdown());
    return write_output("instruction set in use: " + std::string(kernels().isa) + "\n\n" + format_table().plain());
}

}  // namespace quant
