// Layout: magic, fingerprint, layer, number of tensors; of each its name, sums and counts; then the
// hidden states and the fingerprint of all before it.
#include "convert/calibrate/checkpoint.h"

#include <algorithm>
#include <cstring>
#include <filesystem>

#include "base/bytes.h"
#include "base/checked.h"
#include "base/file.h"
#include "base/limits.h"

namespace quant {

namespace {

constexpr uint64_t kMagic = 0x31747063746e6171;  // "qantcpt1"
constexpr uint64_t kSampledBytes = 4096;         // of each tensor, for the fingerprint

void put(std::string& out, const void* data, size_t bytes) { out.append(static_cast<const char*>(data), bytes); }
void put_u64(std::string& out, uint64_t value) { put(out, &value, sizeof value); }
void put_doubles(std::string& out, const std::vector<double>& values) {
    put_u64(out, values.size());
    put(out, values.data(), values.size() * sizeof(double));
}

std::optional<std::vector<double>> take_doubles(Cursor& from) {
    const auto count = from.take<uint64_t>();
    if (!count) return std::nullopt;
    const auto bytes = checked_mul(*count, sizeof(double));
    if (!bytes) return std::nullopt;
    const auto data = from.take_bytes(*bytes);
    if (!data) return std::nullopt;
    std::vector<double> values(*count);
    if (!values.empty()) std::memcpy(values.data(), data->data(), data->size());
    return values;
}

bool take_sums(Cursor& from, Statistics& sums) {
    const auto count = from.take<uint64_t>();
    if (!count || *count > limits::kTensors) return false;
    for (uint64_t i = 0; i < *count; ++i) {
        const auto length = from.take<uint64_t>();
        const auto name = length ? from.take_text(*length) : std::nullopt;
        if (!name) return false;
        auto squares = take_doubles(from);
        auto tokens = take_doubles(from);
        if (!squares || !tokens) return false;
        sums[std::string(*name)] = {std::move(*squares), std::move(*tokens)};
    }
    return true;
}

}  // namespace

void Fingerprint::add(const void* data, size_t bytes) {
    const auto* at = static_cast<const uint8_t*>(data);
    for (size_t i = 0; i < bytes; ++i) value_ = (value_ ^ at[i]) * 0x100000001b3u;
}

void Fingerprint::add_tensor(const TensorInfo& tensor) {
    add(tensor.name.data(), tensor.name.size());
    add(tensor.ne.data(), sizeof tensor.ne);
    add(&tensor.format->id, sizeof tensor.format->id);
    add(tensor.data, std::min(tensor.bytes, kSampledBytes));
}

Status save_checkpoint(const std::string& path, const Checkpoint& checkpoint) {
    std::string head;
    put_u64(head, kMagic);
    put_u64(head, checkpoint.fingerprint);
    put_u64(head, static_cast<uint64_t>(checkpoint.layer));
    put_u64(head, checkpoint.sums.size());
    for (const auto& [name, sums] : checkpoint.sums) {
        put_u64(head, name.size());
        head += name;
        put_doubles(head, sums.squares);
        put_doubles(head, sums.tokens);
    }
    LET(file, AtomicFile::create(path, true, {}));
    TRY(file.write({reinterpret_cast<const uint8_t*>(head.data()), head.size()}));
    TRY(file.write({reinterpret_cast<const uint8_t*>(checkpoint.hidden->at(0)), checkpoint.hidden->bytes()}));
    Fingerprint all;
    all.add(head.data(), head.size());
    all.add(checkpoint.hidden->at(0), checkpoint.hidden->bytes());
    const uint64_t value = all.value();
    TRY(file.write({reinterpret_cast<const uint8_t*>(&value), sizeof value}));
    return file.commit(head.size() + checkpoint.hidden->bytes() + sizeof value);
}

Result<int32_t> load_checkpoint(const std::string& path, uint64_t fingerprint, Statistics& sums, Hidden& hidden) {
    std::error_code ignored;
    if (!std::filesystem::exists(path, ignored)) return 0;
    LET(file, MappedFile::open(path));
    Cursor from(file.bytes());
    const auto magic = from.take<uint64_t>(), print = from.take<uint64_t>(), layer = from.take<uint64_t>();
    if (!layer || *magic != kMagic || *print != fingerprint || *layer > limits::kLayers) return 0;
    Statistics found;
    if (!take_sums(from, found)) return 0;
    const auto states = from.take_bytes(hidden.bytes());
    const auto check = from.take<uint64_t>();
    if (!states || !check || from.remaining() > 0) return 0;
    Fingerprint all;
    all.add(file.bytes().data(), file.bytes().size() - sizeof *check);
    if (all.value() != *check) return 0;
    std::memcpy(hidden.at(0), states->data(), states->size());
    sums = std::move(found);
    return static_cast<int32_t>(*layer);
}

}  // namespace quant
