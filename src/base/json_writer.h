// Writes JSON text piece by piece into a string: commas, quotes and escapes are right by construction.
// Numbers do not depend on the locale; NaN and infinities become null; bytes that are not UTF-8 become U+FFFD.
#pragma once

#include <concepts>
#include <cstdint>
#include <string>
#include <string_view>

namespace quant {

class JsonWriter {
public:
    // Appends to `out`, which the caller keeps alive and may print and clear between pieces.
    explicit JsonWriter(std::string& out) : out_(out) {}

    void begin_object() { open('{'); }
    void end_object() { close('}'); }
    void begin_array() { open('['); }
    void end_array() { close(']'); }
    void key(std::string_view name);

    void value(std::string_view text);
    void value(const char* text) { value(std::string_view(text)); }
    void value(const std::string& text) { value(std::string_view(text)); }
    void value(bool truth);
    void value(double number);  // the shortest digits that read back equal
    void value(float number);
    template <std::integral T>
    void value(T number) {
        if constexpr (std::signed_integral<T>) integer(static_cast<int64_t>(number));
        else unsigned_integer(static_cast<uint64_t>(number));
    }
    void null();

    template <class T>
    void member(std::string_view name, const T& content) {
        key(name);
        value(content);
    }

private:
    void separate();
    void open(char bracket);
    void close(char bracket);
    void quoted(std::string_view text);
    void integer(int64_t number);
    void unsigned_integer(uint64_t number);

    std::string& out_;
    bool comma_ = false;  // the next key or value follows another
};

}  // namespace quant
