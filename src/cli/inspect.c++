// `quant inspect`: what a GGUF holds. Knows no architecture, so that any valid file can be looked at.
#include <fnmatch.h>

#include <algorithm>
#include <cctype>
#include <map>

#include "base/bytes.h"
#include "base/file.h"
#include "base/json_writer.h"
#include "base/log.h"
#include "cli/commands.h"
#include "cli/histogram.h"
#include "cli/output.h"
#include "gguf/gguf.h"

namespace quant {

namespace {

constexpr size_t kShownElements = 6;   // of an array, without --full
constexpr size_t kShownBytes = 100;    // of a text, without --full

struct InspectOptions {
    std::string path, keys, tensors, histogram;
    bool only_keys = false, only_tensors = false, json = false, full = false;
};

// `pattern` with * ? [ ] is matched as a whole, a plain word anywhere in the name; empty: everything.
bool matches(const std::string& pattern, const std::string& name) {
    if (pattern.empty()) return true;
    if (pattern.find_first_of("*?[") == std::string::npos) return name.find(pattern) != std::string::npos;
    return ::fnmatch(pattern.c_str(), name.c_str(), 0) == 0;
}

// Element `index` of an array.
void write_element(JsonWriter& json, const Value& value, size_t index) {
    const uint8_t* raw = value.raw.data();
    switch (value.element) {
        case ValueType::u8: return json.value(raw[index]);
        case ValueType::i8: return json.value(load<int8_t>(raw + index));
        case ValueType::u16: return json.value(load<uint16_t>(raw + 2 * index));
        case ValueType::i16: return json.value(load<int16_t>(raw + 2 * index));
        case ValueType::u32: return json.value(load<uint32_t>(raw + 4 * index));
        case ValueType::i32: return json.value(load<int32_t>(raw + 4 * index));
        case ValueType::u64: return json.value(load<uint64_t>(raw + 8 * index));
        case ValueType::i64: return json.value(load<int64_t>(raw + 8 * index));
        case ValueType::f32: return json.value(load<float>(raw + 4 * index));
        case ValueType::f64: return json.value(load<double>(raw + 8 * index));
        case ValueType::boolean: return json.value(raw[index] != 0);
        case ValueType::string: return json.value(value.texts[index]);
        case ValueType::array: return json.null();  // the reader accepts no nested arrays
    }
}

void write_scalar(JsonWriter& json, const Value& value) {
    switch (value.type) {
        case ValueType::f32: return json.value(static_cast<float>(value.real));
        case ValueType::f64: return json.value(value.real);
        case ValueType::boolean: return json.value(value.bits != 0);
        case ValueType::string: return json.value(value.text);
        case ValueType::i8:
        case ValueType::i16:
        case ValueType::i32:
        case ValueType::i64: return json.value(static_cast<int64_t>(value.bits));
        default: return json.value(value.bits);
    }
}

uint64_t shown_elements(const Value& value, bool full) {
    return full ? value.count() : std::min<uint64_t>(value.count(), kShownElements);
}

// For people: control bytes escaped, long texts and arrays cut.
std::string value_text(const Value& value, bool full) {
    std::string out;
    JsonWriter json(out);
    if (value.type == ValueType::array) {
        for (uint64_t i = 0, count = shown_elements(value, full); i < count; ++i) {
            if (i) out += ", ";
            JsonWriter element(out);
            write_element(element, value, i);
        }
        return "[" + out + (shown_elements(value, full) < value.count() ? ", ...]" : "]");
    }
    if (value.type != ValueType::string) {
        write_scalar(json, value);
        return out;
    }
    if (full || value.text.size() <= kShownBytes) return escaped(value.text);
    size_t end = kShownBytes;
    while (end > 0 && (value.text[end] & 0xc0) == 0x80) --end;
    return escaped(value.text.substr(0, end)) + format_text(" ... (%zu bytes)", value.text.size());
}

std::string type_text(const Value& value) {
    if (value.type != ValueType::array) return value_type_name(value.type);
    return std::string(value_type_name(value.element)) + "[" + std::to_string(value.count()) + "]";
}

// The tensor's part in the network: its name with the layer's number taken out.
std::string role_of(const std::string& name) {
    std::string role;
    for (size_t i = 0; i < name.size();) {
        const bool starts = std::isdigit(static_cast<unsigned char>(name[i])) && i > 0 && name[i - 1] == '.';
        size_t end = i;
        while (starts && end < name.size() && std::isdigit(static_cast<unsigned char>(name[end]))) ++end;
        if (starts && end < name.size() && name[end] == '.') {
            role += '*';
            i = end;
        } else {
            role += name[i++];
        }
    }
    return role;
}

struct Total {
    uint64_t tensors = 0, weights = 0, bytes = 0;
    void add(const TensorInfo& tensor) {
        ++tensors;
        weights += static_cast<uint64_t>(tensor.elements());
        bytes += tensor.bytes;
    }
    double bits() const { return weights ? 8.0 * static_cast<double>(bytes) / static_cast<double>(weights) : 0; }
};

struct Totals {
    Total all;
    std::map<std::string, Total> by_type, by_role;
};

Totals totals_of(const Gguf& file, const InspectOptions& options) {
    Totals totals;
    for (const TensorInfo& tensor : file.tensors()) {
        if (!matches(options.tensors, tensor.name)) continue;
        totals.all.add(tensor);
        totals.by_type[tensor.format->name].add(tensor);
        totals.by_role[role_of(tensor.name)].add(tensor);
    }
    return totals;
}

std::string totals_text(const char* title, const std::map<std::string, Total>& totals, uint64_t all_bytes) {
    Table table({{title}, {"tensors", true}, {"weights", true}, {"bits/weight", true}, {"bytes", true}, {"share", true}});
    std::vector<std::pair<std::string, Total>> sorted(totals.begin(), totals.end());
    std::stable_sort(sorted.begin(), sorted.end(), [](const auto& a, const auto& b) { return a.second.bytes > b.second.bytes; });
    for (const auto& [name, total] : sorted)
        table.row({escaped(name), std::to_string(total.tensors), std::to_string(total.weights),
                   format_text("%.3f", total.bits()), std::to_string(total.bytes),
                   format_text("%.1f %%", 100.0 * static_cast<double>(total.bytes) / static_cast<double>(std::max<uint64_t>(all_bytes, 1)))});
    return table.plain();
}

std::string inspect_text(const Gguf& file, const InspectOptions& options) {
    const Totals totals = totals_of(file, options);
    std::string out = format_text("%s: GGUF version %u, %s, %zu keys, %zu tensors, alignment %u", escaped(file.path()).c_str(),
                                  file.version(), human_bytes(file.file_bytes()).c_str(), file.metadata().entries().size(),
                                  file.tensors().size(), file.alignment());
    out += file.shard_count() > 1 ? format_text(", %zu files\n", file.shard_count()) : "\n";
    if (!options.only_tensors) {
        Table table({{"key"}, {"type"}, {"value"}});
        size_t shown = 0;
        for (const auto& [key, value] : file.metadata().entries()) {
            if (!matches(options.keys, key)) continue;
            table.row({escaped(key), type_text(value), value_text(value, options.full)});
            ++shown;
        }
        out += "\n" + (shown > 0 || options.keys.empty() ? table.plain() : "no key matches '" + escaped(options.keys) + "'\n");
    }
    if (options.only_keys) return out;
    if (totals.all.tensors == 0 && !options.tensors.empty()) return out + "\nno tensor matches '" + escaped(options.tensors) + "'\n";
    Table table({{"tensor"}, {"type"}, {"shape"}, {"bits/weight", true}, {"bytes", true}});
    for (const TensorInfo& tensor : file.tensors())
        if (matches(options.tensors, tensor.name))
            table.row({escaped(tensor.name), tensor.format->name, shape_text(tensor),
                       format_text("%.6g", tensor.format->bits_per_weight()), std::to_string(tensor.bytes)});
    out += "\n" + table.plain();
    out += "\n" + totals_text("role", totals.by_role, totals.all.bytes);
    out += "\n" + totals_text("type", totals.by_type, totals.all.bytes);
    out += format_text("\ntotal: %llu tensors, %llu weights, %s, %.3f bits/weight\n",
                       static_cast<unsigned long long>(totals.all.tensors), static_cast<unsigned long long>(totals.all.weights),
                       human_bytes(totals.all.bytes).c_str(), totals.all.bits());
    return out;
}

void write_total(JsonWriter& json, const Total& total) {
    json.begin_object();
    json.member("tensors", total.tensors);
    json.member("weights", total.weights);
    json.member("bytes", total.bytes);
    json.member("bits_per_weight", total.bits());
    json.end_object();
}

void write_totals(JsonWriter& json, std::string_view name, const std::map<std::string, Total>& totals) {
    json.key(name);
    json.begin_object();
    for (const auto& [group, total] : totals) {
        json.key(group);
        write_total(json, total);
    }
    json.end_object();
}

void write_metadata(JsonWriter& json, const Gguf& file, const InspectOptions& options) {
    json.key("metadata");
    json.begin_object();
    for (const auto& [key, value] : file.metadata().entries()) {
        if (!matches(options.keys, key)) continue;
        json.key(key);
        json.begin_object();
        json.member("type", value_type_name(value.type));
        if (value.type != ValueType::array) {
            json.key("value");
            write_scalar(json, value);
        } else {
            const uint64_t shown = shown_elements(value, options.full);
            json.member("element", value_type_name(value.element));
            json.member("count", value.count());
            json.key(shown < value.count() ? "first" : "value");
            json.begin_array();
            for (uint64_t i = 0; i < shown; ++i) write_element(json, value, i);
            json.end_array();
        }
        json.end_object();
    }
    json.end_object();
}

void write_tensors(JsonWriter& json, const Gguf& file, const InspectOptions& options) {
    json.key("tensors");
    json.begin_array();
    for (const TensorInfo& tensor : file.tensors()) {
        if (!matches(options.tensors, tensor.name)) continue;
        json.begin_object();
        json.member("name", tensor.name);
        json.member("type", tensor.format->name);
        json.key("shape");
        json.begin_array();
        for (uint32_t i = 0; i < tensor.n_dims; ++i) json.value(tensor.ne[i]);
        json.end_array();
        json.member("bits_per_weight", tensor.format->bits_per_weight());
        json.member("bytes", tensor.bytes);
        json.end_object();
    }
    json.end_array();
    const Totals totals = totals_of(file, options);
    write_totals(json, "by_type", totals.by_type);
    write_totals(json, "by_role", totals.by_role);
    json.key("total");
    write_total(json, totals.all);
}

std::string inspect_json(const Gguf& file, const InspectOptions& options) {
    std::string out;
    JsonWriter json(out);
    json.begin_object();
    json.member("path", file.path());
    json.member("version", file.version());
    json.member("bytes", file.file_bytes());
    json.member("alignment", file.alignment());
    json.member("files", file.shard_count());
    if (!options.only_tensors) write_metadata(json, file, options);
    if (!options.only_keys) write_tensors(json, file, options);
    json.end_object();
    return out + "\n";
}

Status print_histogram(const Gguf& file, const InspectOptions& options) {
    const TensorInfo* tensor = file.find(options.histogram);
    if (!tensor)
        return usage_error(escaped(file.path()) + ": no tensor '" + escaped(options.histogram) +
                           "' (quant inspect --tensors '' lists all)");
    LET(histogram, histogram_of(*tensor));
    return write_output(options.json ? histogram_json(histogram) : histogram_text(histogram));
}

}  // namespace

Status inspect_command(Arguments arguments) {
    InspectOptions given;
    std::vector<std::string> paths;
    Options options("quant inspect [-m] MODEL.gguf [options]", "Shows metadata, tensors and totals of a GGUF file.",
                    "  quant inspect model.gguf --keys tokenizer\n  quant inspect model.gguf --tensors 'blk.0.*'\n"
                    "  quant inspect model.gguf --hist blk.0.ffn_down.weight");
    options.positional(&paths, 0, 1);
    options.text("-m --model", "FILE", "the file, also without the option's name", &given.path);
    options.call("--keys", "PATTERN", "only metadata, keys that contain this or match * ? [] ('' = all)", [&](const std::string& text) {
        given.keys = text;
        given.only_keys = true;
        return Status{};
    });
    options.call("--tensors", "PATTERN", "only tensors, chosen in the same way", [&](const std::string& text) {
        given.tensors = text;
        given.only_tensors = true;
        return Status{};
    });
    options.text("--hist", "TENSOR", "draw the distribution of this tensor's values", &given.histogram);
    options.flag("--full", "print long arrays and texts in full", &given.full);
    options.flag("--json", "print one JSON object", &given.json);
    LET(go_on, options.parse(arguments));
    if (!go_on) return {};
    if (!paths.empty() && given.path.empty()) given.path = paths[0];
    if (given.path.empty()) return usage_error("no model given; usage: quant inspect MODEL.gguf (--help explains)");
    if (given.only_keys && given.only_tensors) given.only_keys = given.only_tensors = false;  // both asked for: both shown
    LET(file, Gguf::open(given.path));
    if (!given.histogram.empty()) return print_histogram(file, given);
    return write_output(given.json ? inspect_json(file, given) : inspect_text(file, given));
}

}  // namespace quant
