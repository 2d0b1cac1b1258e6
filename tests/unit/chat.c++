// Chats as models expect them: equal to the byte with what the templates' own language renders.
#include "text/chat.h"

#include <fstream>
#include <iterator>

#include "convert/import/json.h"
#include "tests/check.h"
#include "text/template_literals.h"

using namespace quant;

namespace {

std::string read(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
}

std::string text_of(JsonValue value) { return std::string(value.text().value_or("")); }

std::vector<ChatMessage> messages_of(JsonValue list) {
    std::vector<ChatMessage> messages;
    for (const JsonValue item : list.items())
        messages.push_back({text_of(item["role"]), text_of(item["content"])});
    return messages;
}

const std::vector<ChatMessage> kThree = {
    {"system", "S"}, {"user", " U1 "}, {"assistant", "A1"}, {"user", "U2"}};

std::string rendered(const std::string& name, std::vector<ChatMessage> messages = kThree,
                     Thinking thinking = Thinking::automatic) {
    auto format = ChatTemplate::named(name);
    CHECK_MSG(format.ok(), name);
    if (!format) return {};
    auto text = format->render(messages, {.bos = "<s>", .eos = "</s>", .thinking = thinking});
    CHECK_MSG(text.ok(), name + (text.ok() ? "" : ": " + text.error().text));
    return text ? *text : std::string();
}

}  // namespace

TEST(templates_of_public_models) {
    SHARED_OR_SKIP(shared);
    auto json = Json::parse(read(shared + "/reference/chat/templates.json"), "templates.json");
    CHECK_MSG(json.ok(), json.ok() ? "" : json.error().text);
    if (!json) return;
    int equal = 0, refused = 0;
    for (const JsonValue row : json->root()["rows"].items()) {
        const std::string name = text_of(row["template"]), what = name + ", " + text_of(row["conversation"]);
        const std::string prompt = text_of(row["prompt"]);
        auto format = ChatTemplate::recognised(text_of(json->root()["templates"][name]));
        // The reference rendered each template with the BOS text of its family.
        const std::string bos = prompt.starts_with("<bos>")               ? "<bos>"
                                : prompt.starts_with("<|begin_of_text|>") ? "<|begin_of_text|>"
                                                                          : "<s>";
        auto found = format ? format->render(messages_of(row["messages"]), {.bos = bos, .eos = "</s>"})
                            : Result<std::string>(format.error());
        if (row["error"]) {
            CHECK_MSG(!found.ok(), what + " should be refused: " + text_of(row["error"]));
            refused += !found.ok();
            continue;
        }
        CHECK_MSG(found.ok() && *found == prompt,
                  what + "\nexpected " + prompt + "\nfound    " + (found ? *found : found.error().text));
        equal += found.ok() && *found == prompt;
    }
    std::printf("# equal %d, refused where the template refuses %d\n", equal, refused);
    CHECK(equal + refused == 64 && refused == 6);
}

TEST(formats_by_name) {
    CHECK(rendered("chatml") ==
          "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\n U1 "
          "<|im_end|>\n<|im_start|>assistant\nA1<|im_end|>\n"
          "<|im_start|>user\nU2<|im_end|>\n<|im_start|>assistant\n");
    CHECK(rendered("llama2") == "<s>[INST] <<SYS>>\nS\n<</SYS>>\n\nU1 [/INST] A1 </s><s>[INST] U2 [/INST]");
    CHECK(rendered("llama3") ==
          "<s><|start_header_id|>system<|end_header_id|>\n\nS<|eot_id|><|start_header_id|>user<|end_header_"
          "id|>\n\nU1<|eot_id|>"
          "<|start_header_id|>assistant<|end_header_id|>\n\nA1<|eot_id|><|start_header_id|>user<|end_header_"
          "id|>\n\nU2<|eot_id|>"
          "<|start_header_id|>assistant<|end_header_id|>\n\n");
    CHECK(rendered("mistral-v1") == "<s>[INST] S\n\n U1  [/INST]A1</s>[INST] U2 [/INST]");
    CHECK(rendered("mistral-v3") == "<s>[INST]  U1 [/INST] A1</s>[INST] S\n\nU2[/INST]");
    CHECK(rendered("mistral-tekken") == "<s>[INST] U1 [/INST]A1</s>[INST]S\n\nU2[/INST]");
    CHECK(rendered("mistral-v7") ==
          "<s>[SYSTEM_PROMPT] S[/SYSTEM_PROMPT][INST]  U1 [/INST] A1</s>[INST] U2[/INST]");
    CHECK(rendered("gemma3") ==
          "<s><start_of_turn>user\nS\n\nU1<end_of_turn>\n<start_of_turn>model\nA1<end_of_turn>\n"
          "<start_of_turn>user\nU2<end_of_turn>\n<start_of_turn>model\n");
    std::string names = ChatTemplate::names() + " ";
    int count = 0;
    for (size_t at = 0, end; (end = names.find(' ', at)) != std::string::npos; at = end + 1, ++count)
        CHECK(ChatTemplate::named(names.substr(at, end - at)).ok());
    CHECK(count == 20);
    auto none = ChatTemplate::named("no-such");
    CHECK(!none.ok() && none.error().text.find("chatml") != std::string::npos &&
          none.error().code == Code::usage);
}

TEST(thinking_on_and_off) {
    const std::vector<ChatMessage> one = {{"user", "U"}};
    const std::string user = "<|im_start|>user\nU<|im_end|>\n<|im_start|>assistant\n";
    CHECK(rendered("qwen3", one) == user && rendered("qwen3", one, Thinking::on) == user);
    CHECK(rendered("qwen3", one, Thinking::off) == user + "<think>\n\n</think>\n\n");
    CHECK(rendered("qwen3.5", one) == user + "<think>\n" &&
          rendered("qwen3.5", one, Thinking::off) == user + "<think>\n\n</think>\n\n");
    const std::string silent = rendered("smollm3", one, Thinking::off);
    CHECK(silent.find("Reasoning Mode: /no_think\n") != std::string::npos &&
          silent.ends_with("assistant\n<think>\n\n</think>\n"));
    CHECK(rendered("smollm3", {{"system", "Be brief. /no_think"}, {"user", "U"}}) ==
          rendered("smollm3", {{"system", "Be brief."}, {"user", "U"}}, Thinking::off));
    // Thoughts of earlier answers are not repeated.
    const std::string thought =
        rendered("qwen3", {{"user", "U"}, {"assistant", "<think>\nlong\n</think>\n\nShort."}, {"user", "V"}});
    CHECK(thought.find("long") == std::string::npos &&
          thought.find("assistant\nShort.<|im_end|>") != std::string::npos);
    CHECK(ChatTemplate::named("qwen3")->spoken("<think>\nlong\n</think>\n\nShort.") == "Short.");
    CHECK(ChatTemplate::named("chatml")->spoken("<think>x</think>y") == "<think>x</think>y");
    CHECK(ChatTemplate::named("gpt-oss")->spoken(
              "<|channel|>analysis<|message|>a<|end|><|start|>assistant<|channel|>final<|message|>b") == "b");
}

TEST(messages_in_wrong_order) {
    const auto format = ChatTemplate::named("chatml");
    const std::vector<ChatMessage> wrong[] = {{},
                                              {{"system", "S"}},
                                              {{"assistant", "A"}},
                                              {{"user", "U"}, {"user", "V"}},
                                              {{"user", "U"}, {"assistant", "A"}},
                                              {{"user", "U"}, {"system", "S"}, {"user", "V"}},
                                              {{"tool", "T"}}};
    for (const auto& messages : wrong) CHECK(!format->render(messages, {}).ok());
    CHECK(!ChatTemplate::named("gemma")->render(kThree, {}).ok());
}

// What templates of one family differ in is read from their text.
TEST(details_of_templates) {
    const auto shape = [](const std::string& text) {
        auto found = ChatTemplate::recognised(text);
        CHECK_MSG(found.ok(), found.ok() ? "" : found.error().text);
        return found ? found->shape() : ChatShape{};
    };
    CHECK(shape("{% if messages[0]['role'] != 'system' %}{{ '<|im_start|>system\\nIt\\'s a "
                "test.<|im_end|>\\n' }}{% endif %}<|im_end|>")
              .default_system == "It's a test.");
    CHECK(shape("{{ bos_token + '<|im_start|>' + '<|im_end|>' }}").opening == "{bos}");
    const ChatShape old = shape(
        "{{ bos_token }}{% if user %}{{ '[INST] ' + message['content'] + ' [/INST]' }}{% else %}"
        "{{ message['content'] + eos_token + ' ' }}{% endif %}");
    CHECK(old.user.before == "[INST] " && old.user.after == " [/INST]" && old.assistant.after == "{eos} " &&
          old.assistant.before.empty());
    CHECK(old.place == SystemPlace::refused);
    const ChatShape updated = shape(
        "{%- if loop.first and system_message is defined %}{{- \" [INST] \" + system_message + \"\\n\\n\" + "
        "x + \" [/INST]\" }}"
        "{{- \" \" + message[\"content\"] + eos_token}}");
    CHECK(updated.user.before == " [INST] " && updated.assistant.before == " " &&
          updated.place == SystemPlace::first_user);
    // DeepSeek R1 opens its thoughts; some templates close them at once unless thinking is asked for.
    const ChatShape thinks = shape(
        "{{'<｜User｜>' + x}}{% if add_generation_prompt %}{{'<｜Assistant｜><think>\\n'}}{% if not "
        "enable_thinking %}{{- '</think>' -}}{% endif %}");
    CHECK(thinks.generate == "<｜Assistant｜><think>\n</think>" && thinks.generate_silent == thinks.generate);
    CHECK(thinks.generate_thinking == "<｜Assistant｜><think>\n");
    CHECK(shape("{{'<｜User｜>' + x}}{% if add_generation_prompt %}{{'<｜Assistant｜>'}}{% endif %}")
              .generate == "<｜Assistant｜>");
    for (const std::string text : {"", "{{", "{% '", "{# [INST] #}", "{{ '\\", "plain <|im_start|> text"})
        ChatTemplate::recognised(text).ok();  // either answer, no harm
    CHECK(!ChatTemplate::recognised("{% for m in messages %}{{ m.content }}{% endfor %}").ok());
}

TEST(template_texts_of_any_kind) {
    CHECK(template_literals("{# 'no' #} 'no' {{ 'a\\n' + \"b'\" }}{% if x == 'c' %}").size() == 3);
    CHECK(template_literals("{{ 'a\\n' }}")[0].value == "a\n");
    for (const std::string start : {"{{ '", "{% \"", "{#", "{{ '\\"})
        CHECK(template_literals(start).size() <= 1);
    std::string many;
    for (int i = 0; i < 20000; ++i) many += "{{'<|im_start|>system\\n' + ";
    CHECK(template_literals(many).size() > 0);
    ChatTemplate::recognised(many + "<|im_end|> add_generation_prompt").ok();
}

TEST_MAIN
