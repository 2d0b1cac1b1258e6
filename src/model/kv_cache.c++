// One allocation for all layers; within a layer all positions of a head lie together, so that attention reads
// straight on.
#include "model/kv_cache.h"

#include <cmath>
#include <cstring>
#include <new>

#include "base/checked.h"
#include "base/log.h"
#include "tensor/hadamard.h"

namespace quant {
namespace {

constexpr std::align_val_t kAlignment{64};

FormatSlot slot_of(KvType type) {
    switch (type) {
        case KvType::f32: return FormatSlot::f32;
        case KvType::f16: return FormatSlot::f16;
        case KvType::q8_0: return FormatSlot::q8_0;
        case KvType::q4_0: break;
    }
    return FormatSlot::q4_0;
}

Result<uint64_t> head_bytes(KvType type, int64_t head_dim, const char* what) {
    const Format& format = format_of(slot_of(type));
    if (head_dim % format.block != 0)
        return usage_error(
            format_text("a KV cache of type %s needs %s head sizes in multiples of %u, this model has %lld",
                        format.name, what, format.block, static_cast<long long>(head_dim)));
    return format.row_bytes(head_dim);
}

}  // namespace

KvMixing kv_mixing(const Config& config, KvType k_type, KvType v_type) {
    constexpr int64_t kMostValues = 64;  // wider blocks of values gain nothing
    KvMixing out;
    if (k_type == KvType::q4_0) out.k = hadamard_block(config.k_head_dim);
    if (v_type == KvType::q4_0) out.v = hadamard_block(config.v_head_dim, kMostValues);
    return out;
}

Result<KvCache> KvCache::create(const Config& c, int64_t context, KvType k_type, KvType v_type) {
    LET(k_bytes, head_bytes(k_type, c.k_head_dim, "key"));
    LET(v_bytes, head_bytes(v_type, c.v_head_dim, "value"));
    const uint64_t positions = static_cast<uint64_t>(c.kv_heads) * static_cast<uint64_t>(context);
    const uint64_t k_total = (positions * k_bytes + 63) / 64 * 64,
                   v_total = (positions * v_bytes + 63) / 64 * 64;
    const auto total = checked_mul(k_total + v_total, c.layers.size());
    KvCache cache;
    if (total)
        cache.memory_ = {static_cast<uint8_t*>(::operator new(*total, kAlignment, std::nothrow)),
                         [](uint8_t* memory) { ::operator delete(memory, kAlignment); }};
    if (!cache.memory_)
        return Error{Code::memory, "cannot get " + human_bytes(total.value_or(UINT64_MAX)) +
                                       " for the KV cache of " + std::to_string(context) +
                                       " positions (-c sets how many)"};
    cache.bytes_ = *total;
    uint8_t* at = cache.memory_.get();
    for (size_t i = 0; i < c.layers.size(); ++i) {
        cache.slots_.push_back(
            {k_type, v_type, at, at + k_total, c.k_head_dim, c.v_head_dim, k_bytes, v_bytes, context});
        at += k_total + v_total;
    }
    return cache;
}

void KvCache::remove(size_t layer, int64_t begin, int64_t end, int64_t used, const KeyRope& rope) {
    const KvSlot& kv = slots_[layer];
    const auto moved = static_cast<uint64_t>(used - end);
    const int64_t heads = rope.params.heads;
    for (int64_t head = 0; head < heads; ++head) {
        const auto from = static_cast<uint64_t>(head * kv.capacity + end), to = static_cast<uint64_t>(head * kv.capacity + begin);
        std::memmove(kv.k + to * kv.k_bytes, kv.k + from * kv.k_bytes, moved * kv.k_bytes);
        std::memmove(kv.v + to * kv.v_bytes, kv.v + from * kv.v_bytes, moved * kv.v_bytes);
    }
    if (!rope.table) return;
    std::vector<float> turn(static_cast<size_t>(rope.params.dims)), key(static_cast<size_t>(kv.k_dim));
    for (int64_t position = begin; position < begin + used - end; ++position) {
        // The angles that the forward pass rounded, so that their difference leads exactly from one to the other.
        const auto now = static_cast<float>(position), before = static_cast<float>(position + end - begin);
        float* pair = turn.data();
        for (const float frequency : rope.table->frequencies) {
            const double angle = static_cast<double>(now * frequency) - static_cast<double>(before * frequency);
            *pair++ = static_cast<float>(std::cos(angle));
            *pair++ = static_cast<float>(std::sin(angle));
        }
        for (int64_t head = 0; head < heads; ++head) {
            uint8_t* stored = kv.k + static_cast<uint64_t>(head * kv.capacity + position) * kv.k_bytes;
            decode_kv(kv.k_type, stored, key.data(), kv.k_dim);
            if (rope.mixed > 1) hadamard(key.data(), kv.k_dim, rope.mixed);
            kernels().rope(key.data(), turn.data(), 1, kv.k_dim, rope.params.dims, rope.params.neox);
            if (rope.mixed > 1) hadamard(key.data(), kv.k_dim, rope.mixed);
            encode_kv(kv.k_type, key.data(), stored, kv.k_dim);
        }
    }
}

}  // namespace quant
