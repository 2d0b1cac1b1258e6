// Writes GGUF 3: plans all files and their sizes first, then streams tensor data into temporaries (base/file.h),
// reads each back with our own reader and renames them all at the end.
#include <optional>
#include <utility>

#include "base/checked.h"
#include "base/limits.h"
#include "base/log.h"
#include "gguf/gguf.h"
#include "gguf/rules.h"

namespace quant {
namespace {

using Wide = unsigned long long;

void append(std::vector<uint8_t>& out, const void* data, size_t bytes) {
    const auto* start = static_cast<const uint8_t*>(data);
    out.insert(out.end(), start, start + bytes);
}
// In place of bytes: how many they would be.
void append(uint64_t& out, const void*, size_t bytes) { out += bytes; }

template <class Out, class T>
void append_number(Out& out, T number) {
    append(out, &number, sizeof number);
}

template <class Out>
void append_text(Out& out, std::string_view text) {
    append_number(out, uint64_t{text.size()});
    append(out, text.data(), text.size());
}

template <class Out>
void append_value(Out& out, const Value& value) {
    append_number(out, static_cast<uint32_t>(value.type));
    switch (value.type) {
        case ValueType::string: append_text(out, value.text); break;
        case ValueType::f32: append_number(out, static_cast<float>(value.real)); break;
        case ValueType::f64: append_number(out, value.real); break;
        case ValueType::array:
            append_number(out, static_cast<uint32_t>(value.element));
            append_number(out, value.count());
            append(out, value.raw.data(), value.raw.size());
            for (size_t i = 0; i < value.texts.size(); ++i) append_text(out, value.texts[i]);
            break;
        // Integers and bool: the low bytes of the sign-extended number.
        default: append(out, &value.bits, value_type_bytes(value.type)); break;
    }
}

uint64_t description_bytes(const TensorInfo& tensor) {
    return 8 + tensor.name.size() + 4 + 8 * uint64_t{tensor.n_dims} + 4 + 8;
}

void append_description(std::vector<uint8_t>& out, const TensorInfo& tensor, uint64_t offset) {
    append_text(out, tensor.name);
    append_number(out, tensor.n_dims);
    for (uint32_t i = 0; i < tensor.n_dims; ++i) append_number(out, tensor.ne[i]);
    append_number(out, tensor.format->id);
    append_number(out, offset);
}

// Magic, version, counts and keys: what stands before the descriptions of the tensors.
template <class Out>
void append_head(Out& out, const Metadata& metadata, uint64_t tensor_count) {
    append(out, kMagic.data(), kMagic.size());
    append_number(out, kVersion3);
    append_number(out, tensor_count);
    append_number(out, uint64_t{metadata.entries().size()});
    for (const auto& [key, value] : metadata.entries()) {
        append_text(out, key);
        append_value(out, value);
    }
}
uint64_t head_bytes(const Metadata& metadata) {
    uint64_t bytes = 0;
    append_head(bytes, metadata, 0);
    return bytes;
}

// One output file of the plan.
struct Shard {
    std::string path;
    size_t first = 0, count = 0;  // tensors
    uint64_t bytes = 0;           // of the whole file
};

struct Plan {
    uint32_t alignment = kDefaultAlignment;
    std::vector<TensorInfo> tensors;  // sizes filled
    std::vector<Shard> shards;
    Metadata first, others;  // keys of the first file and of each further one; split.no is set per file
    uint64_t total = 0;

    const Metadata& metadata(size_t shard) {
        Metadata& keys = shard == 0 ? first : others;
        if (shards.size() > 1) keys.set(kSplitNumberKey, Value::of_u16(static_cast<uint16_t>(shard)));
        return keys;
    }

    std::vector<uint8_t> header(size_t shard) {
        std::vector<uint8_t> out;
        out.reserve(head_bytes(metadata(shard)));
        append_head(out, metadata(shard), shards[shard].count);
        uint64_t offset = 0;
        for (size_t i = 0; i < shards[shard].count; ++i) {
            const TensorInfo& tensor = tensors[shards[shard].first + i];
            append_description(out, tensor, offset);
            offset = *checked_align(offset + tensor.bytes, alignment);
        }
        // Without tensors there is no data section to align.
        if (shards[shard].count > 0) out.resize(*checked_align(out.size(), alignment));
        return out;
    }
};

Status check_strings(const std::string& where, const Value& value) {
    if (value.text.size() > limits::kStringBytes) return input_error(where + "holds a text that is too long");
    for (size_t i = 0; i < value.texts.size(); ++i)
        if (value.texts[i].size() > limits::kStringBytes) return input_error(where + "holds a text that is too long");
    if (value.type == ValueType::array && value.count() > limits::kArrayElements)
        return input_error(where + "holds too many elements");
    return {};
}

Status check_metadata(const std::string& path, const Metadata& metadata) {
    const std::string where = escaped(path) + ": ";
    for (const auto& [key, value] : metadata.entries()) {
        if (key.empty() || key.size() > limits::kKeyBytes || key.find('\0') != std::string::npos)
            return input_error(where + format_text("a key of %zu bytes cannot be written: 1 to %llu without zero bytes expected",
                                                   key.size(), Wide{limits::kKeyBytes}));
        TRY(check_strings(where + "key '" + escaped(key) + "' ", value));
    }
    // Readers index these by token: a shorter one would be read past its end by a careless program.
    const Value* tokens = metadata.find("tokenizer.ggml.tokens");
    for (const char* key : {"tokenizer.ggml.scores", "tokenizer.ggml.token_type"}) {
        const Value* list = metadata.find(key);
        if (tokens && list && list->count() != tokens->count())
            return input_error(where + format_text("key '%s' has %llu elements, %llu as there are tokens expected", key,
                                                   Wide{list->count()}, Wide{tokens->count()}));
    }
    return {};
}

// Bytes of a file from its parts; nothing when they cannot be counted.
std::optional<uint64_t> file_bytes(uint64_t head_bytes, uint64_t descriptions, uint64_t data, uint32_t alignment) {
    const auto sum = checked_add(head_bytes, descriptions);
    const auto start = sum ? checked_align(*sum, alignment) : std::nullopt;
    return start ? checked_add(*start, data) : std::nullopt;
}

// Cuts the list of tensors into files. `head_bytes[0]` is the first file's head, [1] that of the others.
Status cut(Plan& plan, const std::string& path, const GgufWriter::Options& options, const uint64_t (&head_bytes)[2]) {
    plan.shards = {Shard{}};
    uint64_t descriptions = 0, data = 0;
    for (size_t i = 0; i < plan.tensors.size(); ++i) {
        const TensorInfo& tensor = plan.tensors[i];
        Shard* shard = &plan.shards.back();
        const auto padded = checked_align(tensor.bytes, plan.alignment);
        const auto grown = padded ? checked_add(data, *padded) : std::nullopt;
        const auto size = grown ? file_bytes(head_bytes[plan.shards.size() > 1], descriptions + description_bytes(tensor), *grown, plan.alignment)
                                : std::nullopt;
        if (!size) return input_error(escaped(path) + ": tensor '" + escaped(tensor.name) + "' makes the data too large to count");
        bool next = options.split_max_bytes > 0 && *size > options.split_max_bytes;
        if (options.keep_split && i > 0) next = tensor.shard != plan.tensors[i - 1].shard;
        if (next && shard->count > 0) {
            plan.shards.push_back({{}, i, 0, 0});
            shard = &plan.shards.back();
            descriptions = data = 0;
        }
        ++shard->count;
        descriptions += description_bytes(tensor);
        data += *padded;
        shard->bytes = *file_bytes(head_bytes[plan.shards.size() > 1], descriptions, data, plan.alignment);
    }
    if (plan.tensors.empty()) plan.shards[0].bytes = head_bytes[0];
    return {};
}

// A file of its own name, or the files NAME-00001-of-0000N.gguf when there are several.
void name_files(Plan& plan, const std::string& path) {
    if (plan.shards.size() == 1) {
        plan.shards[0].path = path;
        return;
    }
    std::string prefix = path;
    if (const auto split = parse_split_name(path)) prefix = split->prefix;
    else if (prefix.ends_with(".gguf")) prefix.resize(prefix.size() - 5);
    for (size_t i = 0; i < plan.shards.size(); ++i)
        plan.shards[i].path = split_path(prefix, static_cast<uint32_t>(i + 1), static_cast<uint32_t>(plan.shards.size()));
}

Status check_tensors(Plan& plan, const std::string& path, bool keep_split) {
    if (plan.tensors.size() > limits::kTensors)
        return input_error(escaped(path) + format_text(": %zu tensors, at most %llu are allowed", plan.tensors.size(), Wide{limits::kTensors}));
    for (size_t i = 0; i < plan.tensors.size(); ++i) {
        const std::string where = escaped(path) + ": tensor '" + escaped(plan.tensors[i].name) + "' ";
        TRY(check_tensor(where, plan.tensors[i]));
        if (keep_split && i > 0 && plan.tensors[i].shard < plan.tensors[i - 1].shard)
            return input_error(where + "belongs to an earlier file of the split than the tensor before it");
    }
    NameIndex names;
    if (const auto twice = names.build(plan.tensors.size(), [&](size_t i) { return std::string_view(plan.tensors[i].name); }))
        return input_error(escaped(path) + ": tensor '" + escaped(plan.tensors[*twice].name) + "' occurs twice");
    return {};
}

Result<Plan> make_plan(const std::string& path, const Metadata& metadata, const std::vector<TensorInfo>& tensors,
                       const GgufWriter::Options& options) {
    Plan plan;
    plan.tensors = tensors;
    plan.first = metadata;
    for (const std::string_view key : {kSplitNumberKey, kSplitCountKey, kSplitTensorsKey}) plan.first.erase(key);
    TRY(check_metadata(path, plan.first));
    TRY(check_tensors(plan, path, options.keep_split));
    LET(alignment, alignment_of(metadata));
    plan.alignment = alignment;
    const uint64_t single_head = head_bytes(plan.first);
    TRY(cut(plan, path, options, {single_head, single_head}));
    if (plan.shards.size() > 1) {
        // Several files: the heads differ now (the cut depends on their sizes, their sizes not on the cut).
        if (const Value* value = metadata.find(kAlignmentKey)) plan.others.set(kAlignmentKey, *value);
        for (Metadata* keys : {&plan.first, &plan.others}) {
            keys->set(kSplitNumberKey, Value::of_u16(0));
            keys->set(kSplitCountKey, Value::of_u16(0));
            keys->set(kSplitTensorsKey, Value::of_i32(static_cast<int32_t>(tensors.size())));
        }
        TRY(cut(plan, path, options, {head_bytes(plan.first), head_bytes(plan.others)}));
        if (plan.shards.size() > limits::kShards)
            return usage_error(escaped(path) + format_text(": the split would make %zu files, at most %u are allowed",
                                                           plan.shards.size(), limits::kShards));
        for (Metadata* keys : {&plan.first, &plan.others})
            keys->set(kSplitCountKey, Value::of_u16(static_cast<uint16_t>(plan.shards.size())));
    }
    name_files(plan, path);
    for (const Shard& shard : plan.shards) {
        const auto total = checked_add(plan.total, shard.bytes);
        if (!total) return input_error(escaped(path) + ": the files are too large to count");
        plan.total = *total;
    }
    return plan;
}

}  // namespace

struct GgufWriter::State {
    Plan plan;
    Options options;
    std::vector<AtomicFile> files;  // begun so far; all but the last are sealed
    size_t tensor = 0;              // the one being written
    uint64_t done = 0;              // its bytes written

    Status begin_file() {
        const Shard& shard = plan.shards[files.size()];
        LET(file, AtomicFile::create(shard.path, options.force, options.inputs));
        files.push_back(std::move(file));
        return files.back().write(plan.header(files.size() - 1));
    }

    Status end_tensor() {
        const uint64_t bytes = plan.tensors[tensor].bytes;
        const std::vector<uint8_t> padding(*checked_align(bytes, plan.alignment) - bytes);
        TRY(files.back().write(padding));
        ++tensor;
        done = 0;
        return end_file_if_complete();
    }

    Status end_file_if_complete() {
        const Shard& shard = plan.shards[files.size() - 1];
        if (tensor < shard.first + shard.count) return {};
        TRY(files.back().seal(shard.bytes));
        return files.size() < plan.shards.size() ? begin_file() : Status();
    }

    // The finished temporary is what the plan says, as our own reader sees it.
    Status check_file(size_t number) const {
        const Shard& shard = plan.shards[number];
        LET(file, MappedFile::open(files[number].temporary_path()));
        LET(found, Gguf::parse(file.bytes(), shard.path));
        bool same = found.tensors().size() == shard.count;
        for (size_t i = 0; same && i < shard.count; ++i) {
            const TensorInfo &planned = plan.tensors[shard.first + i], &stored = found.tensors()[i];
            same = stored.name == planned.name && stored.format == planned.format && stored.ne == planned.ne;
        }
        if (!same) return io_error(escaped(shard.path) + ": what was written does not read back as planned");
        return {};
    }
};

GgufWriter::GgufWriter() = default;
GgufWriter::GgufWriter(GgufWriter&&) noexcept = default;
GgufWriter& GgufWriter::operator=(GgufWriter&&) noexcept = default;
GgufWriter::~GgufWriter() = default;

Result<GgufWriter> GgufWriter::create(const std::string& path, const Metadata& metadata,
                                      const std::vector<TensorInfo>& tensors, const Options& options) {
    LET(plan, make_plan(path, metadata, tensors, options));
    for (const Shard& shard : plan.shards) TRY(AtomicFile::check(shard.path, options.force, options.inputs));
    const uint64_t room = free_bytes_at(path);
    if (room != 0 && room < plan.total)
        return io_error(escaped(path) + ": needs " + human_bytes(plan.total) + ", free there: " + human_bytes(room));
    GgufWriter writer;
    writer.state_ = std::make_unique<State>();
    writer.state_->plan = std::move(plan);
    writer.state_->options = options;
    TRY(writer.state_->begin_file());
    TRY(writer.state_->end_file_if_complete());
    return writer;
}

Result<uint64_t> GgufWriter::planned_bytes(const std::string& path, const Metadata& metadata,
                                           const std::vector<TensorInfo>& tensors, const Options& options) {
    LET(plan, make_plan(path, metadata, tensors, options));
    return plan.total;
}

Status GgufWriter::write(Bytes piece) {
    State& state = *state_;
    while (!piece.empty()) {
        if (state.tensor == state.plan.tensors.size())
            return io_error(escaped(state.plan.shards.back().path) + ": more data than the tensors need");
        const uint64_t room = state.plan.tensors[state.tensor].bytes - state.done;
        const Bytes part = piece.first(static_cast<size_t>(std::min<uint64_t>(room, piece.size())));
        TRY(state.files.back().write(part));
        state.done += part.size();
        piece = piece.subspan(part.size());
        if (part.size() == room) TRY(state.end_tensor());
    }
    return {};
}

Status GgufWriter::finish() {
    State& state = *state_;
    if (state.tensor < state.plan.tensors.size()) {
        const TensorInfo& tensor = state.plan.tensors[state.tensor];
        return io_error(escaped(state.plan.shards.back().path) +
                        format_text(": tensor '%s' has %llu of %llu bytes", escaped(tensor.name).c_str(),
                                    Wide{state.done}, Wide{tensor.bytes}));
    }
    for (size_t i = 0; i < state.files.size(); ++i) TRY(state.check_file(i));
    // The first file last: a reader starts there and then finds all others.
    for (size_t i = state.files.size(); i-- > 0;) TRY(state.files[i].publish());
    return {};
}

uint64_t GgufWriter::total_bytes() const { return state_->plan.total; }

std::vector<std::string> GgufWriter::paths() const {
    std::vector<std::string> all;
    for (const Shard& shard : state_->plan.shards) all.push_back(shard.path);
    return all;
}

}  // namespace quant
