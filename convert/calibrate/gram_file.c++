// A triangle of n columns has n (n + 1) / 2 values; n is found again from their number.
#include "convert/calibrate/gram_file.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "base/file.h"
#include "base/log.h"
#include "convert/calibrate/tied_table.h"

namespace quant {

namespace {

constexpr const char* kSuffix = ".gram";
constexpr uint64_t kPiece = uint64_t{8} << 20;

TensorInfo tensor_of(const GramSite& site) {
    TensorInfo out;
    out.name = site.weights.front() + kSuffix;
    out.format = &format_of(FormatSlot::f32);
    out.ne[0] = site.cols * (site.cols + 1) / 2;
    out.bytes = site.bytes();
    return out;
}

Metadata metadata_of(const std::string& path, const std::vector<GramSite>& sites, const GramFacts& facts) {
    std::vector<std::string> weights, names;
    for (const GramSite& site : sites)
        for (const std::string& weight : site.weights) weights.push_back(weight), names.push_back(site.weights.front() + kSuffix);
    Metadata out;
    out.origin = path;
    out.set("general.type", Value::of_string("gram"));
    out.set("gram.model", Value::of_string(facts.model));
    out.set("gram.architecture", Value::of_string(facts.architecture));
    out.set("gram.datasets", Value::of_strings({facts.dataset}));
    out.set("gram.chunk_count", Value::of_u32(static_cast<uint32_t>(facts.windows)));
    out.set("gram.chunk_size", Value::of_u32(static_cast<uint32_t>(facts.window)));
    out.set("gram.lookup_share", Value::of_f32(facts.lookup_share));
    out.set("gram.weights", Value::of_strings(std::move(weights)));
    out.set("gram.sites", Value::of_strings(std::move(names)));
    return out;
}

Result<GramFacts> facts_of(const Metadata& metadata) {
    GramFacts out;
    LET(model, metadata.get_string("gram.model"));
    LET(architecture, metadata.get_string("gram.architecture"));
    LET(datasets, metadata.get_strings("gram.datasets"));
    LET(windows, metadata.get_u32("gram.chunk_count"));
    LET(window, metadata.get_u32("gram.chunk_size"));
    LET(share, metadata.get_f32("gram.lookup_share"));
    out.model = model.value_or("");
    out.architecture = architecture.value_or("");
    if (datasets && !datasets->empty()) out.dataset = datasets->front();
    out.windows = windows.value_or(0);
    out.window = window.value_or(0);
    out.lookup_share = share.value_or(0.0f);
    if (!(out.lookup_share >= 0 && out.lookup_share <= 1e6f))
        return input_error(escaped(metadata.origin) + format_text(": gram.lookup_share: expected 0 or more, found %g", static_cast<double>(out.lookup_share)));
    return out;
}

}  // namespace

uint64_t gram_file_bytes(const std::vector<GramSite>& sites) {
    uint64_t sum = 0;
    for (const GramSite& site : sites) sum += site.bytes();
    return sum;
}

Status write_grams(const std::string& path, const std::string& triangles, const std::vector<GramSite>& sites, const GramFacts& facts, bool force) {
    LET(from, MappedFile::open(triangles));
    if (from.bytes().size() != gram_file_bytes(sites))
        return input_error(escaped(triangles) + format_text(": expected %llu bytes, found %zu", static_cast<unsigned long long>(gram_file_bytes(sites)), from.bytes().size()));
    std::vector<TensorInfo> tensors;
    for (const GramSite& site : sites) tensors.push_back(tensor_of(site));
    GgufWriter::Options options;
    options.force = force;
    LET(writer, GgufWriter::create(path, metadata_of(path, sites, facts), tensors, options));
    for (uint64_t at = 0; at < from.bytes().size(); at += kPiece) {
        const uint64_t count = std::min<uint64_t>(kPiece, from.bytes().size() - at);
        TRY(writer.write(from.bytes().subspan(at, count)));
        from.release(at, count);
    }
    return writer.finish();
}

Result<GramFile> GramFile::open(const std::string& path) {
    GramFile out;
    LET(file, Gguf::open(path));
    out.file_ = std::move(file);
    const Metadata& metadata = out.file_.metadata();
    LET(type, metadata.get_string("general.type"));
    LET(weights, metadata.get_strings("gram.weights"));
    LET(sites, metadata.get_strings("gram.sites"));
    if (type != "gram" || !weights || !sites || weights->size() != sites->size())
        return input_error(escaped(path) + ": expected Gram matrices as `quant calibrate --gram` writes them, found " +
                           (type ? "general.type '" + escaped(*type) + "'" : "no general.type") + " and no matching gram.weights and gram.sites");
    LET(facts, facts_of(metadata));
    out.facts_ = std::move(facts);
    for (size_t i = 0; i < weights->size(); ++i) {
        const TensorInfo* site = out.file_.find((*sites)[i]);
        if (!site || site->format->slot != FormatSlot::f32 || site->n_dims != 1 || cols(*site) * (cols(*site) + 1) / 2 != site->ne[0])
            return input_error(escaped(path) + ": " + escaped((*sites)[i]) + ": expected a triangle of F32 values, found " +
                               (site ? std::string(site->format->name) + " " + shape_text(*site) : "no such tensor"));
        out.sites_[(*weights)[i]] = site;
    }
    return out;
}

const TensorInfo* GramFile::find(const std::string& weight) const {
    const auto found = sites_.find(weight);
    return found == sites_.end() ? nullptr : found->second;
}

int64_t GramFile::cols(const TensorInfo& site) {
    return static_cast<int64_t>((std::sqrt(8.0 * static_cast<double>(site.ne[0]) + 1) - 1) / 2 + 0.5);
}

Result<std::vector<float>> GramFile::read(const TensorInfo& site) const {
    const auto n = static_cast<size_t>(cols(site));
    std::vector<float> out(n * n);
    const auto* from = reinterpret_cast<const float*>(site.data);
    for (size_t i = 0; i < n; ++i)
        for (size_t j = 0; j <= i; ++j, ++from) {
            if (!std::isfinite(*from) || (i == j && *from < 0))
                return input_error(escaped(path()) + ": " + escaped(site.name) +
                                   format_text(": row %zu, column %zu is %g, expected a finite number (0 or more on the diagonal)", i, j, static_cast<double>(*from)));
            out[i * n + j] = out[j * n + i] = *from;
        }
    file_.release(site);
    if (facts_.lookup_share > 0 && site.name == std::string("token_embd.weight") + kSuffix)
        add_lookups(out, static_cast<int64_t>(n), static_cast<double>(facts_.lookup_share));
    return out;
}

}  // namespace quant
