// The C interface: models and their text.
#include <cstring>

#include "abi/guard.h"
#include "base/log.h"

using namespace quant;
using namespace quant::abi;

quant_status quant_model_load(const char* path, int32_t map, quant_model** out) {
    return guarded([&]() -> Status {
        if (!path || !out) return missing(!path ? "path" : "out");
        LET(model, Model::load(path, map ? MappedFile::Mode::map : MappedFile::Mode::read));
        std::string description = model->description();
        *out = new quant_model{std::move(model), std::move(description)};
        return {};
    });
}

void quant_model_free(quant_model* model) { delete model; }

quant_status quant_model_get(const quant_model* handle, quant_model_info* out) {
    return guarded([&]() -> Status {
        if (!handle || !out) return missing(!handle ? "model" : "out");
        const Config& config = handle->model->config();
        const Tokenizer& tokenizer = handle->model->tokenizer();
        *out = {config.architecture.c_str(), handle->description.c_str(), config.vocab, config.context, config.embedding,
                static_cast<int64_t>(config.layers.size()), tokenizer.size(), tokenizer.vocabulary().bos, tokenizer.vocabulary().eos};
        return {};
    });
}

namespace {

Status give_bytes(const std::string& text, char* out, size_t capacity, size_t* bytes) {
    *bytes = text.size();
    if (capacity) std::memcpy(out, text.data(), std::min(capacity, text.size()));
    return {};
}

Status check_ids(const Tokenizer& tokenizer, const int32_t* ids, size_t n) {
    for (size_t i = 0; i < n; ++i)
        if (ids[i] < 0 || ids[i] >= tokenizer.size())
            return usage_error(format_text("token id %d is outside the vocabulary of %d", ids[i], tokenizer.size()));
    return {};
}

}  // namespace

quant_status quant_tokenize(const quant_model* model, const char* text, size_t bytes, int32_t add_special, int32_t parse_special,
                            int32_t* ids, size_t capacity, size_t* count) {
    return guarded([&]() -> Status {
        if (!model || (!text && bytes) || (!ids && capacity) || !count)
            return missing(!model ? "model" : !count ? "count" : !ids && capacity ? "ids" : "text");
        const std::vector<int32_t> all = model->model->tokenizer().encode({text, bytes}, add_special != 0, parse_special != 0);
        *count = all.size();
        std::copy_n(all.begin(), std::min(capacity, all.size()), ids);
        return {};
    });
}

quant_status quant_detokenize(const quant_model* model, const int32_t* ids, size_t n, int32_t show_special, char* text, size_t capacity,
                              size_t* bytes) {
    return guarded([&]() -> Status {
        if (!model || (!ids && n) || (!text && capacity) || !bytes)
            return missing(!model ? "model" : !bytes ? "bytes" : !ids && n ? "ids" : "text");
        TRY(check_ids(model->model->tokenizer(), ids, n));
        return give_bytes(model->model->tokenizer().decode({ids, n}, show_special != 0), text, capacity, bytes);
    });
}

quant_status quant_token_text(const quant_model* model, int32_t id, int32_t show_special, char* text, size_t capacity, size_t* bytes) {
    return guarded([&]() -> Status {
        if (!model || (!text && capacity) || !bytes) return missing(!model ? "model" : !bytes ? "bytes" : "text");
        TRY(check_ids(model->model->tokenizer(), &id, 1));
        return give_bytes(model->model->tokenizer().piece(id, show_special != 0), text, capacity, bytes);
    });
}

int32_t quant_token_ends(const quant_model* model, int32_t id) {
    return model && id >= 0 && id < model->model->tokenizer().size() && model->model->tokenizer().ends_generation(id);
}
