// Two or three values per weight: lossless, or how bad.
#include "convert/few_levels.h"

#include <cmath>
#include <filesystem>

#include "base/log.h"
#include "convert/rounding/codes.h"
#include "model/judge.h"
#include "model/model.h"

namespace quant {

namespace {

constexpr double kHalfRounding = 0x1p-11;  // relative error of a scale stored as a half, subnormal ones aside
constexpr int64_t kWindow = 128;

// Plain English of several kinds; nothing a model may have learned by heart.
constexpr const char* kText =
    "The bus to the coast leaves twice a day, at seven in the morning and again at noon, and it is never full. Most people "
    "who take it are going home. They carry bread, tools, a bag of onions, sometimes a chicken in a basket, and they talk "
    "about the weather as if nobody had ever talked about it before. The driver knows all of them by name. When the road "
    "climbs he turns the radio down, because from there on one can see the water, and he thinks that people should look at "
    "it in silence at least once a day.\n\n"
    "To repair a dripping tap, first close the valve under the sink and let the rest of the water run out. Remove the "
    "handle, then the nut below it, and pull out the old washer. If it is hard or cracked, take it to the shop and ask for "
    "one of the same size. Put everything back in the opposite order. It should take about twenty minutes, and no more "
    "force than a child has.\n\n"
    "\"You said that it would rain,\" she told her brother, \"and look at it now.\"\n"
    "\"I said that it might,\" he answered. \"There is a difference between what will happen and what might. If I had said "
    "that it would certainly rain, you could be angry with me.\"\n"
    "\"I am not angry. I am only wet from carrying two umbrellas through the fog for nothing.\"\n\n"
    "In the year after the war the town had three schools and one teacher. He walked from one to the next, taught reading "
    "in the first, numbers in the second and history in the third, and on Saturdays he slept. Years later, when the town "
    "had forty teachers, there was still a saying among the old: that they had learned to read on Mondays, to count on "
    "Wednesdays, and what it had all been for on Fridays.\n";

double share(double error, double norm) { return norm > 0 ? std::sqrt(error / norm) : 0; }

Result<std::unique_ptr<Session>> open_session(const std::string& path, int threads) {
    LET(model, Model::load(path));
    SessionOptions options;
    options.context = kWindow;
    options.batch = kWindow;
    options.threads = threads;
    return Session::create(model, options);
}

Result<Judgement> judge_both(const std::string& source, const std::string& output, int threads) {
    LET(session, open_session(output, threads));
    std::unique_ptr<Session> base;
    std::error_code unreadable;
    if (!std::filesystem::is_directory(source, unreadable)) {
        LET(opened, open_session(source, threads));
        base = std::move(opened);
    }
    JudgeOptions options;
    options.window = kWindow;
    return judge(*session, base.get(), session->model().tokenizer().encode(kText, true, false), options);
}

}  // namespace

std::optional<FewLevels> few_levels(const Plan& plan, const std::vector<TensorError>& errors) {
    const CodePlanes* planes = code_planes(plan.recipe.base);
    if (plan.recipe.copy || !planes || planes->levels > 3 || errors.size() != plan.tensors.size()) return {};
    FewLevels found;
    found.levels = planes->levels;
    TensorError rounded, changed;
    for (size_t i = 0; i < errors.size(); ++i) {
        const PlannedTensor& tensor = plan.tensors[i];
        if (tensor.copies() || (tensor.out.format->slot != plan.recipe.base && !tensor.fallback)) continue;
        ++found.matrices;
        if (errors[i].exact) {
            ++found.exact;
            continue;
        }
        const bool rounding = share(errors[i].error, errors[i].norm) <= kHalfRounding;
        TensorError& sum = rounding ? rounded : changed;
        sum.error += errors[i].error;
        sum.norm += errors[i].norm;
        if (rounding) ++found.scale_rounded;
        else if (found.first_changed.empty()) found.first_changed = tensor.out.name;
    }
    if (found.matrices == 0) return {};
    found.rounding_error = share(rounded.error, rounded.norm);
    found.changed_error = share(changed.error, changed.norm);
    return found;
}

void measure_perplexity(FewLevels& found, const std::string& source, const std::string& output, int threads) {
    const auto judged = judge_both(source, output, threads);
    if (!judged) {
        found.not_measured = judged.error().text;
        return;
    }
    found.perplexity = judged->perplexity.value;
    if (judged->compared) found.source_perplexity = judged->base_perplexity.value;
}

std::string describe(const FewLevels& found) {
    const char* values = found.levels == 2 ? "two values" : "three values";
    if (found.native()) {
        if (found.scale_rounded == 0)
            return format_text("lossless: all %zu matrices hold %s per block, and every weight comes back as it was",
                               found.matrices, values);
        return format_text("nearly lossless: all %zu matrices hold %s per block; the scales of %zu are no half-precision "
                           "numbers, which leaves a relative error of %.2g in their weights",
                           found.matrices, values, found.scale_rounded, found.rounding_error);
    }
    std::string text =
        format_text("%zu of %zu matrices hold more than %s, the first is %s; their weights are off by %.2g %% (root mean "
                    "square): this format suits models trained for it",
                    found.matrices - found.exact - found.scale_rounded, found.matrices, values, found.first_changed.c_str(),
                    100 * found.changed_error);
    if (!found.not_measured.empty()) return text + "; the perplexity could not be measured: " + found.not_measured;
    if (found.perplexity > 0) text += format_text("; expect a perplexity like %.4g on a short English text", found.perplexity);
    if (found.source_perplexity > 0) text += format_text(", where the source has %.4g", found.source_perplexity);
    return text;
}

}  // namespace quant
