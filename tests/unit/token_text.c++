// Text of generated tokens: stop strings never show, characters are never split, nothing is lost.
#include "cli/token_text.h"

#include "base/rng.h"
#include "tests/check.h"
#include "cli/run_options.h"

using namespace quant;

namespace {

// All text shown when `pieces` come one after the other; `ids` collects the tokens shown.
std::string shown(const std::vector<std::string>& stops, const std::vector<std::string>& pieces, std::vector<int32_t>* ids = nullptr) {
    TokenText text(stops);
    std::string out;
    const auto take = [&](const std::vector<ShownToken>& tokens) {
        for (const ShownToken& token : tokens) {
            out += token.text;
            if (ids) ids->push_back(token.id);
        }
    };
    for (size_t i = 0; i < pieces.size() && !text.stopped(); ++i) take(text.push(static_cast<int32_t>(i), 0, pieces[i]));
    take(text.finish());
    return out;
}

}  // namespace

TEST(without_stops_each_token_shows_at_once) {
    TokenText text({});
    const auto first = text.push(7, -0.5f, "Once");
    CHECK(first.size() == 1 && first[0].id == 7 && first[0].text == "Once" && first[0].log_probability == -0.5f);
    CHECK(text.push(8, 0, "").size() == 1);
    CHECK(text.finish().empty());
}

TEST(characters_stay_whole) {
    TokenText text({});
    const auto begin = text.push(0, 0, "a\xe2\x82");
    CHECK(begin.size() == 1 && begin[0].text == "a");
    const auto end = text.push(1, 0, "\xac!");
    CHECK(end.size() == 1 && end[0].text == "\xe2\x82\xac!");
    CHECK(shown({}, {"x", "\xf0\x9f"}) == "x\xef\xbf\xbd");
}

TEST(stop_strings_do_not_show) {
    std::vector<int32_t> ids;
    CHECK(shown({"END"}, {"one ", "two E", "N", "D three"}, &ids) == "one two ");
    CHECK((ids == std::vector<int32_t>{0, 1}));
    CHECK(shown({"END"}, {"END"}) == "");
    CHECK(shown({"END"}, {"EN", "EN", "d"}) == "ENENd");
    CHECK(shown({"END"}, {"E", "N"}) == "EN");
    CHECK(shown({"aab"}, {"a", "a", "a", "b"}) == "a");
    CHECK(shown({"xyz", "y"}, {"ax", "yz"}) == "a");       // the earlier of two
    CHECK(shown({"\xe2\x82\xac"}, {"5\xe2", "\x82", "\xac."}) == "5");
    CHECK(shown({""}, {"a", "b"}) == "ab");
}

TEST(held_back_text_is_not_shown_early) {
    TokenText text({"\nUser:"});
    CHECK(text.push(0, 0, "Hi").size() == 1);
    CHECK(text.push(1, 0, "\n").empty());
    CHECK(text.push(2, 0, "Us").empty());
    const auto released = text.push(3, 0, "eful");
    CHECK(released.size() == 3 && released[0].id == 1 && released[2].text == "eful");
    CHECK(!text.stopped());
}

// Against the definition: the text up to the first occurrence of any stop string, whatever the pieces are.
TEST(random_pieces_match_the_definition) {
    Rng rng(3);
    for (int round = 0; round < 20000; ++round) {
        std::vector<std::string> stops(1 + rng.below(3)), pieces;
        for (std::string& stop : stops)
            for (size_t i = 0, n = 1 + rng.below(4); i < n; ++i) stop += static_cast<char>('a' + rng.below(2));
        std::string all;
        for (size_t i = 0, n = rng.below(8); i < n; ++i) {
            std::string piece;
            for (size_t j = 0, m = rng.below(4); j < m; ++j) piece += static_cast<char>('a' + rng.below(3));
            pieces.push_back(piece);
            all += piece;
        }
        // Generation ends with the token that completes a stop string: later text can not hold an earlier one.
        size_t consumed = 0, cut = std::string::npos;
        for (size_t i = 0; i < pieces.size() && cut == std::string::npos; ++i) {
            consumed += pieces[i].size();
            for (const std::string& stop : stops) cut = std::min(cut, all.substr(0, consumed).find(stop));
        }
        CHECK(shown(stops, pieces) == all.substr(0, cut));
    }
}

TEST(escapes) {
    CHECK(unescape("a\\nb\\t\\\\\\\"\\'\\r") == "a\nb\t\\\"'\r");
    CHECK(unescape("\\x41\\x4a\\x4G\\x4") == "AJ\\x4G\\x4");
    CHECK(unescape("\\q\\") == "\\q\\");
}

TEST_MAIN
