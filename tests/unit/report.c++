// The report's page from given figures: nothing from outside gets into the markup, nothing outside is referred to.
#include "convert/report/report.h"

#include "../check.h"
#include "convert/report/markup.h"

using namespace quant;

namespace {

ReportData example() {
    ReportData data;
    data.title = "<script>alert(1)</script> & \"friends\"";
    data.input = "a'b<c>.gguf";
    data.output = "out.gguf";
    data.type = "Q4_0";
    data.input_bytes = 8'000'000;
    data.output_bytes = 2'400'000;
    data.bits_per_weight = 4.5;
    data.source_perplexity = 30;
    data.tensors = {{"token_embd.weight", "Q6_K", "table", 1000, 820, 2000, true, 0.0001, -1},
                    {"blk.0.attn_q.weight", "Q4_0", "<b>", 1000, 560, 2000, true, 0.005, 0.004},
                    {"blk.1.ffn_down.weight", "IQ4_XS", "", 1000, 560, 2000, true, 0.02, 0.03},
                    {"blk.1.ffn_norm.weight", "F32", "one-dimensional", 10, 40, 40, false, 0, -1}};
    data.points = {{"this file", 2'400'000, 0.002, 0.0001, 30.2, false},
                   {"Q4_0", 2'400'000, 0.008, 0.0003, 31, true},
                   {"Q8_0", 4'500'000, 0.0001, 0.00001, 30.01, true}};
    data.histograms = {{"blk.1.ffn_down.weight", "IQ4_XS", 0.03, 4, {0.2, 0.6, 0.2}, {0.1, 0.8, 0.1}}};
    data.gains = {{"blk.0 <in>", "awq", 1.0, 0.8, true}, {"blk.1", "awq", 1.0, 1.1, false}};
    return data;
}

bool has(const std::string& page, const std::string& part) { return page.find(part) != std::string::npos; }

}  // namespace

TEST(text_is_escaped) {
    CHECK(html("<a href='x'>&\"") == "&lt;a href=&#39;x&#39;&gt;&amp;&quot;");
    CHECK(html(std::string("a\x01\xFF", 3)) == "a\xEF\xBF\xBD\xEF\xBF\xBD");
    CHECK(html("größe") == "größe");
    const std::string page = report_page(example());
    CHECK(!has(page, "<script"));
    CHECK(has(page, "&lt;script&gt;alert(1)&lt;/script&gt; &amp; &quot;friends&quot;"));
    CHECK(!has(page, "<in>"));
    CHECK(!has(page, "<td><b>"));
}

TEST(nothing_outside_is_referred_to) {
    const std::string page = report_page(example());
    for (const char* part : {"http", "src=", "href=", "url(", "@import", "<link", "<img", "<iframe", "srcset"}) CHECK(!has(page, part));
}

TEST(figures_are_there) {
    const std::string page = report_page(example());
    for (const char* part : {"2.40 MB", "4.0 times closer to the original than plain Q4_0", "4.50", "0.0020", "30.20", "kept at 1 of 2 places", "20 %", "3.0<small>IQ4_XS"})
        CHECK(has(page, part));
}

TEST(a_report_without_a_text_says_so) {
    ReportData data = example();
    data.points.clear();
    data.gains.clear();
    data.histograms.clear();
    data.text_note = "Not measured: no text";
    const std::string page = report_page(data);
    CHECK(has(page, "Not measured: no text"));
    CHECK(!has(page, "KL divergence against size"));
    CHECK(!has(page, "transform"));
}

// One shade for one error, the least and the largest at the ends.
TEST(shades_follow_errors) {
    const std::string page = report_page(example());
    CHECK(has(page, "<li class=h0>token_embd"));
    CHECK(has(page, "<td class=h9 title=\"blk.1.ffn_down.weight"));
}

TEST(figures_for_people) {
    CHECK(figure(0) == "0.00");
    CHECK(figure(0.01234) == "0.0123");
    CHECK(figure(4.567) == "4.57");
    CHECK(figure(1234.5) == "1234");
    CHECK(figure(0.00001234, 2) == "0.000012");
    CHECK(figure(1.2e-7, 2) == "1.2e-07");
}

TEST_MAIN
