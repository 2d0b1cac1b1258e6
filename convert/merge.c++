// The command `merge`: adapters become part of the weights. It is `quantize --lora` with the model's own types.
#include <string>
#include <vector>

#include "cli/shared_options.h"
#include "convert/commands.h"

namespace quant {

Status merge_command(Arguments arguments) {
    std::vector<std::string> positional, passed, scaled;
    std::string type = "COPY";
    Options options("quant merge BASE LORA... OUT.gguf [options]",
                    "Writes a model with adapters added to its weights. BASE: a GGUF or a Hugging Face folder; LORA: adapters as GGUF or PEFT folders.",
                    "  quant merge model-f16.gguf lora.gguf merged.gguf\n"
                    "  quant merge model-f16.gguf --lora-scaled lora.gguf 0.5 merged.gguf\n"
                    "  quant merge Llama-3.2-1B my-lora merged-q4.gguf --type q4");
    options.positional(&positional, 2, 1000);
    const auto pass = [&](const char* names, const char* help) {
        options.call_flag(names, help, [&passed, names] { return passed.emplace_back(names), Status(); });
    };
    const auto pass_value = [&](const char* name, const char* value, const char* help) {
        options.call(name, value, help, [&passed, name](const std::string& given) {
            passed.insert(passed.end(), {name, given});
            return Status();
        });
    };
    options.text("--type", "TYPE", "as in quant quantize (default: every tensor keeps its own)", &type);
    options.call("--lora-scaled", "FILE S", "one more adapter, its effect times S; repeatable",
                 [&](const std::string& given) { return scaled.push_back(given), Status(); });
    pass_value("--split-max-size", "SIZE", "split into files of at most SIZE, for example 4G");
    pass_value("--override-kv", "KEY=TYPE:VALUE", "set metadata; TYPE int, float, bool or str; repeatable");
    pass_value("--threads", "N", "threads (default: the physical cores)");
    pass("--dry-run", "print the plan and the exact size, write nothing");
    pass("--force", "replace an existing output");
    pass("--json", "print one JSON object");
    pass("--quiet", "errors only");
    pass("--verbose", "every tensor, threads and kernels");
    LET(proceed, options.parse(with_joined_scales(arguments)));
    if (!proceed) return {};
    if (positional.size() + scaled.size() < 3) return usage_error("merge needs a model, at least one adapter and an output: quant merge BASE LORA... OUT.gguf");
    for (size_t i = 1; i + 1 < positional.size(); ++i) passed.insert(passed.end(), {"--lora", positional[i]});
    for (const std::string& given : scaled) passed.insert(passed.end(), {"--lora-scaled", given});
    // Merging has to encode again what was quantized; the plan says where.
    passed.insert(passed.end(), {"--allow-requantize", "--", positional.front(), positional.back(), type});
    return quantize_command(passed);
}

}  // namespace quant
