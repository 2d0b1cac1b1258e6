// Holds tokens back until their text is known to be safe to show.
#include "cli/token_text.h"

#include <algorithm>

namespace quant {

TokenText::TokenText(std::vector<std::string> stops) : stops_(std::move(stops)) {
    std::erase_if(stops_, [](const std::string& stop) { return stop.empty(); });
}

// Bytes at the end of the text that may be the beginning of a stop string.
size_t TokenText::held_back() const {
    size_t longest = 0;
    for (const std::string& stop : stops_)
        for (size_t length = std::min(stop.size() - 1, text_.size()); length > longest; --length)
            if (text_.ends_with(std::string_view(stop).substr(0, length))) longest = length;
    return longest;
}

// Hands out the tokens whose text lies within the first `bytes` of the waiting text.
std::vector<ShownToken> TokenText::release(size_t bytes) {
    std::vector<ShownToken> out;
    size_t end = 0;
    while (!waiting_.empty() && end + waiting_.front().text.size() <= bytes) {
        end += waiting_.front().text.size();
        out.push_back(std::move(waiting_.front()));
        waiting_.pop_front();
    }
    text_.erase(0, end);
    return out;
}

std::vector<ShownToken> TokenText::push(int32_t id, float log_probability, std::string_view bytes) {
    waiting_.push_back({id, log_probability, characters_.push(bytes)});
    text_ += waiting_.back().text;
    size_t stop_at = std::string::npos;
    for (const std::string& stop : stops_) stop_at = std::min(stop_at, text_.find(stop));
    if (stop_at == std::string::npos) return release(text_.size() - held_back());

    stopped_ = true;
    std::vector<ShownToken> out = release(stop_at);
    const size_t left = stop_at - [&] {
        size_t released = 0;
        for (const ShownToken& token : out) released += token.text.size();
        return released;
    }();
    if (left > 0) {  // the stop string begins inside this token
        out.push_back(std::move(waiting_.front()));
        out.back().text.resize(left);
    }
    waiting_.clear();
    text_.clear();
    return out;
}

std::vector<ShownToken> TokenText::finish() {
    if (stopped_) return {};
    if (std::string rest = characters_.flush(); !rest.empty()) waiting_.push_back({-1, 0, std::move(rest)});
    text_.clear();
    std::vector<ShownToken> out(std::make_move_iterator(waiting_.begin()), std::make_move_iterator(waiting_.end()));
    waiting_.clear();
    return out;
}

}  // namespace quant
