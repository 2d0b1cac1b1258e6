// The sections of the page, in the order in which a reader asks.
#include <algorithm>
#include <cmath>
#include <map>

#include "base/log.h"
#include "convert/report/charts.h"
#include "convert/report/markup.h"
#include "convert/report/report.h"
#include "version.h"

namespace quant {

namespace {

std::string megabytes(uint64_t bytes) {
    const auto size = static_cast<double>(bytes);
    return size >= 1e9 ? figure(size / 1e9, 3) + " GB" : size >= 1e6 ? figure(size / 1e6, 3) + " MB" : figure(size / 1e3, 3) + " kB";
}

std::string percent(double share) { return share < 0 ? "–" : figure(100 * share, 3) + " %"; }

const ReportPoint* own_point(const ReportData& data) {
    for (const ReportPoint& point : data.points)
        if (!point.plain) return &point;
    return nullptr;
}

std::string section(const std::string& title, const std::string& explanation, const std::string& body) {
    return "<section><h2>" + html(title) + "</h2><p class=dim>" + html(explanation) + "</p>\n" + body + "</section>\n";
}

std::string tile(const std::string& name, const std::string& value, const std::string& more) {
    return "<div><dt>" + html(name) + "</dt><dd>" + html(value) + "<small>" + html(more) + "</small></dd></div>\n";
}

std::string tiles(const ReportData& data) {
    std::string out = "<dl class=tiles>\n";
    out += tile("Size", megabytes(data.output_bytes), "from " + megabytes(data.input_bytes));
    out += tile("Bits per weight", figure(data.bits_per_weight, 3), "formats " + data.type);
    if (const ReportPoint* own = own_point(data)) {
        out += tile("KL divergence", figure(own->divergence, 2), "± " + figure(own->divergence_error, 1) + " nats per token");
        out += tile("Perplexity", figure(own->perplexity, 4), "original " + figure(data.source_perplexity, 4));
    }
    return out + "</dl>\n";
}

// How it stands against the best plain mix that is not larger.
std::string verdict(const ReportData& data) {
    const ReportPoint* own = own_point(data);
    const ReportPoint* best = nullptr;
    for (const ReportPoint& point : data.points)
        if (point.plain && own && static_cast<double>(point.bytes) <= 1.01 * static_cast<double>(own->bytes) &&
            (!best || point.divergence < best->divergence))
            best = &point;
    if (!best || best->divergence <= 0 || own->divergence <= 0) return "";
    const double ratio = best->divergence / own->divergence;
    const std::string size = figure(static_cast<double>(best->bytes) / static_cast<double>(own->bytes) * 100, 3) + " % of the size";
    if (ratio > 1.02) return "<p class=verdict>" + html(figure(ratio, 2) + " times closer to the original than plain " + best->label + " (" + size + ").") + "</p>\n";
    if (ratio > 0.98) return "<p class=verdict>" + html("As close to the original as plain " + best->label + " (" + size + ").") + "</p>\n";
    return "<p class=verdict>" + html("Plain " + best->label + " (" + size + ") is " + figure(1 / ratio, 2) + " times closer to the original.") + "</p>\n";
}

std::string curve_section(const ReportData& data) {
    if (data.points.empty()) return section("Fidelity against size", data.text_note, "");
    std::vector<std::vector<std::string>> rows;
    std::vector<const ReportPoint*> points;
    for (const ReportPoint& point : data.points) points.push_back(&point);
    std::sort(points.begin(), points.end(), [](const auto* a, const auto* b) { return a->bytes < b->bytes; });
    for (const ReportPoint* point : points)
        rows.push_back({point->label, megabytes(point->bytes), figure(point->divergence, 3), "± " + figure(point->divergence_error, 1), figure(point->perplexity, 5)});
    return section("Fidelity against size", data.text_note,
                   "<div class=charts>" + size_curve(data, Curve::divergence) + size_curve(data, Curve::perplexity) + "</div>\n" +
                       html_details("The same as a table", html_table("Judged on the same text", {"file", "size", "KL, nats", "error", "perplexity"}, rows, 1)));
}

struct RoleSum {
    uint64_t weights = 0, bytes = 0, source_bytes = 0;
    std::map<std::string, size_t> formats;
};

std::string formats_of(const RoleSum& sum) {
    std::string out;
    for (const auto& [format, count] : sum.formats) out += (out.empty() ? "" : ", ") + format + (sum.formats.size() > 1 ? format_text(" × %zu", count) : "");
    return out;
}

std::string role_section(const ReportData& data) {
    std::vector<std::pair<std::string, RoleSum>> roles;
    RoleSum rest;
    for (const ReportTensor& tensor : data.tensors) {
        const std::string role = role_name(tensor.name);
        auto found = std::find_if(roles.begin(), roles.end(), [&](const auto& each) { return each.first == role; });
        if (tensor.quantized && found == roles.end()) found = roles.insert(roles.end(), {role, {}});
        RoleSum& sum = found != roles.end() ? found->second : rest;
        sum.weights += tensor.weights, sum.bytes += tensor.bytes, sum.source_bytes += tensor.source_bytes;
        ++sum.formats[tensor.format];
    }
    std::stable_sort(roles.begin(), roles.end(), [](const auto& a, const auto& b) { return a.second.bytes > b.second.bytes; });
    if (rest.weights > 0) roles.emplace_back("all others", rest);
    uint64_t most = 1;
    for (const auto& [role, sum] : roles) most = std::max({most, sum.bytes, sum.source_bytes});
    std::string body = "<div class=scroll><table><caption>Thick: now. Thin: in the source.</caption><thead><tr><th scope=col>role<th scope=col>size<th scope=col class=n>bytes<th scope=col class=n>bits</tr></thead><tbody>\n";
    for (const auto& [role, sum] : roles) {
        const auto width = [&](uint64_t bytes) { return format_text("<i style=\"width:%.1f%%\"></i>", 100 * static_cast<double>(bytes) / static_cast<double>(most)); };
        body += "<tr><th scope=row><b class=role>" + html(role) + "</b><div class=dim>" + html(formats_of(sum)) + "</div></th><td class=bar>" + width(sum.bytes) + width(sum.source_bytes) +
                "</td><td class=n>" + megabytes(sum.bytes) + "</td><td class=n>" + figure(8.0 * static_cast<double>(sum.bytes) / static_cast<double>(std::max<uint64_t>(sum.weights, 1)), 3) + "</td></tr>\n";
    }
    return section("Where the bytes are", "Size and bits per weight of all tensors that do the same in every layer.", body + "</tbody></table></div>\n");
}

std::string heat_section(const ReportData& data) {
    const bool any = std::any_of(data.tensors.begin(), data.tensors.end(), [](const ReportTensor& t) { return t.quantized; });
    if (!any) return "";
    const bool weighted = std::any_of(data.tensors.begin(), data.tensors.end(), [](const ReportTensor& t) { return t.weighted_error >= 0; });
    return section("Error of every tensor",
                   weighted ? "Squared difference of the weights relative to their squares, each column counted by how strongly it is used on the text."
                            : "Squared difference of the weights relative to their squares.",
                   heat_map(data.tensors));
}

std::string gain_section(const ReportData& data) {
    if (data.gains.empty()) return "";
    struct Sum { size_t places = 0, kept = 0; double before = 0, after = 0; };
    std::map<std::string, Sum> sums;
    std::vector<std::vector<std::string>> rows;
    for (const ReportGain& gain : data.gains) {
        Sum& sum = sums[gain.transform];
        ++sum.places;
        if (gain.kept) ++sum.kept, sum.before += gain.before, sum.after += gain.after;
        rows.push_back({gain.place, gain.transform, figure(gain.before, 3), figure(gain.after, 3), gain.before > 0 ? figure(100 * (gain.after / gain.before - 1), 2) + " %" : "–", gain.kept ? "kept" : "not kept"});
    }
    std::string body = "<ul>\n";
    for (const auto& [name, sum] : sums) {
        body += "<li><b>" + html(name) + "</b>: kept at " + format_text("%zu of %zu places", sum.kept, sum.places);
        if (sum.before > 0) body += ", where it takes <span class=yes>" + figure(100 * (1 - sum.after / sum.before), 2) + " %</span> off the loss";
        body += "</li>\n";
    }
    return section("What each transform gained", "Loss on text that the search for the transform did not see; kept only where it falls.",
                   body + "</ul>\n" + html_details("All places", html_table("Loss before and after", {"place", "transform", "before", "after", "change", ""}, rows, 2)));
}

std::string histogram_section(const ReportData& data) {
    if (data.histograms.empty()) return "";
    std::string body = "<div class=hists>";
    std::vector<std::vector<std::string>> rows;
    for (const ReportHistogram& h : data.histograms) {
        body += histogram_figure(h);
        double changed = 0;  // half the summed differences: the share of weights that changed their bin
        for (size_t i = 0; i < h.before.size(); ++i) changed += std::abs(h.before[i] - h.after[i]) / 2;
        const size_t middle = h.before.size() / 2;
        rows.push_back({h.tensor, h.format, percent(h.error), percent(h.before[middle]), percent(h.after[middle]), percent(changed)});
    }
    return section("The tensors with the largest errors", "How their weights are distributed; heights are square roots of shares, so that tails show.",
                   "<p class=dim><span class=\"key b\"></span>source &nbsp; <span class=\"key a\"></span>quantized</p>" + body + "</div>\n" +
                       html_details("The same as a table", html_table("σ: root mean square of the source", {"tensor", "format", "error", "near 0 before", "near 0 after", "moved"}, rows, 2)));
}

std::string plan_section(const ReportData& data) {
    std::vector<std::vector<std::string>> rows;
    for (const ReportTensor& t : data.tensors) {
        const double bits = 8.0 * static_cast<double>(t.bytes) / static_cast<double>(std::max<uint64_t>(t.weights, 1));
        rows.push_back({t.name, t.format, figure(bits, 3), std::to_string(t.bytes), t.quantized ? percent(t.error) : "", t.quantized && t.weighted_error >= 0 ? percent(t.weighted_error) : "", t.why});
    }
    const std::string table = html_table("Every tensor", {"tensor", "format", "bits", "bytes", "error", "weighted", "why"}, rows, 2);
    return section("The plan", "Which format each tensor has, and why.", html_details(format_text("%zu tensors", data.tensors.size()), table));
}

}  // namespace

std::string report_page(const ReportData& data) {
    const std::string title = html(data.title + " " + data.type);
    std::string out = "<!DOCTYPE html>\n<html lang=en><head><meta charset=utf-8><meta name=viewport content=\"width=device-width,initial-scale=1\">"
                      "<meta name=color-scheme content=\"light dark\"><title>" + title + " – quantization report</title><style>" + kReportStyle + "</style></head>\n<body><main>\n";
    out += "<h1>" + html(data.title) + "</h1><p class=dim>" + html(data.output) + "<br>" + html(data.how) + "</p>\n";
    out += tiles(data) + verdict(data) + curve_section(data) + heat_section(data) + role_section(data) + gain_section(data) + histogram_section(data) + plan_section(data);
    out += "<footer>Written by quant " + html(kVersion) + " from " + html(data.input) + ". This page needs no network.</footer>\n</main></body></html>\n";
    return out;
}

}  // namespace quant
