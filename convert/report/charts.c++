// Scales are logarithmic where figures span decades.
#include "convert/report/charts.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "base/log.h"
#include "convert/plan/recipe.h"
#include "convert/report/markup.h"

namespace quant {

namespace {

constexpr int kShades = 10;
constexpr size_t kColumnsWithFormats = 8;  // on a narrow screen

// Shades by the logarithm of the error between the least and the largest.
struct Shades {
    double least = 0, most = 0;
    int of(double error) const {
        if (error <= least || most <= least) return 0;
        const double place = std::log(error / least) / std::log(most / least);
        return std::clamp(static_cast<int>(place * kShades), 0, kShades - 1);
    }
};

Shades shades_of(const std::vector<ReportTensor>& tensors) {
    Shades shades;
    for (const ReportTensor& tensor : tensors) {
        if (!tensor.quantized || tensor.shown() <= 0) continue;
        shades.least = shades.least == 0 ? tensor.shown() : std::min(shades.least, tensor.shown());
        shades.most = std::max(shades.most, tensor.shown());
    }
    return shades;
}

std::string percent(double error) { return error < 0 ? "?" : figure(100 * error, 2); }

// The order of the forward pass, as far as names are known.
std::vector<std::string> in_order(std::vector<std::string> roles) {
    static constexpr const char* kOrder[] = {"attn_qkv", "attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down"};
    const auto place = [](const std::string& role) { return std::find(std::begin(kOrder), std::end(kOrder), role) - std::begin(kOrder); };
    std::stable_sort(roles.begin(), roles.end(), [&](const std::string& a, const std::string& b) { return place(a) < place(b); });
    return roles;
}

std::string short_role(const std::string& role) {
    if (role == "attn_output") return "out";
    for (const char* prefix : {"attn_", "ffn_"})
        if (role.starts_with(prefix)) return role.substr(std::string(prefix).size());
    return role;
}

std::string cell(const ReportTensor& tensor, const Shades& shades) {
    const std::string title = html(tensor.name + ": " + tensor.format + ", relative squared error " + percent(tensor.shown()) + " %");
    return format_text("<td class=h%d title=\"", shades.of(tensor.shown())) + title + "\">" + percent(tensor.shown()) + "<small>" + html(tensor.format) +
           "</small></td>";
}

std::string scale_legend(const Shades& shades) {
    std::string out = "<div class=scale><span>" + percent(shades.least) + " %</span>";
    for (int i = 0; i < kShades; ++i) out += format_text("<i class=h%d></i>", i);
    return out + "<span>" + percent(shades.most) + " %</span>logarithmic</div>\n";
}

std::string outside_layers(const std::vector<ReportTensor>& tensors, const Shades& shades) {
    std::string out;
    for (const ReportTensor& tensor : tensors)
        if (tensor.quantized && layer_of(tensor.name) < 0)
            out += format_text("<li class=h%d>", shades.of(tensor.shown())) + html(role_name(tensor.name)) + " " + html(tensor.format) + ", " +
                   percent(tensor.shown()) + " %</li>\n";
    return out.empty() ? out : "<ul class=tables>" + out + "</ul>\n";
}

// ---- curves ----

struct Frame {
    double x0 = 0, x1 = 1, y0 = 0, y1 = 1;  // of the data, y in what is drawn (a logarithm or not)
    // In percent of the drawing; room for labels at the edges.
    double x(double value) const { return 15 + 76 * (value - x0) / (x1 - x0); }
    double y(double value) const { return 90 - 80 * (value - y0) / (y1 - y0); }
};

double height_of(const ReportPoint& point, Curve which) {
    return which == Curve::divergence ? std::log10(std::max(point.divergence, 1e-9)) : point.perplexity;
}

Frame frame_of(const ReportData& data, Curve which) {
    Frame f;
    f.x0 = f.y0 = INFINITY;
    f.x1 = f.y1 = -INFINITY;
    for (const ReportPoint& point : data.points) {
        const auto x = static_cast<double>(point.bytes);
        f.x0 = std::min(f.x0, x), f.x1 = std::max(f.x1, x);
        f.y0 = std::min(f.y0, height_of(point, which)), f.y1 = std::max(f.y1, height_of(point, which));
    }
    if (which == Curve::perplexity && data.source_perplexity > 0) f.y0 = std::min(f.y0, data.source_perplexity);
    if (f.x1 <= f.x0) f.x0 *= 0.9, f.x1 = f.x0 * 1.3 + 1;
    if (f.y1 - f.y0 < 1e-6) f.y0 -= 0.5, f.y1 += 0.5;
    return f;
}

std::string at(double value) { return format_text("%.2f%%", value); }

std::string line(const char* of, double x1, double y1, double x2, double y2) {
    return std::string("<line class=") + of + " x1=\"" + at(x1) + "\" y1=\"" + at(y1) + "\" x2=\"" + at(x2) + "\" y2=\"" + at(y2) + "\"/>";
}

// Labels beside points, where there is room on a narrow screen; a label without room is left to the table.
class Labels {
public:
    // Anchor and offsets of the label of a point at (x, y) percent; false: no room.
    bool place(double x, double y, const std::string& text, std::string& attributes) {
        static constexpr struct { const char* anchor; double dx, dy; } kPlaces[] = {
            {"start", 8, -6}, {"end", -8, -6}, {"start", 8, 15}, {"end", -8, 15}, {"middle", 0, -12}, {"middle", 0, 22}};
        const double width = 6.8 * static_cast<double>(text.size());
        for (const auto& p : kPlaces) {
            const double px = x * kWide / 100 + p.dx, py = y * kHigh / 100 + p.dy;
            const double left = p.anchor[0] == 's' ? px : p.anchor[0] == 'e' ? px - width : px - width / 2;
            const Box box{left, py - 11, left + width, py + 3};
            if (box.x0 < 0 || box.x1 > kWide) continue;
            if (std::any_of(taken_.begin(), taken_.end(), [&](const Box& b) { return b.x0 < box.x1 && box.x0 < b.x1 && b.y0 < box.y1 && box.y0 < b.y1; })) continue;
            taken_.push_back(box);
            attributes = format_text(" text-anchor=\"%s\" dx=\"%g\" dy=\"%g\"", p.anchor, p.dx, p.dy);
            return true;
        }
        return false;
    }
    void take(double x, double y) {
        taken_.push_back({x * kWide / 100 - 5, y * kHigh / 100 - 5, x * kWide / 100 + 5, y * kHigh / 100 + 5});
    }
    // Of a grid line, above it at the left edge.
    void take_text(double y, const std::string& text) { taken_.push_back({0, y * kHigh / 100 - 15, 6.8 * static_cast<double>(text.size()), y * kHigh / 100 - 2}); }

private:
    static constexpr double kWide = 310, kHigh = 260;
    struct Box { double x0, y0, x1, y1; };
    std::vector<Box> taken_;
};

std::string grid_line(double y, const std::string& label, Labels& labels) {
    labels.take_text(y, label);
    return line("grid", 0, y, 100, y) + "<text x=\"0\" y=\"" + at(y) + "\" dy=\"-4\">" + label + "</text>\n";
}

// Heights of 1, 2 and 5 times powers of ten for a logarithm, else of four even steps.
std::string grid(const Frame& f, Curve which, Labels& labels) {
    std::string out;
    if (which == Curve::divergence) {
        const bool few = f.y1 - f.y0 > 1.6;
        for (int power = static_cast<int>(std::floor(f.y0)); power <= static_cast<int>(std::ceil(f.y1)); ++power)
            for (const double mantissa : {1.0, 2.0, 5.0}) {
                const double value = power + std::log10(mantissa);
                if ((few && mantissa > 1) || value < f.y0 - 0.05 || value > f.y1 + 0.1) continue;
                out += grid_line(f.y(value), figure(std::pow(10, value), 1), labels);
            }
        return out;
    }
    for (int i = 0; i <= 4; ++i) {
        const double value = f.y0 + (f.y1 - f.y0) * i / 4;
        out += grid_line(f.y(value), figure(value, 4), labels);
    }
    return out;
}

std::string points(const ReportData& data, const Frame& f, Curve which, Labels& labels) {
    std::string out;
    for (const ReportPoint& point : data.points) labels.take(f.x(static_cast<double>(point.bytes)), f.y(height_of(point, which)));
    for (const ReportPoint& point : data.points) {
        const double x = f.x(static_cast<double>(point.bytes)), y = f.y(height_of(point, which));
        const char* of = point.plain ? "plain" : "ours";
        const std::string place = "cx=\"" + at(x) + "\" cy=\"" + at(y) + "\"";
        out += "<circle class=" + std::string(of) + " " + place + (point.plain ? " r=\"4\"/>" : " r=\"5\"/>");
        if (!point.plain) out += "<circle class=halo " + place + " r=\"9\"/>";
        std::string attributes;
        if (labels.place(x, y, point.label, attributes))
            out += "<text class=" + std::string(of) + " x=\"" + at(x) + "\" y=\"" + at(y) + "\"" + attributes + ">" + html(point.label) + "</text>";
        out += "\n";
    }
    return out;
}

std::string path_of_plain(const ReportData& data, const Frame& f, Curve which) {
    std::vector<const ReportPoint*> plain;
    for (const ReportPoint& point : data.points)
        if (point.plain) plain.push_back(&point);
    std::sort(plain.begin(), plain.end(), [](const auto* a, const auto* b) { return a->bytes < b->bytes; });
    std::string out;
    for (size_t i = 1; i < plain.size(); ++i)
        out += line("path", f.x(static_cast<double>(plain[i - 1]->bytes)), f.y(height_of(*plain[i - 1], which)), f.x(static_cast<double>(plain[i]->bytes)),
                    f.y(height_of(*plain[i], which)));
    return out;
}

// The outline of bins as steps, 1 unit wide each, in a box 100 high.
std::string steps(const std::vector<double>& bins, double most, bool closed) {
    std::string path = closed ? "M0 100" : format_text("M0 %.2f", 100 - 100 * std::sqrt(bins[0] / most));
    for (size_t i = 0; i < bins.size(); ++i)
        path += format_text("%s %.2fH%zu", closed && i == 0 ? "L0" : "V", 100 - 100 * std::sqrt(bins[i] / most), i + 1);
    return path + (closed ? "V100Z" : "");
}

}  // namespace

std::string role_name(const std::string& tensor) {
    std::string name = tensor;
    if (layer_of(name) >= 0) name.erase(0, name.find('.', 4) + 1);
    if (name.ends_with(".weight")) name.resize(name.size() - 7);
    return name;
}

std::string heat_map(const std::vector<ReportTensor>& tensors) {
    std::vector<std::string> roles;
    std::map<int64_t, std::map<std::string, const ReportTensor*>> layers;
    for (const ReportTensor& tensor : tensors) {
        const int64_t layer = layer_of(tensor.name);
        if (layer < 0 || !tensor.quantized) continue;
        const std::string role = role_name(tensor.name);
        if (std::find(roles.begin(), roles.end(), role) == roles.end()) roles.push_back(role);
        layers[layer][role] = &tensor;
    }
    roles = in_order(std::move(roles));
    const Shades shades = shades_of(tensors);
    std::string out;
    if (!layers.empty()) {
        out = std::string("<div class=scroll><table class=\"heat") + (roles.size() > kColumnsWithFormats ? " many" : "") +
              "\"><caption>Relative squared error in percent and format, by layer and role</caption><thead><tr><th scope=col class=first title=\"layer\">L</th>";
        for (const std::string& role : roles) out += "<th scope=col title=\"" + html(role) + "\">" + html(short_role(role)) + "</th>";
        out += "</tr></thead><tbody>\n";
        for (const auto& [layer, cells] : layers) {
            out += format_text("<tr><th scope=row>%lld</th>", static_cast<long long>(layer));
            for (const std::string& role : roles) {
                const auto found = cells.find(role);
                out += found == cells.end() ? "<td></td>" : cell(*found->second, shades);
            }
            out += "</tr>\n";
        }
        out += "</tbody></table></div>\n";
    }
    return out + outside_layers(tensors, shades) + scale_legend(shades);
}

std::string size_curve(const ReportData& data, Curve which) {
    const Frame f = frame_of(data, which);
    const bool divergence = which == Curve::divergence;
    const char* title = divergence ? "KL divergence against size" : "Perplexity against size";
    std::string out = std::string("<figure><h3>") + title + "</h3><svg height=\"260\" role=img aria-label=\"" + title + ":";
    for (const ReportPoint& point : data.points)
        out += " " + html(point.label) + " " + figure(static_cast<double>(point.bytes) / 1e6, 4) + " MB, " +
               (divergence ? figure(point.divergence, 3) : figure(point.perplexity, 5)) + ";";
    Labels labels;
    out += "\">\n" + grid(f, which, labels);
    if (!divergence && data.source_perplexity > 0) {
        const double y = f.y(data.source_perplexity);
        out += line("path", 0, y, 100, y) + "<text x=\"100%\" y=\"" + at(y) + "\" dy=\"16\" text-anchor=end>original</text>";
    }
    out += path_of_plain(data, f, which) + points(data, f, which, labels) + "</svg>\n<div class=\"axis sizes\">";
    out += "<span>" + figure(f.x0 / 1e6, 3) + " MB</span><span>size of the file</span><span>" + figure(f.x1 / 1e6, 3) + " MB</span></div>";
    return out + "<figcaption>" + (divergence ? "Mean over tokens, in nats, logarithmic. Lower is closer to the original." : "Lower is better.") + "</figcaption></figure>\n";
}

std::string histogram_figure(const ReportHistogram& h) {
    double most = 1e-12;
    for (const std::vector<double>* bins : {&h.before, &h.after})
        for (const double share : *bins) most = std::max(most, share);
    const std::string label = h.tensor + " in " + h.format + ", relative squared error " + percent(h.error) + " %";
    const std::string box = format_text("viewBox=\"0 0 %zu 100\"", h.before.size());
    return "<figure><h3>" + html(h.tensor) + "</h3><svg height=\"110\" " + box + " preserveAspectRatio=none role=img aria-label=\"distribution of the weights of " +
           html(label) + "\"><path class=before d=\"" + steps(h.before, most, true) + "\"/><path class=after d=\"" + steps(h.after, most, false) +
           "\"/></svg><div class=axis><span>−" + figure(h.range, 2) + " σ</span><span>0</span><span>" + figure(h.range, 2) + " σ</span></div><figcaption>" +
           html(h.format + ", error " + percent(h.error) + " %") + "</figcaption></figure>\n";
}

}  // namespace quant
