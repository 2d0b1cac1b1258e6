// Low-rank adapters (LoRA, Hu et al. 2021): a weight W acts as W + scale * B A, and W itself stays as it is.
// Reads and checks what a GGUF of general.type "adapter" says; how the products are wired is the builder's work.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "gguf/gguf.h"

namespace quant {

class Model;

// What an adapter adds to one weight. a: [in, rank], b: [rank, out], dims in GGUF order. For the embedding, which
// is looked up and not multiplied, a: [rank, vocabulary], a row per token.
struct AdapterPart {
    std::string target;    // "blk.0.attn_q.weight"
    size_t a = 0, b = 0;   // indices of the adapter's tensors
    float scale = 1;       // alpha / rank; 1 where alpha is 0
    bool lookup = false;   // of the embedding
};

struct AdapterParts {
    std::string architecture;
    std::vector<AdapterPart> parts;
    size_t norms = 0;  // norm vectors, which have no low-rank form and are left out as other runners do
};

// All pairs of an adapter. Errors name the file and the key or tensor: no adapter, another kind of adapter, halves
// without the other, shapes that do not meet, tensors that are neither.
Result<AdapterParts> find_adapter_parts(const Metadata& metadata, const std::vector<TensorInfo>& tensors);

// Whether a part fits the weight that it is for; null: the model has no such tensor.
Status check_adapter_target(const std::string& origin, const AdapterPart& part, const TensorInfo& a,
                            const TensorInfo& b, const TensorInfo* target);

class Adapter {
public:
    static Result<std::shared_ptr<const Adapter>> load(const std::string& path);
    static Result<std::shared_ptr<const Adapter>> from_gguf(Gguf gguf);

    // Error: made for another architecture, a target that the model lacks, a shape that differs.
    Status check(const Model& model) const;
    const Gguf& gguf() const { return gguf_; }
    const AdapterParts& parts() const { return parts_; }

    struct LowRank {
        const TensorInfo* a = nullptr;
        const TensorInfo* b = nullptr;
        float scale = 1;
    };
    // What is added to the weight of this name; nulls: nothing.
    LowRank find(std::string_view target) const;

private:
    Adapter() = default;
    Gguf gguf_;
    AdapterParts parts_;
    std::map<std::string, size_t, std::less<>> by_target_;
};

// An adapter in use; `scale` multiplies the adapter's own.
struct AppliedAdapter {
    std::shared_ptr<const Adapter> adapter;
    float scale = 1;
};

}  // namespace quant
