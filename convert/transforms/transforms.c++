// The list of transforms, what each asks of a family, and their order: rotations first, because scales hold in the
// channels that they leave.
#include "convert/transforms/transforms.h"

#include <algorithm>
#include <utility>

#include "base/file.h"
#include "base/log.h"
#include "convert/transforms/model_of.h"
#include "convert/transforms/stages.h"
#include "model/architecture.h"

namespace quant {

namespace {

struct Row {
    Transform transform;
    const char* name;
    std::vector<PlaceKind> all;  // what it needs
    std::vector<PlaceKind> any;  // what it takes where the family allows; one of them at least
    bool needs_text;
};
const std::vector<Row>& rows() {
    static const std::vector<PlaceKind> kScales = {PlaceKind::norm, PlaceKind::value, PlaceKind::up};
    static const std::vector<Row> kRows = {
        {Transform::fold_norm, "fold-norm", {PlaceKind::norm}, {}, false},
        {Transform::rotate, "rotate", {PlaceKind::norm, PlaceKind::residual, PlaceKind::value}, {}, false},
        {Transform::fptquant, "fptquant", {}, {PlaceKind::keys, PlaceKind::value, PlaceKind::up}, false},
        {Transform::awq, "awq", {}, kScales, true},
        {Transform::smoothquant, "smoothquant", {}, kScales, true},
        {Transform::aweq, "aweq", {}, kScales, false},
    };
    return kRows;
}

const Row& row_of(Transform transform) {
    return *std::find_if(rows().begin(), rows().end(), [&](const Row& row) { return row.transform == transform; });
}

bool scales(Transform transform) { return transform >= Transform::awq; }

// Why an architecture does not take a transform; null: it does.
const char* refusal_of(const Architecture& architecture, const Row& row) {
    for (const PlaceKind kind : row.all)
        if (const char* why = refusal(architecture, kind)) return why;
    const char* last = nullptr;
    for (const PlaceKind kind : row.any) {
        last = refusal(architecture, kind);
        if (!last) return nullptr;
    }
    return last;
}

class Application {
public:
    Application(std::shared_ptr<const Source> source, const TransformRequest& request,
                const std::function<Result<Plan>(const Source&)>& plan, const TransformText& text, ThreadPool& pool)
        : request_(request), make_plan_(plan), text_(text), pool_(pool) {
        out_.source = std::move(source);
    }

    Result<TransformedModel> run() {
        TRY(check());
        if (judged()) {
            LET(split, split_windows(text_.tokens, text_.window, kTransformWindows));
            split_ = std::move(split);
            check_.memory = text_.memory;
            check_.step = [this](const std::string& what) { return step(what); };
            TRY(begin());
        }
        std::vector<Transform> scaling;
        for (const Transform transform : request_.list) {
            if (scales(transform)) scaling.push_back(transform);
            else if (transform == Transform::fold_norm) TRY(stage("fold-norm", fold_norm_stage));
            else if (transform == Transform::rotate) TRY(rotate());
            else TRY(stage("fptquant", fptquant_stage));
        }
        TransformRequest scales_only;
        scales_only.list = scaling;
        std::string names = names_of(scales_only);
        if (request_.automatic && judged()) names = "outliers";
        if (!names.empty()) TRY(stage(names, [&](const Stage& stage) { return scale_stage(stage, scaling); }));
        out_.model = now_.model;
        return std::move(out_);
    }

private:
    // A source with what is needed to judge it.
    struct Trial {
        std::shared_ptr<const Source> source;
        std::shared_ptr<const Model> model;
        std::shared_ptr<const Plan> plan;
        PlannedTensors planned;
    };

    bool judged() const { return !text_.tokens.empty(); }

    Status check() {
        LET(outline, outline_of(*out_.source));
        for (const Transform transform : request_.list) {
            const Row& row = row_of(transform);
            if (const char* why = refusal_of(*outline->architecture, row))
                return usage_error("--transform " + std::string(row.name) + ": not for " + outline->architecture->name + ": " + why);
            if (row.needs_text && !judged())
                return usage_error("--transform " + std::string(row.name) + " scales by what channels carry on a text: give --calibrate TEXT");
        }
        if (!request_.list.empty() && request_.gate && !judged())
            return usage_error("transforms are kept where they help on a text: give --calibrate TEXT, or --no-gate to apply them unmeasured");
        return {};
    }

    bool step(const std::string& what) {
        done_ = std::min(done_ + 1, total_);
        return !text_.progress || text_.progress(done_, total_, what);
    }

    Result<Trial> trial_of(std::shared_ptr<const Source> source) {
        Trial out;
        LET(plan, make_plan_(*source));
        out.plan = std::make_shared<const Plan>(std::move(plan));
        for (size_t i = 0; i < out.plan->tensors.size(); ++i) {
            const PlannedTensor& tensor = out.plan->tensors[i];
            if (!tensor.copies() || source->changed(i)) out.planned[tensor.out.name] = &tensor;
        }
        out.model = text_.model;
        if (source != out_.source || now_.source) {
            LET(model, model_of(*source, text_.memory, pool_));
            out.model = std::move(model);
        }
        out.source = std::move(source);
        return out;
    }

    Result<double> divergence(const Trial& trial) {
        return rounded_divergence(*trial.model, trial.planned, split_, *reference_, check_, pool_);
    }

    Status begin() {
        LET(trial, trial_of(out_.source));
        const auto layers = static_cast<int64_t>(trial.model->weights().layers.size());
        const int64_t stages = static_cast<int64_t>(request_.list.size()) + 1;
        const int64_t check = split_.count() * layers + split_.held_out() * (layers + 1);
        total_ = split_.held_out() * (layers + 1) + check + stages * (split_.count() * layers + check);
        now_ = std::move(trial);
        return {};
    }
    // What the original predicts, and what rounding does to it: once there is something to compare with it.
    Status measure() {
        if (reference_) return {};
        LET(reference, reference_predictions(*now_.model, split_, check_, pool_));
        reference_ = std::make_unique<Predictions>(std::move(reference));
        LET(loss, divergence(now_));
        loss_ = loss;
        return {};
    }

    template <class Make>
    Status stage(const std::string& name, const Make& make) {
        LET(outline, outline_of(*out_.source));
        Stage stage{*out_.source, *outline, request_, pool_};
        if (judged()) {
            stage.text = &split_;
            stage.model = now_.model.get();
            stage.planned = &now_.planned;
            stage.check = check_;
        }
        LET(found, make(stage));
        return take(name, found);
    }

    Status take(const std::string& name, const PlaceChoices& choices) {
        const auto kept = std::count_if(choices.gains.begin(), choices.gains.end(), [](const TransformGain& gain) { return gain.kept; });
        const std::string what = name + format_text(": %lld of %zu places", static_cast<long long>(kept), choices.gains.size());
        const size_t first = out_.gains.size();
        out_.gains.insert(out_.gains.end(), choices.gains.begin(), choices.gains.end());
        if (choices.edits.empty()) {
            out_.notes.push_back(what);
            return {};
        }
        LET(changed, transform_source(out_.source, choices.edits));
        LET(better, judge(name, what, std::move(changed)));
        if (!better)
            for (size_t i = first; i < out_.gains.size(); ++i) out_.gains[i].kept = false;
        return {};
    }

    // R1 with all that it needs, then R2.
    Status rotate() {
        LET(outline, outline_of(*out_.source));
        const Edits output = untie(*outline);
        LET(untied, transform_source(out_.source, output));
        LET(apart, outline_of(*untied));
        LET(norms, fold_norms(*apart, *untied));
        LET(folded, transform_source(untied, norms));
        LET(rotated, transform_source(folded, rotate_residual(*apart, request_.seed)));
        std::string what = "rotate";
        if (!output.empty())
            what += format_text(" (needs an output matrix apart from the embedding: %lld more weights)",
                                static_cast<long long>(outline->weights.embedding->elements()));
        TRY(judge("rotate", what, std::move(rotated)));
        return stage("rotate, heads", rotate_heads_stage);
    }

    // Takes a source over, unless it is no nearer to the original than the one before. Says whether it did.
    Result<bool> judge(const std::string& name, const std::string& what, std::shared_ptr<const Source> changed) {
        if (!judged()) {
            out_.source = std::move(changed);
            out_.notes.push_back(what + ", applied unmeasured");
            return true;
        }
        TRY(measure());
        LET(trial, trial_of(std::move(changed)));
        LET(loss, divergence(trial));
        const bool better = loss < loss_, kept = better || !request_.gate;
        out_.gains.push_back({-1, "model", name, loss_, loss, kept});
        out_.notes.push_back(what + format_text(", KL on text kept apart %.6f -> %.6f", loss_, loss) +
                             (better ? "" : kept ? ", kept as asked" : ", left out"));
        if (!kept) return false;
        loss_ = loss;
        out_.source = trial.source;
        now_ = std::move(trial);
        return true;
    }

    const TransformRequest& request_;
    const std::function<Result<Plan>(const Source&)>& make_plan_;
    const TransformText& text_;
    ThreadPool& pool_;
    TransformedModel out_;
    SplitWindows split_;
    CheckOptions check_;
    std::unique_ptr<Predictions> reference_;  // of the original
    Trial now_;
    double loss_ = 0;
    int64_t done_ = 0, total_ = 0;
};

}  // namespace

std::string names_of(const TransformRequest& request) {
    std::string out;
    for (const Transform transform : request.list) out += (out.empty() ? "" : ", ") + std::string(row_of(transform).name);
    return out;
}

std::string transform_names() {
    std::string out;
    for (const Row& row : rows()) out += (out.empty() ? "" : ", ") + std::string(row.name);
    return out;
}

Status parse_transforms(std::string_view list, TransformRequest& request) {
    request.automatic = list == "auto";
    request.list.clear();
    if (list == "auto" || list == "none") return {};
    while (true) {
        const std::string_view name = list.substr(0, list.find(','));
        const auto found = std::find_if(rows().begin(), rows().end(), [&](const Row& row) { return name == row.name; });
        if (found == rows().end())
            return usage_error("expected auto, none or some of " + transform_names() + " separated by commas, found '" + escaped(name) + "'");
        request.list.push_back(found->transform);
        if (name.size() == list.size()) break;
        list.remove_prefix(name.size() + 1);
    }
    std::sort(request.list.begin(), request.list.end());
    request.list.erase(std::unique(request.list.begin(), request.list.end()), request.list.end());
    return {};
}

Result<TransformedModel> apply_transforms(std::shared_ptr<const Source> source, const TransformRequest& request,
                                          const std::function<Result<Plan>(const Source&)>& plan, const TransformText& text,
                                          ThreadPool& pool) {
    return Application(std::move(source), request, plan, text, pool).run();
}

}  // namespace quant
