// A Hugging Face folder as a Source: config, tokenizer and safetensors as the GGUF they become.
#include "convert/import/hf_source.h"

#include <utility>

#include "base/file.h"
#include "base/log.h"
#include "convert/import/hf_architecture.h"
#include "convert/import/hf_config.h"
#include "convert/import/hf_tensors.h"
#include "convert/import/packed.h"
#include "convert/import/safetensors.h"
#include "convert/import/tokenizer.h"
#include "convert/import/tokenizer_parts.h"

namespace quant {

namespace {

// "6.7B", "162K", "8x179K": two digits at least; of mixtures what is shared and one expert.
std::string size_label(const std::vector<ImportedTensor>& tensors) {
    double shared = 0, expert = 0;
    int64_t experts = 0;
    for (const ImportedTensor& tensor : tensors) {
        const auto count = static_cast<double>(tensor.info.elements());
        const bool stack = tensor.info.n_dims >= 3 && tensor.info.name.find("_exps.") != std::string::npos;
        const int64_t stacked = tensor.info.ne[2];
        if (stack) experts = stacked;
        (stack ? expert : shared) += stack ? count / static_cast<double>(stacked) : count;
    }
    const double total = shared + expert;
    struct Unit {
        double size;
        char letter;
    };
    static constexpr Unit units[] = {{1e12, 'T'}, {1e9, 'B'}, {1e6, 'M'}, {1e3, 'K'}};
    const Unit* unit = units;
    while (total <= unit->size && unit->letter != 'K') ++unit;
    const double scaled = total / unit->size;
    return (experts ? std::to_string(experts) + "x" : "") + format_text(scaled < 9.5 ? "%.1f%c" : "%.0f%c", scaled, unit->letter);
}

// How the model's makers choose tokens: runners take it where their user says nothing else. A file that cannot be read is told
// and left out.
Status write_sampling(const std::string& folder, Metadata& out) {
    const std::string path = folder + "/generation_config.json";
    auto file = read_json_if_there(path);
    if (!file) {
        log_warning(file.error().text + "; left out");
        return {};
    }
    if (!*file) return {};
    const JsonValue settings = (*file)->root();
    if (const auto top_k = settings["top_k"].integer(); top_k && *top_k >= 0 && *top_k <= INT32_MAX)
        out.set("general.sampling.top_k", Value::of_i32(static_cast<int32_t>(*top_k)));
    const std::pair<const char*, const char*> reals[] = {
        {"top_p", "top_p"}, {"min_p", "min_p"}, {"temperature", "temp"}, {"repetition_penalty", "penalty_repeat"}};
    for (const auto& [name, key] : reals)
        if (const auto value = settings[name].real())
            out.set(std::string("general.sampling.") + key, Value::of_f32(static_cast<float>(*value)));
    return {};
}

class HfSource final : public Source {
public:
    static Result<std::unique_ptr<Source>> open(const std::string& folder) {
        LET(config, HfConfig::open(folder));
        LET(class_name, config.architecture());
        auto architecture = find_hf_architecture(class_name);
        if (!architecture) return input_error(escaped(config.origin()) + ": " + architecture.error().text);
        LET(tensors, SafeTensors::open_folder(folder));
        auto source = std::make_unique<HfSource>(std::move(tensors));
        TRY(source->fill(folder, **architecture, config));
        return std::unique_ptr<Source>(std::move(source));
    }

    explicit HfSource(SafeTensors tensors) : checkpoint_(std::move(tensors)) {
        files_ = checkpoint_.file_ids();
        bytes_ = checkpoint_.file_bytes();
    }

    void read_rows(size_t tensor, int64_t row, int64_t count, float* out) const override {
        imported_[tensor].rows.read(row, count, out);
    }

    void stored_rows(size_t tensor, int64_t row, int64_t count, uint8_t* out) const override {
        imported_[tensor].stored(row, count, out);
    }

    std::vector<const Format*> exact_formats(size_t tensor) const override {
        std::vector<const Format*> out;
        for (const ExactRows& each : imported_[tensor].rows.exact) out.push_back(&format_of(each.format));
        return out;
    }

    void exact_rows(size_t tensor, const Format& format, int64_t row, int64_t count, uint8_t* out) const override {
        for (const ExactRows& each : imported_[tensor].rows.exact)
            if (each.format == format.slot) return each.write(row, count, out);
    }

    std::string note(size_t tensor, const Format& wanted) const override {
        const RowStream& rows = imported_[tensor].rows;
        if (rows.exact.empty() && rows.inexact.empty()) return "";
        if (wanted.kind != FormatKind::block) return "decoded";
        for (const ExactRows& each : rows.exact)
            if (each.format == wanted.slot) return "repacked, exact";
        return "decoded and rounded again: " +
               (rows.exact.empty() ? rows.inexact : std::string(format_of(rows.exact[0].format).name) + " would hold it exactly");
    }

    void release(size_t tensor) const override {
        for (const SafeTensor* used : imported_[tensor].rows.uses) checkpoint_.release(*used);
    }

private:
    Status fill(const std::string& folder, const HfArchitecture& architecture, const HfConfig& config) {
        const std::string prefix = architecture.gguf_name + std::string(".");
        metadata_.origin = folder;
        metadata_.set("general.architecture", Value::of_string(architecture.gguf_name));
        metadata_.set("general.type", Value::of_string("model"));
        TRY(write_sampling(folder, metadata_));
        metadata_.set("general.name", Value::of_string(name_of_folder(folder)));
        metadata_.set("general.size_label", Value::of_string(""));
        TRY(write_hf_keys(architecture, config, metadata_));
        metadata_.set("general.file_type", Value::of_u32(0));
        metadata_.set("general.quantization_version", Value::of_u32(2));
        TRY(import_tokenizer(folder, architecture.gguf_name, config.root(), metadata_));

        HfShape shape;
        LET(heads, metadata_.get_i64(prefix + "attention.head_count"));
        LET(kv_heads, metadata_.get_i64(prefix + "attention.head_count_kv"));
        shape.heads = heads.value_or(0);
        shape.kv_heads = kv_heads.value_or(shape.heads);
        if (const Value* tokens = metadata_.find("tokenizer.ggml.tokens")) shape.tokens = static_cast<int64_t>(tokens->count());
        auto packed = PackedTensors::open(config, checkpoint_);
        if (!packed) return Error{packed.error().code, escaped(folder) + ": " + packed.error().text};
        auto imported = import_tensors(architecture, config, shape, checkpoint_, *packed);
        if (!imported) return Error{imported.error().code, escaped(folder) + ": " + imported.error().text};
        imported_ = std::move(*imported);
        int32_t file_type = format_of(checkpoint_type(config, checkpoint_, *packed)).file_type;
        for (const ImportedTensor& tensor : imported_) {
            if (tensor.stored) file_type = tensor.info.format->file_type;
            tensors_.push_back(tensor.info);
        }
        metadata_.set("general.size_label", Value::of_string(size_label(imported_)));
        metadata_.set("general.file_type", Value::of_u32(static_cast<uint32_t>(file_type)));
        return {};
    }

    SafeTensors checkpoint_;
    std::vector<ImportedTensor> imported_;  // refers to checkpoint_
};

}  // namespace

Result<std::unique_ptr<Source>> open_hf_source(const std::string& folder) { return HfSource::open(folder); }

}  // namespace quant
