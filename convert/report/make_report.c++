// The order of the work: statistics of the text, tensors beside tensors, the curve, the page.
#include "convert/report/make_report.h"

#include <algorithm>

#include "base/file.h"
#include "base/log.h"
#include "convert/calibrate/calibration.h"
#include "convert/calibrate/statistics.h"
#include "convert/report/compare.h"
#include "convert/report/curve.h"

namespace quant {

namespace {

uint64_t weights_of(const Source& source) {
    uint64_t sum = 0;
    for (const TensorInfo& tensor : source.tensors()) sum += static_cast<uint64_t>(tensor.elements());
    return sum;
}

std::string title_of(const Source& source, const std::string& path) {
    const auto name = source.metadata().get_string("general.name");
    return name && *name && !(*name)->empty() ? **name : path.substr(path.find_last_of('/') + 1);
}

std::string joined(const std::vector<std::string>& names) {
    std::string text;
    for (const std::string& name : names) text += (text.empty() ? "" : ", ") + name;
    return text;
}

class Maker {
public:
    Maker(const ReportSubject& subject, const ReportRequest& request) : subject_(subject), request_(request), pool_(request.threads) {}

    Result<ReportData> run() {
        LET(after, open_source(subject_.output));
        const Source& before = *subject_.source;
        const uint64_t weights = std::max<uint64_t>(weights_of(*after), 1);
        windows_ = request_.windows > 0 ? request_.windows : std::clamp<int64_t>(static_cast<int64_t>(2'000'000'000 / weights), 2, 8);
        data_.title = title_of(before, subject_.input);
        data_.input = subject_.input.substr(subject_.input.find_last_of('/') + 1);
        data_.output = subject_.output.substr(subject_.output.find_last_of('/') + 1);
        data_.type = subject_.type;
        data_.how = subject_.how;
        data_.gains = subject_.gains;
        data_.input_bytes = before.bytes();
        data_.output_bytes = after->bytes();
        data_.text_note = subject_.text_note;
        const bool judged = subject_.model && !subject_.tokens.empty();
        CollectedStatistics statistics;
        if (judged) TRY(learn(statistics));
        LET(compared, compare_tensors(before, *after, judged ? &statistics.sums : nullptr, pool_, said("compare")));
        data_.tensors = std::move(compared.tensors);
        data_.histograms = std::move(compared.worst);
        uint64_t bytes = 0;
        for (ReportTensor& tensor : data_.tensors) {
            bytes += tensor.bytes;
            if (const auto found = subject_.why.find(tensor.name); found != subject_.why.end()) tensor.why = found->second;
        }
        data_.bits_per_weight = 8.0 * static_cast<double>(bytes) / static_cast<double>(weights);
        if (judged) TRY(judge_sizes());
        return std::move(data_);
    }

private:
    std::function<bool(int64_t, int64_t, const std::string&)> said(const char* phase) const {
        return [this, phase](int64_t done, int64_t total, const std::string& what) {
            return !request_.progress || request_.progress(phase, done, total, what);
        };
    }

    Status learn(CollectedStatistics& statistics) {
        StatisticsOptions options;
        options.window = request_.window;
        options.memory = request_.memory;
        options.output = true;
        std::vector<int32_t> tokens = subject_.tokens;
        tokens.resize(std::min(tokens.size(), static_cast<size_t>(windows_ * request_.window)));
        LET(found, collect_statistics(*subject_.model, tokens, options, pool_, said("judge")));
        statistics = std::move(found);
        return {};
    }

    Status judge_sizes() {
        auto output = Model::load(subject_.output);
        if (!output) {
            data_.text_note = "Not measured: " + output.error().text;
            return {};
        }
        CurveOptions options;
        options.window = request_.window;
        options.windows = windows_;
        options.memory = request_.memory;
        LET(curve, measure_size_curve(*subject_.model, **output, data_.output_bytes, "this file",
                                      subject_.tokens, options, pool_, said("judge")));
        data_.points = std::move(curve.points);
        data_.source_perplexity = curve.source_perplexity;
        data_.text_note += format_text(" %lld places in each of %lld windows of %lld tokens; the blue mixes are plain ones, rounded to nearest in memory.",
                                       static_cast<long long>(curve.places), static_cast<long long>(curve.windows), static_cast<long long>(request_.window));
        if (!curve.left_out.empty()) data_.text_note += " No time was left for " + joined(curve.left_out) + ".";
        return {};
    }

    const ReportSubject& subject_;
    const ReportRequest& request_;
    ThreadPool pool_;
    ReportData data_;
    int64_t windows_ = 8;
};

}  // namespace

Status write_report(const ReportSubject& subject, const ReportRequest& request) {
    LET(data, Maker(subject, request).run());
    const std::string page = report_page(data);
    LET(file, AtomicFile::create(request.path, request.force, subject.source->files()));
    TRY(file.write({reinterpret_cast<const uint8_t*>(page.data()), page.size()}));
    return file.commit(page.size());
}

Result<ReportText> report_text(const Model& model, const std::vector<TextFile>& texts, int64_t window, int64_t skip, int64_t most) {
    CalibrationOptions options;
    options.texts = texts;
    options.window = window;
    options.windows = skip + most;
    LET(tokens, calibration_windows(model, options));
    const auto used = static_cast<size_t>(skip * window);
    if (skip == 0 || tokens.size() < used + 2 * static_cast<size_t>(window)) return ReportText{std::move(tokens), false};
    tokens.erase(tokens.begin(), tokens.begin() + static_cast<std::ptrdiff_t>(used));
    return ReportText{std::move(tokens), true};
}

}  // namespace quant
