// Loading: metadata to Config, tensor names to roles, vocabulary to tokenizer; each step checks what it
// reads.
#include "model/model.h"

#include <cmath>
#include <map>

#include "base/log.h"
#include "model/architecture.h"
#include "model/weights.h"

namespace quant {

Model::Model() = default;
Model::~Model() = default;

Result<std::shared_ptr<const Model>> Model::load(const std::string& path, MappedFile::Mode mode) {
    LET(gguf, Gguf::open(path, mode));
    return from_gguf(std::move(gguf));
}

namespace {

Result<ActivationRanges> read_ranges(const Metadata& metadata) {
    LET(found_names, metadata.get_strings(kRangeNamesKey));
    LET(found_values, metadata.get_f32s(kRangesKey));
    const std::vector<std::string> names = std::move(found_names).value_or(std::vector<std::string>());
    const std::vector<float> values = std::move(found_values).value_or(std::vector<float>());
    if (names.size() != values.size())
        return input_error(escaped(metadata.origin) + ": " + kRangesKey + format_text(": expected a range for each of the %zu names in ", names.size()) +
                           kRangeNamesKey + format_text(", found %zu", values.size()));
    ActivationRanges out;
    for (size_t i = 0; i < names.size(); ++i) {
        const float range = values[i];
        if (!(range > 0) || !std::isfinite(range))
            return input_error(escaped(metadata.origin) + ": " + kRangesKey + ": expected a number above 0 for " + escaped(names[i]) +
                               format_text(", found %g", static_cast<double>(range)));
        out[names[i]] = range;
    }
    return out;
}

}  // namespace

Result<std::shared_ptr<const Model>> Model::from_gguf(Gguf gguf) {
    std::shared_ptr<Model> model(new Model);
    model->gguf_ = std::move(gguf);
    const Metadata& metadata = model->gguf_.metadata();
    LET(type, metadata.get_string("general.type"));
    if (type && *type == "adapter")
        return input_error(escaped(metadata.origin) + ": general.type: expected a model, found an adapter: it goes with --lora, its base with -m");
    LET(name, metadata.get_string("general.architecture"));
    if (!name)
        return input_error(escaped(metadata.origin) +
                           ": general.architecture: expected the name of one, found no such key");
    model->architecture_ = find_architecture(*name);
    if (!model->architecture_) {
        std::string known;
        for (const Architecture* each : architectures())
            known += std::string(known.empty() ? "" : ", ") + each->name;
        return input_error(escaped(metadata.origin) + ": general.architecture: expected one of " + known +
                           ", found '" + escaped(*name) + "'");
    }
    LET(config, read_config(metadata, *model->architecture_));
    LET(weights, find_weights(model->gguf_, *model->architecture_, config));
    LET(ranges, read_ranges(metadata));
    LET(vocabulary, read_vocabulary(metadata));
    LET(tokenizer, Tokenizer::create(std::move(vocabulary)));
    if (tokenizer.size() > config.vocab)
        return input_error(escaped(metadata.origin) + ": tokenizer.ggml.tokens: expected at most " +
                           std::to_string(config.vocab) + " (rows of token_embd.weight), found " +
                           std::to_string(tokenizer.size()));
    model->config_ = std::move(config);
    model->ranges_ = std::move(ranges);
    model->weights_ = std::make_unique<Weights>(std::move(weights));
    model->tokenizer_ = std::move(tokenizer);
    return std::shared_ptr<const Model>(std::move(model));
}

std::string Model::description() const {
    std::map<std::string_view, uint64_t> bytes;
    int64_t parameters = 0;
    for (const TensorInfo& tensor : gguf_.tensors()) {
        bytes[tensor.format->name] += tensor.bytes;
        parameters += tensor.elements();
    }
    std::string_view main_format = "empty";
    uint64_t most = 0;
    for (const auto& [name, size] : bytes)
        if (size > most) main_format = name, most = size;
    const auto count = static_cast<double>(parameters);
    const std::string size = count >= 1e9   ? format_text("%.1fB", count / 1e9)
                             : count >= 1e6 ? format_text("%.1fM", count / 1e6)
                                            : format_text("%.0fK", count / 1e3);
    return config_.architecture + " " + size + " " + std::string(main_format);
}

}  // namespace quant
