// Sizes of single tensors are known beforehand; what the file adds for alignment is found by asking for its size.
#include "convert/plan/budget.h"

#include <cmath>

#include "base/log.h"
#include "convert/plan/allocate.h"
#include "convert/rounding/books.h"
#include "convert/rounding/codes.h"

namespace quant {

namespace {

bool is_free(const PlannedTensor& tensor) {
    return tensor.out.format->kind == FormatKind::block && !tensor.copies() && !tensor.asked;
}

// What can be chosen for the free tensors, and which candidate each choice is.
struct Market {
    std::vector<PlannedTensor*> tensors;
    std::vector<std::vector<Choice>> choices;
    std::vector<std::vector<size_t>> candidates;
};

Market open_market(Plan& plan, const std::vector<const Format*>& candidates, const Losses& losses) {
    Market market;
    for (PlannedTensor& tensor : plan.tensors) {
        if (!is_free(tensor)) continue;
        const std::vector<double>& loss = losses[market.tensors.size()];
        market.tensors.push_back(&tensor);
        std::vector<Choice>& choices = market.choices.emplace_back();
        std::vector<size_t>& which = market.candidates.emplace_back();
        for (size_t i = 0; i < candidates.size(); ++i) {
            if (std::isnan(loss[i])) continue;
            choices.push_back({candidates[i]->tensor_bytes(tensor.out.cols(), tensor.out.rows()), loss[i]});
            which.push_back(i);
        }
    }
    return market;
}

void set_formats(Market& market, const std::vector<const Format*>& candidates, const std::vector<size_t>& chosen) {
    for (size_t t = 0; t < market.tensors.size(); ++t) {
        PlannedTensor& tensor = *market.tensors[t];
        const Choice& choice = market.choices[t][chosen[t]];
        tensor.out.format = candidates[market.candidates[t][chosen[t]]];
        tensor.out.bytes = choice.bytes;
        tensor.fallback = false;
        tensor.reason = format_text("measured: costs %.2g nats", choice.loss);
    }
}

std::vector<size_t> smallest(const Market& market) {
    std::vector<size_t> chosen;
    for (const std::vector<Choice>& choices : market.choices) {
        size_t least = 0;
        for (size_t i = 1; i < choices.size(); ++i)
            if (choices[i].bytes < choices[least].bytes) least = i;
        chosen.push_back(least);
    }
    return chosen;
}

}  // namespace

std::vector<std::string> free_tensors(const Plan& plan) {
    std::vector<std::string> names;
    for (const PlannedTensor& tensor : plan.tensors)
        if (is_free(tensor)) names.push_back(tensor.out.name);
    return names;
}

std::vector<const Format*> budget_candidates(bool importance) {
    std::vector<const Format*> out;
    for (const Format& format : formats()) {
        const CodePlanes* planes = code_planes(format.slot);
        const bool two_bits = (planes && planes->levels > 3) || (code_book(format.slot) && format.bits_per_weight() > 2);
        if (format.stock && format.encodes && two_bits && (importance || !format.needs_importance)) out.push_back(&format);
    }
    out.push_back(&format_of(FormatSlot::f16));
    return out;
}

Result<double> spend_budget(Plan& plan, const std::vector<const Format*>& candidates, const Losses& losses, uint64_t limit,
                            const std::function<Result<uint64_t>(const Plan& plan)>& file_bytes) {
    Market market = open_market(plan, candidates, losses);
    std::vector<size_t> chosen = smallest(market);
    set_formats(market, candidates, chosen);
    LET(least, file_bytes(plan));
    uint64_t budget = limit;
    for (const PlannedTensor* tensor : market.tensors) budget += tensor->out.bytes;
    if (least > limit)
        return usage_error(format_text("the smallest file these formats make has %llu bytes, the target is %llu",
                                       static_cast<unsigned long long>(least), static_cast<unsigned long long>(limit)));
    budget -= least;  // what the free tensors may have: the limit less all the rest of the file
    for (;;) {
        std::vector<size_t> found = allocate(market.choices, budget);
        if (found.empty()) break;  // alignment: only the smallest is certain
        set_formats(market, candidates, found);
        LET(bytes, file_bytes(plan));
        chosen = std::move(found);
        if (bytes <= limit) break;
        budget -= bytes - limit;
        chosen = smallest(market);
    }
    set_formats(market, candidates, chosen);
    double loss = 0;
    for (size_t t = 0; t < chosen.size(); ++t) loss += market.choices[t][chosen[t]].loss;
    return loss;
}

std::string plan_as_rows(const Plan& plan) {
    std::string rows;
    for (const PlannedTensor& tensor : plan.tensors) {
        if (tensor.copies() || tensor.out.format->kind == FormatKind::integer) continue;
        std::string name;
        for (const char c : tensor.out.name) {
            if (c == '.') name += '\\';
            name += c;
        }
        rows += "^" + name + "$=" + tensor.out.format->name + "\n";
    }
    return rows;
}

}  // namespace quant
