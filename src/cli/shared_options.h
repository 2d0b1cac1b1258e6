// Options that several commands share, so that they have the same names, ranges and help everywhere.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/file.h"
#include "base/result.h"
#include "cli/options.h"
#include "kernels/kernels.h"
#include "model/adapter.h"
#include "model/session.h"

namespace quant {

// -t: 1 to kMaxThreads; 0 and -1 stand for the default as in other runners, and become 0.
void add_threads(Options& options, int64_t* target);

// -b and -ub: in other runners a batch is computed in pieces of -ub; here the smaller of the two is what counts.
void add_batch(Options& options, int64_t* target);

Result<KvType> parse_kv_type(std::string_view name);
void add_cache_types(Options& options, KvType* k_type, KvType* v_type);  // -ctk and -ctv
const char* kv_type_name(KvType type);

// "int4", one scale per token, "int4,g32", one per 32 values, or "int8,static", from the model's file; 2 to 8 bits.
Status parse_activations(const std::string& text, ActivationForm* out);

// --mmap and --no-mmap.
void add_load_mode(Options& options, MappedFile::Mode* target);

struct AdapterChoice {
    std::string path;
    float scale = 1;
};

void add_adapters(Options& options, std::vector<AdapterChoice>* chosen);  // --lora and --lora-scaled
// "--lora-scaled FILE S" as the one value FILE:S, the form that other runners take.
std::vector<std::string> with_joined_scales(Arguments arguments);
Result<std::vector<AppliedAdapter>> load_adapters(const std::vector<AdapterChoice>& chosen);

}  // namespace quant
