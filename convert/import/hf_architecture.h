// The Hugging Face architectures that can be imported, as data: GGUF name, what is written as keys, how tensors are named
// and stored. One row per class name; the runner's own data on an architecture is in models/.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "base/result.h"
#include "convert/import/hf_config.h"
#include "gguf/gguf.h"

namespace quant {

// Figures that config.json may leave out because the class has defaults.
struct HfDefaults {
    int64_t context = 0, heads = 0, kv_heads = 0;  // 0: must be there
    double norm_epsilon = 0, rope_theta = 0;
};

struct HfArchitecture {
    const char* class_name;  // in config.json's "architectures"
    const char* gguf_name;   // general.architecture

    bool rope_keys = true;             // rope.freq_base and scaling, in the form most have
    bool vocabulary_key = false;       // vocab_size and rope.dimension_count
    bool head_dim_keys = true;         // attention.key_length and value_length, where config.json says head_dim
    bool head_dim_filled = false;      // the class itself derives head_dim when config.json does not
    int64_t default_head_dim = 0;      // of the class, when config.json does not say; 0: derived or absent
    void (*defaults)(HfDefaults&) = nullptr;
    Status (*keys)(const HfConfig&, const std::string& prefix, Metadata&) = nullptr;  // more keys

    bool rope_pairs_side_by_side = false;  // rows of q and k are permuted: rope turns neighbours
    bool branch_norms = false;             // post_attention_layernorm is on the attention's output
    bool norms_minus_one = false;          // norm weights are stored less 1
    bool transposed = false;               // matrices stored [in, out]
    bool embedding_cut = false;            // rows of the embedding beyond the tokens are dropped
    bool own_output = true;                // false: lm_head is never read
};

std::span<const HfArchitecture> hf_architectures();
// Error lists what is known.
Result<const HfArchitecture*> find_hf_architecture(const std::string& class_name);

// ARCHITECTURE.* keys in the order of the ecosystem's converter.
Status write_hf_keys(const HfArchitecture& architecture, const HfConfig& config, Metadata& out);

}  // namespace quant
