// Errors as values: a Result<T> holds a T or an Error with a code and one line of text.
// Knows nothing of files, models or formats; no function of ours throws (only std::bad_alloc passes).
#pragma once

#include <string>
#include <utility>
#include <variant>

namespace quant {

// The value of a code is the exit code of the program.
enum class Code {
    ok = 0,
    input = 1,   // a file's content is not what its format promises
    usage = 2,   // a wrong option, argument or combination of them
    io = 3,      // the operating system refused to open, read or write
    memory = 4,  // out of memory
    interrupted = 5,  // stopped by a signal; main turns it into 128 + the signal's number
};

struct Error {
    Code code = Code::input;
    std::string text;  // one line: names file, tensor or key, what was expected, what was found
};

template <class T>
class [[nodiscard]] Result {
public:
    Result(T value) : state_(std::in_place_index<0>, std::move(value)) {}
    Result(Error error) : state_(std::in_place_index<1>, std::move(error)) {}

    bool ok() const { return state_.index() == 0; }
    explicit operator bool() const { return ok(); }
    T& value() { return *std::get_if<0>(&state_); }
    const T& value() const { return *std::get_if<0>(&state_); }
    T& operator*() { return value(); }
    const T& operator*() const { return value(); }
    T* operator->() { return &value(); }
    const T* operator->() const { return &value(); }
    const Error& error() const { return *std::get_if<1>(&state_); }
    Error& error() { return *std::get_if<1>(&state_); }

private:
    std::variant<T, Error> state_;
};

template <>
class [[nodiscard]] Result<void> {
public:
    Result() = default;
    Result(Error error) : error_(std::move(error)) {}

    bool ok() const { return error_.code == Code::ok; }
    explicit operator bool() const { return ok(); }
    const Error& error() const { return error_; }
    Error& error() { return error_; }

private:
    Error error_{Code::ok, {}};
};

using Status = Result<void>;

inline Error input_error(std::string text) { return {Code::input, std::move(text)}; }
inline Error usage_error(std::string text) { return {Code::usage, std::move(text)}; }
inline Error io_error(std::string text) { return {Code::io, std::move(text)}; }

// TRY(expression): returns its error from the function around it.
#define TRY(expression)                                                       \
    do {                                                                      \
        if (auto try_status_ = (expression); !try_status_.ok())               \
            return std::move(try_status_.error());                            \
    } while (0)

#define QUANT_JOIN2(a, b) a##b
#define QUANT_JOIN(a, b) QUANT_JOIN2(a, b)

// LET(name, expression): declares `auto name` with the value, or returns the error.
#define LET(name, expression)                                                 \
    auto QUANT_JOIN(let_, __LINE__) = (expression);                           \
    if (!QUANT_JOIN(let_, __LINE__).ok())                                     \
        return std::move(QUANT_JOIN(let_, __LINE__).error());                 \
    auto name = std::move(QUANT_JOIN(let_, __LINE__).value())

}  // namespace quant
