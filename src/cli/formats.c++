// `quant formats`: the list of number formats, with the kernels that this processor uses for each.
#include "base/json_writer.h"
#include "base/log.h"
#include "cli/commands.h"
#include "cli/output.h"
#include "formats/format.h"
#include "kernels/kernels.h"

namespace quant {

namespace {

const char* or_dash(const char* text) { return text && *text ? text : "-"; }

const char* use_of(const Format& format) {
    if (format.activation == Activation::none) return "data";
    return format.encodes ? "read, write" : "read";
}

Table format_table() {
    Table table({{"format"}, {"id", true}, {"origin"}, {"bits/weight", true}, {"block", true}, {"bytes", true}, {"use"},
                 {"one row"}, {"many rows"}, {"purpose"}});
    for (const Format& format : formats()) {
        const MatmulKernels& kernel = kernels().matmul[static_cast<size_t>(format.slot)];
        table.row({format.name, std::to_string(format.id), format.stock ? "stock" : "own",
                   format_text("%.6g", format.bits_per_weight()), std::to_string(format.block), std::to_string(format.bytes),
                   use_of(format), or_dash(kernel.gemv_name), or_dash(kernel.gemm_name), format.purpose});
    }
    return table;
}

// For the README: what does not depend on the machine.
Table readme_table() {
    Table table({{"format"}, {"bits/weight", true}, {"block", true}, {"origin"}, {"purpose"}});
    for (const Format& format : formats())
        if (format.activation != Activation::none)
            table.row({format.name, format_text("%.6g", format.bits_per_weight()), std::to_string(format.block),
                       format.stock ? "stock" : "own", format.purpose});
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
    Options options("quant formats [--json | --markdown]", "Lists the number formats and the kernels in use for each.",
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
