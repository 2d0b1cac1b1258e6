// The JSON reader: what RFC 8259 allows is read, everything else is one line with line and column.
#include "convert/import/json.h"

#include <fstream>
#include <iterator>

#include "base/limits.h"
#include "base/rng.h"
#include "tests/check.h"
#include "tests/full.h"

using namespace quant;

namespace {

using Kind = JsonValue::Kind;

void refused(const std::string& text, const std::string& place, const std::string& part) {
    auto json = Json::parse(text, "f");
    CHECK_MSG(!json.ok(), "accepted " + text.substr(0, 60));
    if (json) return;
    CHECK_MSG(json.error().text.starts_with("f:" + place + ": expected ") &&
                  json.error().text.find(part) != std::string::npos,
              text.substr(0, 60) + " -> " + json.error().text);
    CHECK(json.error().code == Code::input && json.error().text.find('\n') == std::string::npos);
}

std::string nested(size_t levels, char open, char close) {
    return std::string(levels, open) + std::string(levels, close);
}

}  // namespace

TEST(values) {
    auto json =
        Json::parse(" {\"a\" : [1, -2.5e3 ,true,false,null, \"x\"], \"b\":{\"c\":{}} ,\"\":[]}\r\n\t", "f");
    CHECK_MSG(json.ok(), json.ok() ? "" : json.error().text);
    if (!json) return;
    const JsonValue root = json->root();
    CHECK(root.size() == 3 && root.is(Kind::object) && root["a"].size() == 6 &&
          root["b"]["c"].is(Kind::object));
    std::vector<JsonValue> items;
    for (const JsonValue item : root["a"].items()) items.push_back(item);
    CHECK(items[0].integer() == 1 && items[0].real() == 1.0 && items[1].real() == -2500.0 &&
          !items[1].integer());
    CHECK(items[2].boolean() == true && items[3].boolean() == false && items[4].is(Kind::null) &&
          items[5].text() == "x");
    CHECK(!items[0].text() && !items[5].integer() && !items[5].boolean() && items[5].size() == 0);
    CHECK(!root["none"] && !root["none"]["deeper"] && root["none"].is(Kind::missing) &&
          root["none"].items().begin().left == 0);
    CHECK(root[""].is(Kind::array));
    std::string keys;
    for (const JsonValue member : root.items()) keys += std::string(member.key()) + ",";
    CHECK(keys == "a,b,,");
}

TEST(numbers) {
    for (const auto& [text, value] : {std::pair{"0", 0.0},
                                      {"-0", -0.0},
                                      {"12.5", 12.5},
                                      {"1e2", 100.0},
                                      {"1E+2", 100.0},
                                      {"5e-1", 0.5},
                                      {"1e-400", 0.0}}) {
        auto json = Json::parse(text, "f");
        CHECK_MSG(json.ok() && (json->root().real() == value || std::string(text) == "1e-400"), text);
    }
    CHECK(Json::parse("9223372036854775807", "f")->root().integer() == INT64_MAX);
    CHECK(!Json::parse("9223372036854775808", "f")->root().integer() &&
          Json::parse("9223372036854775808", "f")->root().real());
    CHECK(!Json::parse("1e999", "f")->root().real());
    for (const char* text :
         {"01", "+1", "1.", ".5", "1e", "1e+", "-", "--1", "0x1", "1_0", "NaN", "Infinity", "-Infinity"})
        CHECK_MSG(!Json::parse(text, "f").ok(), text);
}

TEST(strings) {
    auto json = Json::parse(R"("\"\\\/\b\f\n\r\tÄ\u00e4\u20AC\ud83d\ude00😀\u0000")", "f");
    CHECK_MSG(json.ok(), json.ok() ? "" : json.error().text);
    if (json) CHECK(json->root().text() == std::string_view("\"\\/\b\f\n\r\tÄä€😀😀\0", 24));
    refused("\"a", "1:3", "the end of a string");
    refused("\"a\nb\"", "1:3", "the end of a string");
    refused("\"\\x\"", "1:3", "an escape");
    refused("\"\\u12\"", "1:4", "hexadecimal");
    refused("\"\\ud800\"", "1:8", "surrogate");
    refused("\"\\ud800\\u0041\"", "1:14", "surrogate");
    refused("\"\\udc00\"", "1:8", "surrogate");
    refused("\"\xFF\"", "1:2", "UTF-8");
    refused("\"\xED\xA0\x80\"", "1:2", "UTF-8");
}

TEST(structure) {
    refused("", "1:1", "a value, found the end");
    refused("{", "1:2", "a string");
    refused("{\"a\"}", "1:5", "':'");
    refused("{\"a\":1,}", "1:8", "a string");
    refused("{\"a\":1 \"b\":2}", "1:8", "',' or '}'");
    refused("{a:1}", "1:2", "a string");
    refused("[1,]", "1:4", "a value");
    refused("[1 2]", "1:4", "',' or ']'");
    refused("[1", "1:3", "',' or ']'");
    refused("\n\n  tru", "3:3", "a value");
    refused("1 2", "1:3", "nothing behind");
    refused("// c\n1", "1:1", "a value");
    refused("{\"a\":1,\"a\":2}", "1:11", "'a' again");
    refused("{\"a\\u0062\":1,\"ab\":2}", "1:18", "'ab' again");
    CHECK(Json::parse("\xEF\xBB\xBF[]", "f").ok());
}

TEST(depth) {
    CHECK(Json::parse(nested(limits::kJsonDepth, '[', ']'), "f").ok());
    refused(nested(limits::kJsonDepth + 1, '[', ']'), "1:65", "64 levels");
    refused(nested(100000, '[', ']'), "1:65", "64 levels");
    std::string objects;
    for (int i = 0; i < 1000; ++i) objects += "{\"a\":";
    CHECK(!Json::parse(objects, "f").ok());
}

// Many keys, many values: time and memory stay linear.
TEST(large_documents) {
    const size_t count = check::full() ? 1000000 : 100000;
    std::string text = "{";
    for (size_t i = 0; i < count; ++i) text += "\"k" + std::to_string(i) + "\":" + std::to_string(i) + ",";
    text.back() = '}';
    auto json = Json::parse(text, "f");
    CHECK(json.ok() && json->root().size() == count &&
          json->root()["k" + std::to_string(count - 1)].integer() == static_cast<int64_t>(count - 1));
}

// Every prefix and many damages of a document: an answer, never harm.
TEST(damaged_documents) {
    const std::string whole =
        R"({"a":[1,-2.5e3,true,false,null,"x\u00e4\ud83d\ude00"],"b":{"c":{"d":[[[]]]}},"long key":"Ä€😀"})";
    CHECK(Json::parse(whole, "f").ok());
    for (size_t size = 0; size < whole.size(); ++size)
        CHECK_MSG(!Json::parse(whole.substr(0, size), "f").ok(), whole.substr(0, size));
    Rng rng(1);
    const uint64_t rounds = check::rounds("damaged documents", 20000, 500000);
    for (uint64_t i = 0; i < rounds; ++i) {
        std::string damaged = whole;
        for (uint64_t n = rng.below(4) + 1; n > 0; --n)
            damaged[rng.below(damaged.size())] = static_cast<char>(rng.below(256));
        auto json = Json::parse(damaged, "f");
        if (json)
            for (const JsonValue member : json->root().items()) CHECK(member.key().size() <= damaged.size());
    }
}

TEST(files_of_published_models) {
    SHARED_OR_SKIP(shared);
    for (const std::string name : {"gpt2", "falcon", "llama2", "phi-3"}) {
        std::ifstream file(shared + "/vocab/" + name + "/tokenizer.json", std::ios::binary);
        auto json = Json::parse(std::string(std::istreambuf_iterator<char>(file), {}), name);
        CHECK_MSG(json.ok() && json->root()["model"]["vocab"].size() > 30000, name);
    }
}

TEST_MAIN
