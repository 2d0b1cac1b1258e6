// Reads JSON: one pass into a flat list of nodes, then views. Depth, size and UTF-8 are checked before any
// view exists; errors name the origin, line and column. Knows nothing of what the documents mean.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace quant {

class Json;

// One value of a document that must outlive it. All getters are safe on any kind: they answer "no" instead of
// failing.
class JsonValue {
public:
    enum class Kind : uint8_t { missing, null, boolean, number, string, array, object };
    JsonValue() = default;  // missing

    Kind kind() const;
    explicit operator bool() const { return kind() != Kind::missing; }
    bool is(Kind kind) const { return this->kind() == kind; }
    const char* kind_name() const;

    std::optional<bool> boolean() const;
    std::optional<int64_t> integer() const;  // a number without fraction and exponent that fits
    std::optional<double> real() const;      // any number
    std::optional<std::string_view> text() const;
    size_t size() const;  // elements of an array, members of an object

    JsonValue operator[](std::string_view key) const;  // of an object; missing if there is none
    JsonValue operator[](const char* key) const { return (*this)[std::string_view(key)]; }

    // Elements of an array or values of an object, in the order of the text: for (JsonValue item :
    // value.items()).
    class Items;
    Items items() const;
    std::string_view key() const;  // of a member of an object, else ""

private:
    friend class Json;
    JsonValue(const Json* document, uint32_t node) : document_(document), node_(node) {}
    const Json* document_ = nullptr;
    uint32_t node_ = 0;
};

class Json {
public:
    // `origin` is used in messages. At most limits::kJsonDepth levels; equal keys in one object are an error.
    static Result<Json> parse(std::string_view text, const std::string& origin);
    JsonValue root() const { return JsonValue(this, 0); }

private:
    friend class JsonValue;
    friend struct JsonParser;
    friend class JsonValue::Items;
    struct Node {
        JsonValue::Kind kind = JsonValue::Kind::null;
        uint32_t next = 0;       // the node behind this one and all that it contains
        uint32_t count = 0;      // elements; bytes of a string or number; 1 for true
        uint32_t key_bytes = 0;  // of a member's key
        uint64_t text = 0;       // where its string begins; a key ends where its value's string begins
    };
    std::vector<Node> nodes_;
    std::string texts_;  // unescaped strings, one behind the other
};

class JsonValue::Items {
public:
    struct Iterator {
        const Json* document;
        uint32_t node;
        uint32_t left;
        JsonValue operator*() const { return JsonValue(document, node); }
        Iterator& operator++() {
            node = document->nodes_[node].next;
            --left;
            return *this;
        }
        bool operator!=(const Iterator& other) const { return left != other.left; }
    };
    Iterator begin() const { return {document, first, count}; }
    Iterator end() const { return {document, 0, 0}; }

    const Json* document = nullptr;
    uint32_t first = 0, count = 0;
};

}  // namespace quant
