// Text in HTML.
#include "convert/report/markup.h"

#include <cmath>

#include "base/log.h"
#include "base/utf8.h"

namespace quant {

std::string html(std::string_view text) {
    constexpr const char* kReplacement = "\xEF\xBF\xBD";
    std::string out;
    for (size_t i = 0; i < text.size();) {
        const size_t length = utf8_length(text.substr(i));
        const char c = text[i];
        if (length == 0 || (length == 1 && (static_cast<unsigned char>(c) < 0x20 || c == 0x7F) && c != '\n' && c != '\t')) out += kReplacement;
        else if (c == '&') out += "&amp;";
        else if (c == '<') out += "&lt;";
        else if (c == '>') out += "&gt;";
        else if (c == '"') out += "&quot;";
        else if (c == '\'') out += "&#39;";
        else out += text.substr(i, length);
        i += length ? length : 1;
    }
    return out;
}

std::string figure(double value, int digits) {
    if (!std::isfinite(value)) return "–";
    const double size = std::abs(value);
    if (size != 0 && (size < 1e-5 || size >= 1e6)) return format_text("%.*e", digits - 1, value);
    const int before = size < 1 ? (size == 0 ? 1 : static_cast<int>(std::floor(std::log10(size))) + 1) : static_cast<int>(std::log10(size)) + 1;
    return format_text("%.*f", std::max(digits - before, 0), value);
}

std::string html_table(const std::string& caption, const std::vector<std::string>& titles,
                       const std::vector<std::vector<std::string>>& rows, size_t numbers) {
    const auto number = [&](size_t column) { return column >= numbers ? " class=n" : ""; };
    std::string out = "<div class=scroll><table><caption>" + html(caption) + "</caption><thead><tr>";
    for (size_t c = 0; c < titles.size(); ++c) out += std::string("<th scope=col") + number(c) + ">" + html(titles[c]) + "</th>";
    out += "</tr></thead><tbody>\n";
    for (const std::vector<std::string>& row : rows) {
        out += "<tr>";
        for (size_t c = 0; c < row.size(); ++c)
            out += c == 0 ? "<th scope=row>" + html(row[c]) + "</th>" : std::string("<td") + number(c) + ">" + html(row[c]) + "</td>";
        out += "</tr>\n";
    }
    return out + "</tbody></table></div>\n";
}

std::string html_details(const std::string& summary, const std::string& body) {
    return "<details><summary>" + html(summary) + "</summary>" + body + "</details>\n";
}

const char* const kReportStyle = R"(
:root{color-scheme:light dark;--page:#f6f5f2;--card:#fff;--ink:#1d1c1a;--dim:#5f5b55;--line:#e2dfd9;--soft:#efece6;--ours:#b4470f;--plain:#3b6a8f;--good:#1f6f43;
--h0:#fff6ea;--h1:#ffe9cf;--h2:#ffd9ad;--h3:#ffc685;--h4:#fbae5d;--h5:#f0933c;--hl:#1d1c1a;--h6:#c05a14;--h7:#9c430e;--h8:#78310b;--h9:#562207;--hh:#fff}
@media(prefers-color-scheme:dark){:root{--page:#151412;--card:#1f1d1b;--ink:#eeebe6;--dim:#b0aaa1;--line:#37342f;--soft:#2a2724;--ours:#ff9a57;--plain:#84b8de;--good:#77cf9d;
--h0:#26211c;--h1:#35281d;--h2:#47311f;--h3:#5d3b1f;--h4:#75461d;--h5:#8a4d17;--hl:#fff;--h6:#e08a3c;--h7:#f0a65e;--h8:#fac48c;--h9:#ffe2bf;--hh:#1d1c1a}}
*{box-sizing:border-box}
body{margin:0;background:var(--page);color:var(--ink);font:16px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif;overflow-wrap:anywhere}
main{max-width:1080px;margin:0 auto;padding:24px 16px 48px}
h1{font-size:1.6rem;line-height:1.2;margin:0 0 4px}
h2{font-size:1.15rem;margin:0 0 4px}
h3{font-size:.95rem;margin:0}
p{margin:4px 0 12px}
.dim,caption,figcaption{color:var(--dim);font-size:.875rem}
section{background:var(--card);border:1px solid var(--line);border-radius:12px;padding:20px;margin-top:16px}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(150px,1fr));gap:12px;margin:20px 0 0;padding:0}
.tiles div{background:var(--card);border:1px solid var(--line);border-radius:12px;padding:14px 16px}
.tiles dt{color:var(--dim);font-size:.8rem}
.tiles dd{margin:0;font-size:1.5rem;font-weight:650;line-height:1.25;font-variant-numeric:tabular-nums}
.tiles dd small{display:block;font-size:.8rem;font-weight:400;color:var(--dim)}
.verdict{font-size:1.05rem;border-left:4px solid var(--ours);padding:2px 0 2px 12px;margin:18px 0 0}
.scroll{overflow-x:auto;position:relative}
table{border-collapse:collapse;width:100%;font-size:.875rem;font-variant-numeric:tabular-nums}
caption{text-align:left;padding:4px 0 8px}
th,td{padding:5px 8px;text-align:left;border-top:1px solid var(--line);vertical-align:top;font-weight:400}
thead th{border-top:0;color:var(--dim);font-size:.8rem;vertical-align:bottom}
.n{text-align:right;white-space:nowrap}
td.bar{width:45%;min-width:70px}
b.role{font-weight:400;overflow-wrap:normal;white-space:nowrap}
.bar i{display:block;height:10px;margin-top:6px;border-radius:3px;background:var(--ours)}
.bar i+i{margin-top:2px;height:4px;background:var(--line)}
table.heat{table-layout:fixed;border-spacing:2px;border-collapse:separate}
.heat th,.heat td{border:0;padding:3px 2px;text-align:center}
.heat thead th{font-size:.78rem}
.heat tbody th{color:var(--dim);font-size:.8rem;width:2.2em;text-align:right;padding-right:4px;vertical-align:middle}
.heat td{border-radius:5px;line-height:1.15;font-size:.82rem;overflow-wrap:normal}
.heat small{display:block;font-size:.68rem;opacity:.92}
.heat .first{width:2.4em}
.h0,.h1,.h2,.h3,.h4,.h5{color:var(--hl)}.h6,.h7,.h8,.h9{color:var(--hh)}
.h0{background:var(--h0)}.h1{background:var(--h1)}.h2{background:var(--h2)}.h3{background:var(--h3)}.h4{background:var(--h4)}
.h5{background:var(--h5)}.h6{background:var(--h6)}.h7{background:var(--h7)}.h8{background:var(--h8)}.h9{background:var(--h9)}
.scale{display:flex;align-items:center;gap:2px;font-size:.8rem;color:var(--dim);margin:10px 0 0;flex-wrap:wrap}
.scale i{width:22px;height:12px;border-radius:3px;margin:0}
.scale span{margin:0 6px}
.tables{display:flex;flex-wrap:wrap;gap:8px;margin:12px 0 0;padding:0;list-style:none;font-size:.85rem}
.tables li{padding:4px 10px;border-radius:6px}
.charts{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,380px),1fr));gap:20px}
figure{margin:0;min-width:0}
svg{display:block;width:100%;overflow:visible}
svg text{fill:var(--dim);font-size:12px;font-family:inherit}
svg .grid{stroke:var(--line)}
svg .path{stroke:var(--plain);stroke-width:1.5;opacity:.45}
svg .plain{fill:var(--plain)}svg text.plain{fill:var(--plain)}
svg .ours{fill:var(--ours)}svg text.ours{fill:var(--ours);font-weight:650}
svg .halo{fill:none;stroke:var(--ours);stroke-width:2}
.hists{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,240px),1fr));gap:20px}
.hists path{vector-effect:non-scaling-stroke}
.before{fill:var(--plain);opacity:.28}
.after{fill:none;stroke:var(--ours);stroke-width:1.5}
.sizes{padding:0 7% 0 10%}
.axis{display:flex;justify-content:space-between;border-top:1px solid var(--line);font-size:.75rem;color:var(--dim)}
.key{display:inline-block;width:1.1em;height:.7em;border-radius:2px;margin-right:.35em}
.key.b{background:var(--plain);opacity:.35}.key.a{border-top:2px solid var(--ours);height:.25em;vertical-align:middle}
.yes{color:var(--good)}
details{margin-top:12px}
summary{cursor:pointer;padding:6px 0;color:var(--dim);font-size:.9rem}
summary:focus-visible{outline:2px solid var(--ours);outline-offset:2px}
footer{color:var(--dim);font-size:.8rem;margin-top:20px}
@media(max-width:520px){main{padding:16px 10px 32px}section{padding:14px 12px}.tiles{grid-template-columns:1fr 1fr;gap:8px}.tiles dd{font-size:1.25rem}
.heat td{font-size:.72rem}.heat small{font-size:.6rem;letter-spacing:-.02em}.heat.many small{display:none}th,td{padding:5px 4px}td.bar{width:24%;min-width:50px}th[scope=row] .dim{font-size:.75rem}}
@media print{body{background:#fff}section,.tiles div{break-inside:avoid}}
)";

}  // namespace quant
