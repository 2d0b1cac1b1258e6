// The known chat formats, and how a model's template is recognised: by the marks in its text. What templates
// of one family differ in (a default system message, spaces around marks, thinking) is read from their string
// literals.
#include <algorithm>
#include <functional>

#include "base/file.h"
#include "text/chat.h"
#include "text/template_literals.h"

namespace quant {

namespace {

constexpr size_t kTemplateBytes = size_t{1} << 20;  // the longest known has 20 KB

struct Source {
    std::string_view text;
    std::vector<TemplateLiteral> literals;

    bool has(std::string_view part) const { return text.find(part) != std::string_view::npos; }
    // The first literal that contains `part`.
    const TemplateLiteral* with(std::string_view part) const {
        for (const TemplateLiteral& literal : literals)
            if (literal.value.find(part) != std::string::npos) return &literal;
        return nullptr;
    }
    // Whether the code before a literal ends with `code`, blanks at the end aside.
    bool follows(const TemplateLiteral& literal, std::string_view code) const {
        std::string_view before = text.substr(0, literal.begin);
        before = before.substr(0, before.find_last_not_of(" \t\r\n") + 1);
        return before.ends_with(code);
    }
    // What comes behind the last mention of add_generation_prompt: how an answer is opened.
    Source generation() const {
        const size_t at = text.rfind("add_generation_prompt");
        const size_t tag = at == std::string_view::npos ? at : text.rfind("{%", at);
        const std::string_view tail = tag == std::string_view::npos ? std::string_view() : text.substr(tag);
        return {tail, template_literals(tail)};
    }
};

using Refine = void (*)(const Source& source, ChatShape& shape);

// <|im_start|>ROLE and its relatives: Qwen 1.5 to 3.5, SmolLM2, Hermes, Yi ...
void refine_chatml(const Source& source, ChatShape& shape) {
    constexpr std::string_view kOpen = "<|im_start|>system\n", kClose = "<|im_end|>";
    if (source.has("bos_token")) shape.opening = "{bos}";
    for (const TemplateLiteral& literal : source.literals) {
        const size_t end = literal.value.find(kClose);
        if (literal.value.starts_with(kOpen) && end != std::string::npos && end > kOpen.size())
            shape.default_system = literal.value.substr(kOpen.size(), end - kOpen.size());
    }
    shape.drops_thoughts = source.has("split('</think>')");
    shape.trim =
        source.has("render_content(message.content, true)|trim") || source.has("message['content']|trim");
    const Source opening = source.generation();
    const std::string plain = shape.generate;
    if (opening.with("<think>\n\n</think>\n\n")) shape.generate_silent = plain + "<think>\n\n</think>\n\n";
    for (const TemplateLiteral& literal : opening.literals)
        if (literal.value.ends_with("<think>\n")) shape.generate = plain + "<think>\n";
}

void refine_smollm3(const Source& source, ChatShape& shape) {
    for (const TemplateLiteral& literal : source.literals) {
        const size_t end = literal.value.rfind("\n\n");
        if (!literal.value.starts_with("You are") || end == std::string::npos) continue;
        (shape.default_system.empty() ? shape.default_system : shape.default_system_silent) =
            literal.value.substr(0, end);
    }
}

// The tag that ends before `at`, from its {% on; empty if there is none.
std::string_view tag_before(std::string_view text, size_t at) {
    const size_t end = text.rfind("%}", at);
    const size_t begin = end == std::string_view::npos ? end : text.rfind("{%", end);
    return begin == std::string_view::npos ? std::string_view() : text.substr(begin, end - begin);
}

void refine_granite(const Source& source, ChatShape& shape) {
    std::string head, tail;
    bool found = false;
    for (size_t i = 0; i < source.literals.size(); ++i) {
        const TemplateLiteral& literal = source.literals[i];
        bool complete = false;
        if (!found && source.follows(literal, "set system_message =")) {
            head = template_sum(source.text, source.literals, i, complete);
            found = true;
        }
        // Without tools, documents and the like, the branch of "else" adds an ending.
        if (tail.empty() && source.follows(literal, "set system_message = system_message +") &&
            tag_before(source.text, literal.begin).find("else") != std::string_view::npos)
            tail = literal.value;
    }
    shape.default_system = head + tail;
}

// All Mistral templates up to v3 and Tekken: the marks with their spaces, and where the system message goes.
void refine_mistral(const Source& source, ChatShape& shape) {
    if (const TemplateLiteral* open = source.with("[INST]"))
        if (open->value.find("[/INST]") == std::string::npos) shape.user.before = open->value;
    if (const TemplateLiteral* close = source.with("[/INST]")) shape.user.after = close->value;
    const bool spaced = source.has("\" \" + message[\"content\"]") || source.has("' ' + message['content']");
    const bool space_after = source.has("eos_token + ' '") || source.has("eos_token + \" \"");
    shape.assistant = {spaced ? " " : "", space_after ? "{eos} " : "{eos}"};
    shape.place = source.has("loop.last and system_message")    ? SystemPlace::last_user
                  : source.has("loop.first and system_message") ? SystemPlace::first_user
                                                                : SystemPlace::refused;
}

void refine_mistral7(const Source& source, ChatShape& shape) {
    const auto take = [&](std::string_view mark, std::string& part) {
        if (const TemplateLiteral* literal = source.with(mark)) part = literal->value;
    };
    take("[SYSTEM_PROMPT]", shape.system.before);
    take("[/SYSTEM_PROMPT]", shape.system.after);
    take("[INST]", shape.user.before);
    take("[/INST]", shape.user.after);
    const bool spaced = source.has("' ' + message['content']") || source.has("\" \" + message[\"content\"]");
    shape.assistant.before = spaced ? " " : "";
    for (size_t i = 0; i < source.literals.size(); ++i) {
        if (!source.follows(source.literals[i], "set default_system_message =")) continue;
        bool complete = false;
        const std::string sum = template_sum(source.text, source.literals, i, complete);
        if (complete) shape.default_system = sum;
        return;
    }
}

void refine_llama3(const Source& source, ChatShape& shape) {
    if (!source.has("strftime_now"))
        for (const TemplateLiteral& literal : source.literals)  // a date written into the template
            if (source.follows(literal, "set date_string =")) {
                std::string& before = shape.system.before;
                const size_t at = before.find("{date:");
                if (at != std::string::npos) before.replace(at, before.find('}', at) + 1 - at, literal.value);
            }
}

void refine_deepseek(const Source& source, ChatShape& shape) {
    shape.drops_thoughts = source.has("split('</think>')");
    const Source opening = source.generation();
    const std::string plain = shape.generate;
    if (!opening.with("<think>")) return;  // DeepSeek V2 and V3
    shape.generate = shape.generate_thinking = plain + "<think>\n";
    if (opening.has("if not enable_thinking") && opening.with("</think>"))
        shape.generate = shape.generate_silent = plain + "<think>\n</think>";
}

void refine_phi3(const Source& source, ChatShape& shape) {
    if (source.has("bos_token")) shape.opening = "{bos}";
}

struct Row {
    const char* name;
    std::vector<std::string_view> marks;  // all in the template's text; empty: only by name
    ChatShape shape;
    Refine refine;
};

ChatShape chatml() {
    return {.system = {"<|im_start|>system\n", "<|im_end|>\n"},
            .user = {"<|im_start|>user\n", "<|im_end|>\n"},
            .assistant = {"<|im_start|>assistant\n", "<|im_end|>\n"},
            .generate = "<|im_start|>assistant\n"};
}

ChatShape smollm3() {
    ChatShape shape = chatml();
    shape.system.before =
        "<|im_start|>system\n## Metadata\n\nKnowledge Cutoff Date: June 2025\nReasoning Mode: {mode}\n\n"
        "## Custom Instructions\n\n";
    shape.always_system = shape.reasoning_mode = true;
    shape.generate_silent = "<|im_start|>assistant\n<think>\n\n</think>\n";
    return shape;
}

ChatShape qwen3(bool opens_thoughts) {
    ChatShape shape = chatml();
    shape.drops_thoughts = true;
    shape.generate_silent = shape.generate + "<think>\n\n</think>\n\n";
    if (opens_thoughts) shape.generate += "<think>\n", shape.trim = true;
    return shape;
}

ChatShape llama3() {
    return {.opening = "{bos}",
            .system = {"<|start_header_id|>system<|end_header_id|>\n\n", "<|eot_id|>"},
            .user = {"<|start_header_id|>user<|end_header_id|>\n\n", "<|eot_id|>"},
            .assistant = {"<|start_header_id|>assistant<|end_header_id|>\n\n", "<|eot_id|>"},
            .generate = "<|start_header_id|>assistant<|end_header_id|>\n\n",
            .trim = true};
}

ChatShape llama31() {
    ChatShape shape = llama3();
    shape.system.before += "Cutting Knowledge Date: December 2023\nToday Date: {date:%d %b %Y}\n\n";
    shape.always_system = true;
    return shape;
}

ChatShape mistral(std::string open, std::string close, std::string answer, SystemPlace place) {
    return {.opening = "{bos}",
            .system = {"", "\n\n"},
            .user = {std::move(open), std::move(close)},
            .assistant = {std::move(answer), "{eos}"},
            .generate = "",
            .place = place};
}

ChatShape mistral7(const std::string& space) {
    return {.opening = "{bos}",
            .system = {"[SYSTEM_PROMPT]" + space, "[/SYSTEM_PROMPT]"},
            .user = {"[INST]" + space, "[/INST]"},
            .assistant = {space, "{eos}"},
            .generate = ""};
}

ChatShape gemma(SystemPlace place) {
    return {.opening = "{bos}",
            .system = {"", "\n\n"},
            .user = {"<start_of_turn>user\n", "<end_of_turn>\n"},
            .assistant = {"<start_of_turn>model\n", "<end_of_turn>\n"},
            .generate = "<start_of_turn>model\n",
            .place = place,
            .trim = true};
}

// <|user|> and so on, each turn closed by `close`.
ChatShape tagged(const std::string& close) {
    return {.system = {"<|system|>\n", close},
            .user = {"<|user|>\n", close},
            .assistant = {"<|assistant|>\n", close},
            .generate = "<|assistant|>\n"};
}

ChatShape granite() {
    return {.system = {"<|start_of_role|>system<|end_of_role|>", "<|end_of_text|>\n"},
            .user = {"<|start_of_role|>user<|end_of_role|>", "<|end_of_text|>\n"},
            .assistant = {"<|start_of_role|>assistant<|end_of_role|>", "<|end_of_text|>\n"},
            .generate = "<|start_of_role|>assistant<|end_of_role|>"};
}

ChatShape harmony() {
    return {.opening =
                "<|start|>system<|message|>You are ChatGPT, a large language model trained by OpenAI.\n"
                "Knowledge cutoff: 2024-06\nCurrent date: {date:%Y-%m-%d}\n\nReasoning: medium\n\n"
                "# Valid channels: analysis, commentary, final. Channel must be included for every "
                "message.<|end|>",
            .system = {"<|start|>developer<|message|># Instructions\n\n", "\n\n<|end|>"},
            .user = {"<|start|>user<|message|>", "<|end|>"},
            .assistant = {"<|start|>assistant<|channel|>final<|message|>", "<|end|>"},
            .generate = "<|start|>assistant"};
}

ChatShape deepseek(bool thinks) {
    ChatShape shape{.opening = "{bos}",
                    .user = {"<｜User｜>", ""},
                    .assistant = {"<｜Assistant｜>", "<｜end▁of▁sentence｜>"},
                    .generate = thinks ? "<｜Assistant｜><think>\n" : "<｜Assistant｜>"};
    shape.drops_thoughts = thinks;
    return shape;
}

ChatShape llama2() {
    return {.system = {"<<SYS>>\n", "\n<</SYS>>\n\n"},
            .user = {"{bos}[INST] ", " [/INST]"},
            .assistant = {" ", " {eos}"},
            .generate = "",
            .place = SystemPlace::first_user,
            .trim = true};
}

// In the order in which templates are compared: what is more particular comes first.
const std::vector<Row>& rows() {
    static const std::vector<Row> all = {
        {"gpt-oss", {"<|start|>", "<|channel|>", "<|message|>"}, harmony(), nullptr},
        {"smollm3", {"<|im_start|>", "Reasoning Mode: "}, smollm3(), refine_smollm3},
        {"qwen3", {}, qwen3(false), nullptr},
        {"qwen3.5", {}, qwen3(true), nullptr},
        {"chatml", {"<|im_start|>", "<|im_end|>"}, chatml(), refine_chatml},
        {"llama3.1", {"<|start_header_id|>", "Cutting Knowledge Date"}, llama31(), refine_llama3},
        {"llama3", {"<|start_header_id|>", "<|eot_id|>"}, llama3(), nullptr},
        {"gemma3", {"<start_of_turn>", "first_user_prefix"}, gemma(SystemPlace::first_user), nullptr},
        {"gemma", {"<start_of_turn>", "<end_of_turn>"}, gemma(SystemPlace::refused), nullptr},
        {"granite", {"<|start_of_role|>", "<|end_of_role|>"}, granite(), refine_granite},
        {"deepseek-r1", {}, deepseek(true), nullptr},
        {"deepseek", {"<｜User｜>", "<｜Assistant｜>"}, deepseek(false), refine_deepseek},
        {"phi3", {"<|user|>", "<|assistant|>", "<|end|>"}, tagged("<|end|>\n"), refine_phi3},
        {"zephyr", {"<|user|>", "<|assistant|>", "eos_token"}, tagged("{eos}\n"), nullptr},
        {"mistral-v7", {"[SYSTEM_PROMPT] "}, mistral7(" "), refine_mistral7},
        {"mistral-v7-tekken", {"[SYSTEM_PROMPT]", "[INST]"}, mistral7(""), refine_mistral7},
        {"llama2", {"[INST]", "<<SYS>>"}, llama2(), nullptr},
        {"mistral-tekken", {}, mistral("[INST]", "[/INST]", "", SystemPlace::last_user), nullptr},
        {"mistral-v3", {}, mistral("[INST] ", "[/INST]", " ", SystemPlace::last_user), nullptr},
        {"mistral-v1",
         {"[INST]", "[/INST]"},
         mistral("[INST] ", " [/INST]", "", SystemPlace::first_user),
         refine_mistral},
    };
    return all;
}

Error unknown(const std::string& what) {
    return usage_error(what + "; known are " + ChatTemplate::names() +
                       "; choose one with --chat-template NAME");
}

}  // namespace

std::string ChatTemplate::names() {
    std::string all;
    for (const Row& row : rows()) all += (all.empty() ? "" : " ") + std::string(row.name);
    return all;
}

Result<ChatTemplate> ChatTemplate::named(std::string_view name) {
    for (const Row& row : rows())
        if (name == row.name) {
            ChatTemplate found;
            found.name_ = row.name;
            found.shape_ = row.shape;
            return found;
        }
    return unknown("unknown chat format '" + escaped(name.substr(0, 80)) + "'");
}

Result<ChatTemplate> ChatTemplate::recognised(std::string_view text) {
    if (text.size() > kTemplateBytes)
        return unknown("the model's chat template has " + std::to_string(text.size()) +
                       " bytes, which is no template's size");
    const Source source{text, template_literals(text)};
    if (source.has("for tool in tools") && !source.has("if tools") && !source.has("tools is"))
        return unknown("the model's chat template works with tools only");
    for (const Row& row : rows()) {
        const bool all = std::all_of(row.marks.begin(), row.marks.end(),
                                     [&](std::string_view mark) { return source.has(mark); });
        if (row.marks.empty() || !all) continue;
        ChatTemplate found;
        found.name_ = row.name;
        found.shape_ = row.shape;
        if (row.refine) row.refine(source, found.shape_);
        return found;
    }
    return unknown("the model's chat template is of no known format");
}

}  // namespace quant
