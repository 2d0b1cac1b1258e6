// What the readers of single schemes share: the tensors that belong to one matrix, their checks, scales in a
// grid. Included by packed*.c++ only.
#pragma once

#include <cstdint>
#include <functional>
#include <initializer_list>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "convert/import/hf_rows.h"
#include "convert/import/json.h"
#include "convert/import/safetensors.h"

namespace quant {

// The tensors "STEM.SUFFIX" of one matrix; remembers which were asked for.
class PackedParts {
public:
    PackedParts(const SafeTensors& tensors, const SafeTensor& lead, std::string stem, JsonValue settings)
        : tensors_(tensors), lead_(lead), stem_(std::move(stem)), settings_(settings) {}

    const SafeTensor& lead() const { return lead_; }
    const std::string& stem() const { return stem_; }
    JsonValue settings() const { return settings_; }  // "quantization_config"
    const std::vector<const SafeTensor*>& used() const { return used_; }

    const SafeTensor* find(std::string_view suffix);  // null: not there
    Result<const SafeTensor*> need(std::string_view suffix);
    // Some programs write a bias of zeros beside matrices that have none: it is left out.
    void drop_empty(std::string_view suffix);
    // "tensor x.qweight [8, 64]: WHAT"
    static Error wrong(const SafeTensor& tensor, const std::string& what);
    // An integer of the settings from `low` to `high`.
    Result<int64_t> setting(const char* name, int64_t low, int64_t high) const;

private:
    const SafeTensors& tensors_;
    const SafeTensor& lead_;
    std::string stem_;
    JsonValue settings_;
    std::vector<const SafeTensor*> used_;
};

bool is_type(const SafeTensor& tensor, std::string_view name);
Status expect_type(const SafeTensor& tensor, std::string_view name);
Status expect_real(const SafeTensor& tensor);
Status expect_shape(const SafeTensor& tensor, std::initializer_list<int64_t> shape);
Status expect_matrix(const SafeTensor& tensor);  // two dimensions, none 0

// To which group each column belongs: runs of equal length, or a table of the checkpoint (act-order).
class ColumnGroups {
public:
    // `table` may be null; else I32 [cols] with numbers below `groups`. Without it, groups * size must be the
    // columns, the last group may be shorter.
    static Result<ColumnGroups> make(const SafeTensor& lead, const SafeTensor* table, int64_t cols,
                                     int64_t groups, int64_t size);
    int64_t operator()(int64_t col) const {
        return table_ ? (*table_)[static_cast<size_t>(col)] : col / size_;
    }
    int64_t run() const { return table_ ? 0 : size_; }  // columns of a group; 0: groups by a table

private:
    int64_t size_ = 1;
    std::shared_ptr<const std::vector<int32_t>> table_;  // null where it would say col / size
};

// Codes less their zero points with a scale for every `run` columns, as some block format may hold them.
struct ExactCodes {
    int64_t run = 0;        // 0: groups are not in order
    int bits = 4;           // of a code
    int low = 0, high = 0;  // bounds of the codes less zero points
    std::function<void(int64_t row, float* out)> scales = {};   // one for each run
    std::function<void(int64_t row, int16_t* out)> codes = {};  // less zero points
    std::function<void(int64_t row, int* out)> zeros = {};      // one for each run; none: the middle of the codes
};
// Fills rows.exact with the formats whose grid is the same, or says in rows.inexact why there is none.
void find_exact_formats(RowStream& rows, ExactCodes codes);

// A scheme: tensors named STEM + lead begin a matrix if `open` says so. Rows with 0 columns: a plain tensor
// after all.
struct PackedScheme {
    const char* method;  // "quant_method" of config.json
    const char* lead;    // ".qweight"
    Result<RowStream> (*open)(PackedParts& parts);
};

Result<RowStream> open_gptq(PackedParts& parts);
Result<RowStream> open_awq(PackedParts& parts);
Result<RowStream> open_bitsandbytes(PackedParts& parts);
Result<RowStream> open_packed_integers(PackedParts& parts);  // compressed-tensors, several codes in a word
Result<RowStream> open_scaled_weights(PackedParts& parts);   // compressed-tensors, one code in a byte
Result<RowStream> open_scaled_blocks(PackedParts& parts);    // FP8 with weight_scale_inv

}  // namespace quant
