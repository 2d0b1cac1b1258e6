// REGEX=TYPE rows by which a user sets the format of single tensors. Knows names only.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "base/result.h"
#include "formats/format.h"

namespace quant {

// A format that quantize may write, by its own name; errors list what is known.
Result<const Format*> find_target_format(std::string_view name);

class TensorPatterns {
public:
    TensorPatterns();
    TensorPatterns(TensorPatterns&&) noexcept;
    TensorPatterns& operator=(TensorPatterns&&) noexcept;
    ~TensorPatterns();

    // "REGEX=TYPE": an ECMAScript expression that is searched in the tensor's name.
    Status add(std::string_view row);
    // A file of such rows, separated by white space.
    Status add_file(const std::string& path);

    struct Match {
        const Format* format = nullptr;  // null: no row matches
        std::string row;                 // as given
        size_t index = 0;
    };
    // The last row that matches wins.
    Result<Match> find(const std::string& tensor_name) const;
    // Rows that find() never returned, for a warning about mistyped ones.
    std::string unused() const;

private:
    struct State;
    std::unique_ptr<State> state_;
};

}  // namespace quant
