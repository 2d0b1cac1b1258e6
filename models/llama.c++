// Llama 1 to 3, Mistral, Mixtral (experts), SmolLM2, TinyLlama and all that are written as `llama`.
#include "model/architecture.h"

namespace quant {

extern const Architecture kLlama;
const Architecture kLlama{
    .name = "llama",
    .qkv_bias = Presence::optional,
    .attention_output_bias = Presence::optional,
    .feed_forward_bias = Presence::optional,
    .experts = Presence::optional,
    .rope = RopeKind::normal,  // q and k rows were permuted by the converter
};

}  // namespace quant
