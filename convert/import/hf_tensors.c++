// Names of checkpoints' tensors and what becomes of each.
#include "convert/import/hf_tensors.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <optional>
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include "base/bytes.h"
#include "base/file.h"
#include "base/limits.h"
#include "base/log.h"
#include "convert/import/hf_names.h"

namespace quant {

namespace {

// Other towers of the same checkpoint, and buffers that are no weights.
bool left_out(std::string_view name) {
    for (const std::string_view end : {".rotary_emb.inv_freq", ".attn.bias", ".attn.masked_bias"})
        if (name.ends_with(end)) return true;
    for (const std::string_view part : {"vision_tower.", "vision_model.", "multi_modal_projector."})
        if (name.find(part) != std::string_view::npos) return true;
    return false;
}

Error no_place(const SafeTensor& tensor, const HfArchitecture& architecture) {
    return input_error("tensor " + escaped(tensor.name) + " " + shape_text(tensor) + ": not known in " + architecture.class_name);
}

// E8M0 exponents and pairs of FP4 codes, [experts, rows, blocks] and [experts, rows, blocks, 16], as MXFP4 blocks:
// in the checkpoint a byte holds neighbours, in a GGUF elements j and j + 16.
struct Mxfp4Rows {
    const SafeTensor* blocks;
    const SafeTensor* scales;
    int64_t first, step;  // row i of ours is row first + step * i

    void operator()(int64_t row, int64_t count, uint8_t* out) const {
        const auto per_row = static_cast<size_t>(scales->shape[2]);
        for (int64_t i = row; i < row + count; ++i) {
            const auto from = static_cast<size_t>(first + step * i) * per_row;
            for (size_t block = from; block < from + per_row; ++block, out += 17) {
                out[0] = scales->data[block];
                const uint8_t* pairs = blocks->data + block * 16;
                const auto code = [&](size_t element) -> uint8_t {
                    return static_cast<uint8_t>(pairs[element / 2] >> (element % 2 * 4)) & 15;
                };
                for (size_t j = 0; j < 16; ++j) out[1 + j] = static_cast<uint8_t>(code(j) | code(j + 16) << 4);
            }
        }
    }
};

class Importer {
public:
    Importer(const HfArchitecture& architecture, const HfConfig& config, const HfShape& shape, const SafeTensors& tensors,
             const PackedTensors& packed)
        : architecture_(architecture), config_(config), shape_(shape), tensors_(tensors), packed_(packed),
          type_(checkpoint_type(config, tensors, packed)) {}

    Result<std::vector<ImportedTensor>> run() {
        TRY(add_rope_factors());
        for (const SafeTensor& tensor : tensors_.tensors()) {
            if (left_out(tensor.name)) continue;
            const PackedTensor* packed = packed_.led_by(tensor);
            if (!packed && packed_.is_part(tensor)) continue;
            if (packed) unpacked_.emplace(&packed->stands_for, &packed->rows);
            TRY(add_tensor(packed ? packed->stands_for : tensor));
        }
        TRY(finish_experts());
        return std::move(out_);
    }

private:
    struct Experts {
        std::map<int64_t, const SafeTensor*> parts;
        size_t place;  // in out_
    };

    RowStream rows_of(const SafeTensor& tensor) const {
        const auto found = unpacked_.find(&tensor);
        return found == unpacked_.end() ? quant::rows_of(tensor) : *found->second;
    }

    // `dims` outermost first.
    Status emit(const std::string& name, std::vector<int64_t> dims, RowStream rows,
                std::function<void(int64_t, int64_t, uint8_t*)> stored = {}) {
        ImportedTensor tensor;
        tensor.info.name = name;
        if (!names_.insert(name).second) return input_error("two tensors of the checkpoint become " + name);
        if (dims.empty() || dims.size() > limits::kDims) return input_error("tensor " + name + ": too many dimensions");
        tensor.info.n_dims = static_cast<uint32_t>(dims.size());
        std::reverse_copy(dims.begin(), dims.end(), tensor.info.ne.begin());
        if (std::find(dims.begin(), dims.end(), 0) != dims.end()) return input_error("tensor " + name + ": a dimension is 0");
        const bool plain = dims.size() == 1 || !name.ends_with(".weight") || name.ends_with("_norm.weight") ||
                           name.find("ffn_gate_inp") != std::string::npos || name.starts_with("position_embd");
        tensor.info.format = &format_of(stored ? FormatSlot::mxfp4 : plain ? FormatSlot::f32 : type_);
        tensor.info.bytes = tensor.info.format->tensor_bytes(tensor.info.cols(), tensor.info.rows());
        tensor.rows = std::move(rows);
        tensor.stored = std::move(stored);
        out_.push_back(std::move(tensor));
        return {};
    }

    Status add_tensor(const SafeTensor& tensor) {
        const auto name = split_hf_name(tensor.name);
        if (!name) return no_place(tensor, architecture_);
        std::string_view rest = name->rest;
        const std::string prefix = "blk." + std::to_string(name->layer) + ".";
        if (name->layer >= 0) {
            if (rest == "self_attn.sinks") return emit(prefix + "attn_sinks.weight", tensor.shape, rows_of(tensor));
            if (take_prefix(rest, "mlp.experts.") || take_prefix(rest, "block_sparse_moe.experts."))
                return add_expert(tensor, rest, prefix);
        }
        const size_t dot = rest.rfind('.');
        const std::string_view suffix = dot == std::string_view::npos ? "" : rest.substr(dot);
        const auto place = find_hf_place(architecture_, {name->layer, rest.substr(0, dot)});
        if (!place || suffix.empty() || (name->layer >= 0 && suffix != ".weight" && suffix != ".bias")) {
            if (name->layer < 0 || !scales_another(tensor, rest)) return no_place(tensor, architecture_);
            return {};
        }
        return name->layer < 0 ? add_outer(tensor, place->stem, suffix) : add_layer_tensor(tensor, *place, suffix);
    }

    Status add_outer(const SafeTensor& tensor, const std::string& stem, std::string_view suffix) {
        if (stem == "output" && !architecture_.own_output) return {};
        const std::string to = stem + std::string(suffix);
        std::vector<int64_t> dims = tensor.shape;
        RowStream rows = rows_of(tensor);
        if (stem == "token_embd" && architecture_.embedding_cut && shape_.tokens > 0 && dims.size() == 2 && dims[0] > shape_.tokens)
            dims[0] = rows.rows = shape_.tokens;
        return emit(to, std::move(dims), norm_shift(std::move(rows), to));
    }

    RowStream norm_shift(RowStream rows, const std::string& name) const {
        return architecture_.norms_minus_one && name.ends_with("norm.weight") ? shifted(std::move(rows), 1.0f) : rows;
    }

    Status add_layer_tensor(const SafeTensor& tensor, const HfPlace& place, std::string_view suffix) {
        const std::string to = place.stem + std::string(suffix);
        const bool matrix = tensor.shape.size() == 2, swapped = matrix && place.transposed;
        if (swapped && unpacked_.contains(&tensor))
            return input_error("tensor " + escaped(tensor.name) + ": packed weights of this architecture cannot be imported");
        if (swapped) return emit(to, {tensor.shape[1], tensor.shape[0]}, transposed(tensor));
        if (packed_ternary(tensor)) return add_ternary(tensor, to);
        RowStream rows = norm_shift(rows_of(tensor), to);
        if (architecture_.rope_pairs_side_by_side && place.kind != HfKind::plain) {
            const int64_t heads = place.kind == HfKind::queries ? shape_.heads : shape_.kv_heads;
            if (!matrix) rows = singles_of(tensor);  // a bias has as many numbers as the matrix has rows
            if (heads < 1 || rows.rows % (2 * heads) != 0)
                return input_error("tensor " + escaped(tensor.name) + " " + shape_text(tensor) + ": its rows are no " +
                                   std::to_string(heads) + " heads of an even size");
            rows = heads_permuted(std::move(rows), heads);
            if (!matrix) rows = joined(std::move(rows), tensor.cols());
        }
        return emit(to, tensor.shape, std::move(rows));
    }

    // Experts one by one are collected, joined ones are taken apart.
    Status add_expert(const SafeTensor& tensor, std::string_view name, const std::string& prefix) {
        if (name.empty() || name.front() < '0' || name.front() > '9') return add_joined_experts(tensor, name, prefix);
        const auto expert = take_number(name);
        const size_t dot = name.rfind('.');
        const std::string_view stem = dot == std::string_view::npos ? "" : expert_stem(name.substr(0, dot));
        if (!expert || *expert >= limits::kExperts || stem.empty() || name.substr(dot) != ".weight" || tensor.shape.size() != 2)
            return no_place(tensor, architecture_);
        Experts& experts = experts_[prefix + std::string(stem) + ".weight"];
        experts.parts[*expert] = &tensor;
        return {};
    }

    Status finish_experts() {
        LET(expected, config_.integer({"num_local_experts", "num_experts"}));
        for (auto& [name, experts] : experts_) {
            const SafeTensor& first = *experts.parts.begin()->second;
            if (static_cast<int64_t>(experts.parts.size()) != expected.value_or(0) ||
                experts.parts.rbegin()->first + 1 != expected.value_or(0))
                return input_error(format_text("%s: %zu experts in the checkpoint, %lld in config.json", name.c_str(),
                                               experts.parts.size(), static_cast<long long>(expected.value_or(0))));
            std::vector<RowStream> parts;
            for (const auto& [number, part] : experts.parts) {
                if (part->shape != first.shape)
                    return input_error("tensor " + escaped(part->name) + " " + shape_text(*part) + ": expert 0 has " + shape_text(first));
                parts.push_back(rows_of(*part));
            }
            const auto count = static_cast<int64_t>(parts.size());
            TRY(emit(name, {count, first.shape[0], first.shape[1]}, stacked(std::move(parts))));
        }
        return {};
    }

    // gpt-oss: all experts in one tensor [experts, in, out], gate and up in alternating columns.
    Status add_joined_experts(const SafeTensor& tensor, std::string_view name, const std::string& prefix) {
        const std::vector<int64_t>& s = tensor.shape;
        const bool gate_up = take_prefix(name, "gate_up_proj");
        if (!gate_up && !take_prefix(name, "down_proj")) return no_place(tensor, architecture_);
        if (name == "_scales") return {};  // read together with its blocks
        if (name == "_blocks") return add_mxfp4(tensor, gate_up, prefix);
        if (name == "_bias" && s.size() == 2) {
            if (!gate_up) return emit(prefix + "ffn_down_exps.bias", s, rows_of(tensor));
            if (s[1] % 2 != 0) return no_place(tensor, architecture_);
            for (const int64_t half : {0, 1})
                TRY(emit(prefix + (half ? "ffn_up_exps.bias" : "ffn_gate_exps.bias"), {s[0], s[1] / 2},
                         joined(every_nth(singles_of(tensor), half, 2, s[0]), s[1] / 2)));
            return {};
        }
        if (!name.empty() || s.size() != 3) return no_place(tensor, architecture_);
        if (!gate_up) return emit(prefix + "ffn_down_exps.weight", {s[0], s[2], s[1]}, transposed(tensor));
        if (s[2] % 2 != 0) return no_place(tensor, architecture_);
        for (const int64_t half : {0, 1})
            TRY(emit(prefix + (half ? "ffn_up_exps.weight" : "ffn_gate_exps.weight"), {s[0], s[2] / 2, s[1]},
                     every_nth(transposed(tensor), half, 2, s[0])));
        return {};
    }

    Status add_mxfp4(const SafeTensor& blocks, bool gate_up, const std::string& prefix) {
        const std::string scales_name = blocks.name.substr(0, blocks.name.size() - 6) + "scales";
        const SafeTensor* scales = tensors_.find(scales_name);
        const std::vector<int64_t>& s = blocks.shape;
        const bool fits = scales && s.size() == 4 && s[3] == 16 && blocks.type->bytes == 1 && scales->type->bytes == 1 &&
                          scales->shape == std::vector<int64_t>(s.begin(), s.begin() + 3) && (!gate_up || s[1] % 2 == 0);
        if (!fits) return input_error("tensor " + escaped(blocks.name) + " " + shape_text(blocks) + ": no MXFP4 blocks with scales");
        const int64_t parts = gate_up ? 2 : 1;
        for (int64_t part = 0; part < parts; ++part) {
            const Mxfp4Rows stored{&blocks, scales, part, parts};
            RowStream rows;
            rows.cols = s[2] * 32;
            rows.rows = s[0] * s[1] / parts;
            rows.uses = {&blocks, scales};
            rows.read = [stored, cols = rows.cols](int64_t row, int64_t count, float* out) {
                std::vector<uint8_t> bytes(format_of(FormatSlot::mxfp4).row_bytes(cols) * static_cast<uint64_t>(count));
                stored(row, count, bytes.data());
                format_of(FormatSlot::mxfp4).decode(nullptr, bytes.data(), out, cols * count);
            };
            const char* name = !gate_up ? "ffn_down_exps.weight" : part ? "ffn_up_exps.weight" : "ffn_gate_exps.weight";
            TRY(emit(prefix + name, {s[0], s[1] / parts, rows.cols}, std::move(rows), stored));
        }
        return {};
    }

    // BitNet, four weights in a byte: row i * (rows / 4) + r in bits 2i of byte row r, code - 1, times weight_scale.
    bool packed_ternary(const SafeTensor& tensor) const {
        return std::string_view(tensor.type->name) == "U8" && tensors_.find(tensor.name + "_scale");
    }

    Status add_ternary(const SafeTensor& tensor, const std::string& to) {
        const SafeTensor* scale = tensors_.find(tensor.name + "_scale");
        if (tensor.shape.size() != 2 || scale->elements() != 1)
            return input_error("tensor " + escaped(tensor.name) + " " + shape_text(tensor) + ": no packed ternary matrix with one scale");
        float factor = 0;
        scale->type->decode(scale->data, &factor, 1);
        const auto linear = config_.root()["quantization_config"]["linear_class"].text();
        if (linear != "autobitlinear") factor = 1.0f / factor;
        RowStream rows;
        const int64_t quarter = tensor.shape[0];
        rows.cols = tensor.cols();
        rows.rows = 4 * quarter;
        rows.uses = {&tensor};
        rows.read = [&tensor, factor, quarter, cols = rows.cols](int64_t row, int64_t count, float* out) {
            for (int64_t r = row; r < row + count; ++r) {
                const uint8_t* codes = tensor.data + static_cast<size_t>(r % quarter * cols);
                const auto shift = static_cast<int>(2 * (r / quarter));
                for (int64_t c = 0; c < cols; ++c) *out++ = static_cast<float>((codes[c] >> shift & 3) - 1) * factor;
            }
        };
        return emit(to, {rows.rows, rows.cols}, std::move(rows));
    }

    // Read together with the weights that it scales.
    bool scales_another(const SafeTensor& tensor, std::string_view name) const {
        return name.ends_with(".weight_scale") && tensors_.find(std::string_view(tensor.name).substr(0, tensor.name.size() - 6));
    }

    Status add_rope_factors() {
        LET(rope, config_.rope());
        if (rope.type == "llama3") return add_llama3_factors(rope);
        if (!rope.long_factors && !rope.short_factors) return {};
        for (const bool longer : {true, false}) {
            const JsonValue list = longer ? rope.long_factors : rope.short_factors;
            std::vector<float> factors;
            if (list.is(JsonValue::Kind::array))
                for (const JsonValue item : list.items()) factors.push_back(static_cast<float>(item.real().value_or(0)));
            if (factors.empty() || !std::all_of(factors.begin(), factors.end(), [](float f) { return f > 0; }))
                return input_error(escaped(config_.origin()) + ": long_factor and short_factor must be arrays of positive numbers");
            const auto count = static_cast<int64_t>(factors.size());
            TRY(emit(longer ? "rope_factors_long.weight" : "rope_factors_short.weight", {count}, constant(std::move(factors))));
        }
        return {};
    }

    // Long wavelengths are stretched by `factor`, short ones stay, between them a smooth step.
    Status add_llama3_factors(const HfRope& rope) {
        LET(width, config_.count({"hidden_size"}));
        LET(heads, config_.count({"num_attention_heads"}));
        LET(given, config_.integer({"head_dim"}));
        const int64_t dim = given.value_or(width / heads);
        const auto factor = static_cast<float>(rope.factor.value_or(8.0));
        const double low = rope.low_freq_factor.value_or(1.0), high = rope.high_freq_factor.value_or(4.0);
        const auto context = static_cast<double>(rope.original_context.value_or(8192));
        if (dim < 2 || dim > 65536 || !(factor > 0) || !(low > 0) || !(high > low))
            return input_error(escaped(config_.origin()) + ": llama3 rope settings are out of range");
        std::vector<float> factors;
        for (int64_t i = 0; i < dim; i += 2) {
            const float exponent = static_cast<float>(i) / static_cast<float>(dim);
            const float frequency = 1.0f / std::pow(static_cast<float>(rope.theta.value_or(10000.0)), exponent);
            const float length = static_cast<float>(2 * 3.14159265358979323846) / frequency;
            if (length < static_cast<float>(context / high)) {
                factors.push_back(1.0f);
            } else if (length > static_cast<float>(context / low)) {
                factors.push_back(factor);
            } else {
                const float smooth = (static_cast<float>(context) / length - static_cast<float>(low)) / static_cast<float>(high - low);
                factors.push_back(1.0f / ((1.0f - smooth) / factor + smooth));
            }
        }
        const auto count = static_cast<int64_t>(factors.size());
        return emit("rope_freqs.weight", {count}, constant(std::move(factors)));
    }

    const HfArchitecture& architecture_;
    const HfConfig& config_;
    const HfShape& shape_;
    const SafeTensors& tensors_;
    const PackedTensors& packed_;
    FormatSlot type_;
    std::unordered_map<const SafeTensor*, const RowStream*> unpacked_;  // what packed tensors stand for
    std::vector<ImportedTensor> out_;
    std::unordered_set<std::string> names_;
    std::map<std::string, Experts> experts_;
};

}  // namespace

FormatSlot checkpoint_type(const HfConfig& config, const SafeTensors& tensors, const PackedTensors& packed) {
    if (!packed.empty()) {
        const auto type = config.find({"dtype", "torch_dtype"}).text();
        if (type == "float16") return FormatSlot::f16;
        if (type == "bfloat16") return FormatSlot::bf16;
        if (type == "float32") return FormatSlot::f32;
    }
    for (const SafeTensor& tensor : tensors.tensors()) {
        if (tensor.shape.size() < 2 || !tensor.type->real) continue;
        const std::string_view type = tensor.type->name;
        if (type == "F32" || type == "F64") return FormatSlot::f32;
        return type == "F16" ? FormatSlot::f16 : FormatSlot::bf16;  // 8-bit floats fit into BF16
    }
    return FormatSlot::f32;
}

Result<std::vector<ImportedTensor>> import_tensors(const HfArchitecture& architecture, const HfConfig& config,
                                                   const HfShape& shape, const SafeTensors& tensors,
                                                   const PackedTensors& packed) {
    return Importer(architecture, config, shape, tensors, packed).run();
}

}  // namespace quant
