// Formats within a budget: against every possible choice on small cases, and the plan made of them.
#include "convert/plan/budget.h"
#include "convert/plan/time_budget.h"

#include <cmath>

#include "base/rng.h"
#include "convert/plan/allocate.h"
#include "tests/check.h"

using namespace quant;

namespace {

struct Total {
    uint64_t bytes = 0;
    double loss = 0;
};

Total total_of(const std::vector<std::vector<Choice>>& items, const std::vector<size_t>& chosen) {
    Total total;
    for (size_t i = 0; i < items.size(); ++i) {
        total.bytes += items[i][chosen[i]].bytes;
        total.loss += items[i][chosen[i]].loss;
    }
    return total;
}

// The least loss of all choices within the budget; infinity: none fits.
double least_loss(const std::vector<std::vector<Choice>>& items, uint64_t budget) {
    std::vector<size_t> at(items.size());
    double least = INFINITY;
    for (;;) {
        const Total total = total_of(items, at);
        if (total.bytes <= budget && total.loss < least) least = total.loss;
        size_t i = 0;
        while (i < at.size() && ++at[i] == items[i].size()) at[i++] = 0;
        if (i == at.size()) return least;
    }
}

// Losses fall by about four with each bit, as those of formats do, and not quite regularly.
std::vector<std::vector<Choice>> random_items(Rng& rng, size_t count, size_t choices) {
    std::vector<std::vector<Choice>> items(count);
    for (auto& item : items) {
        const double size = 1000 * (1 + rng.uniform() * 20), loss = std::exp(4 * rng.gaussian());
        for (size_t c = 0; c < choices; ++c) {
            const double bits = 2 + static_cast<double>(c) + 0.6 * rng.uniform();
            item.push_back({static_cast<uint64_t>(size * bits), loss * std::pow(4.0, -bits) * (1 + 0.3 * rng.uniform())});
        }
    }
    return items;
}

Plan plan_of(const std::vector<int64_t>& rows) {
    Plan plan;
    for (size_t i = 0; i < rows.size(); ++i) {
        PlannedTensor& tensor = plan.tensors.emplace_back();
        tensor.from = &format_of(FormatSlot::f16);
        tensor.out.name = "blk." + std::to_string(i) + ".ffn_up.weight";
        tensor.out.ne = {256, rows[i], 1, 1};
        tensor.out.n_dims = 2;
        tensor.out.format = &format_of(FormatSlot::q4_0);
        tensor.out.bytes = tensor.out.format->tensor_bytes(256, rows[i]);
    }
    return plan;
}

// A file of all tensors, each rounded up to a multiple of 64, and a head.
Result<uint64_t> bytes_with_padding(const Plan& plan) {
    uint64_t sum = 1000;
    for (const PlannedTensor& tensor : plan.tensors) sum += (tensor.out.bytes + 63) / 64 * 64;
    return sum;
}

}  // namespace

TEST(allocation_is_near_the_best_and_never_above_the_budget) {
    Rng rng(3);
    double worst = 1;
    for (int round = 0; round < 60; ++round) {
        const auto items = random_items(rng, 6, 4);
        uint64_t low = 0, high = 0;
        for (const auto& item : items) low += item.front().bytes, high += item.back().bytes;
        const auto budget = low + static_cast<uint64_t>(rng.uniform() * static_cast<double>(high - low));
        const auto chosen = allocate(items, budget);
        CHECK(chosen.size() == items.size());
        const Total total = total_of(items, chosen);
        CHECK(total.bytes <= budget);
        worst = std::max(worst, total.loss / least_loss(items, budget));
    }
    CHECK(worst < 1.06);
}

TEST(allocation_without_room_is_empty) {
    const std::vector<std::vector<Choice>> items = {{{100, 1.0}, {200, 0.5}}, {{100, 1.0}}};
    CHECK(allocate(items, 199).empty());
    CHECK(allocate(items, 200).size() == size_t{2});
}

TEST(budget_is_spent_where_it_gains_most) {
    Plan plan = plan_of({64, 64, 64});
    plan.tensors[2].asked = true;
    const std::vector<const Format*> candidates = {&format_of(FormatSlot::q3_k), &format_of(FormatSlot::q4_k), &format_of(FormatSlot::q6_k)};
    const Losses losses = {{1.0, 0.25, 0.02}, {100.0, 25.0, 2.0}};
    const auto before = bytes_with_padding(plan);
    const auto loss = spend_budget(plan, candidates, losses, *before + 2100, bytes_with_padding);
    CHECK(loss);
    const auto after = bytes_with_padding(plan);
    CHECK(*after <= *before + 2100);
    CHECK(std::string(plan.tensors[0].out.format->name) == "Q3_K");
    CHECK(std::string(plan.tensors[1].out.format->name) == "Q6_K");
    CHECK(std::string(plan.tensors[2].out.format->name) == "Q4_0");
    CHECK(*loss == 3.0);
}

TEST(formats_that_do_not_fit_are_never_chosen) {
    Plan plan = plan_of({64});
    const std::vector<const Format*> candidates = {&format_of(FormatSlot::q3_k), &format_of(FormatSlot::q5_0)};
    const auto loss = spend_budget(plan, candidates, {{std::nan(""), 1.0}}, 1 << 20, bytes_with_padding);
    CHECK(loss);
    CHECK(std::string(plan.tensors[0].out.format->name) == "Q5_0");
}

TEST(a_target_too_small_says_what_is_possible) {
    Plan plan = plan_of({64, 64});
    const auto loss = spend_budget(plan, {&format_of(FormatSlot::q3_k)}, {{1.0}, {1.0}}, 5000, bytes_with_padding);
    CHECK(!loss);
    CHECK(loss.error().code == Code::usage);
    CHECK(loss.error().text.find("5000") != std::string::npos);
}

TEST(rows_of_a_plan_give_the_same_plan) {
    Plan plan = plan_of({64, 64});
    plan.tensors[1].out.format = &format_of(FormatSlot::q6_k);
    TensorPatterns patterns;
    const std::string rows = plan_as_rows(plan);
    for (size_t at = 0; at < rows.size();) {
        const size_t end = rows.find('\n', at);
        CHECK(patterns.add(rows.substr(at, end - at)));
        at = end + 1;
    }
    for (const PlannedTensor& tensor : plan.tensors) {
        const auto match = patterns.find(tensor.out.name);
        CHECK(match);
        CHECK(match->format == tensor.out.format);
    }
}

// Coarser formats are faster here: less time costs fidelity, never the other way round.
TEST(a_time_is_met_at_the_least_loss) {
    const std::vector<const Format*> candidates = {&format_of(FormatSlot::q3_k), &format_of(FormatSlot::q5_k), &format_of(FormatSlot::f16)};
    const Losses losses = {{1.0, 0.1, 0.01}, {4.0, 0.5, 0.02}};
    const Times times = {{1, 2, 3}, {1, 2, 3}};
    double seconds = 10, loss = 0;
    for (const double target : {6.0, 5.0, 4.5, 4.0, 2.0}) {
        Plan plan = plan_of({64, 64});
        const auto spent = spend_time(plan, candidates, losses, times, target, 0.5, 1 << 20, bytes_with_padding);
        CHECK(spent.ok());
        CHECK(spent->seconds <= target && spent->seconds <= seconds && spent->loss >= loss);
        seconds = spent->seconds, loss = spent->loss;
    }
    CHECK(seconds == 2 && loss == 5.0);
    // The second matrix gains more from a second than the first.
    Plan plan = plan_of({64, 64});
    const auto spent = spend_time(plan, candidates, losses, times, 3, 0, 1 << 20, bytes_with_padding);
    CHECK(spent.ok() && plan.tensors[1].out.format == candidates[1]);
    const auto refused = spend_time(plan, candidates, losses, times, 1.5, 0.5, 1 << 20, bytes_with_padding);
    CHECK(!refused.ok() && refused.error().text.find("take 2.5e+03 ms per token, the target is 2e+03") != std::string::npos);
}

TEST_MAIN
