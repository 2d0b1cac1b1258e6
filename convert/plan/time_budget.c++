// The price of a second is bisected; each price is a choice within the size.
#include "convert/plan/time_budget.h"

#include <algorithm>
#include <cmath>

#include "base/log.h"

namespace quant {

namespace {

// What the plan's formats cost, and the true losses as its reasons.
Spent account(Plan& plan, const std::vector<std::string>& names, const std::vector<const Format*>& candidates, const Losses& losses,
              const Times& times) {
    Spent out;
    size_t t = 0;
    for (PlannedTensor& tensor : plan.tensors) {
        if (t == names.size() || tensor.out.name != names[t]) continue;
        const auto chosen = static_cast<size_t>(std::find(candidates.begin(), candidates.end(), tensor.out.format) - candidates.begin());
        out.loss += losses[t][chosen];
        out.seconds += times[t][chosen];
        tensor.reason = format_text("measured: costs %.2g nats, %.3g ms", losses[t][chosen], 1e3 * times[t][chosen]);
        ++t;
    }
    return out;
}

}  // namespace

Result<Spent> spend_time(Plan& plan, const std::vector<const Format*>& candidates, const Losses& losses, const Times& times,
                         double seconds, double rest, uint64_t limit, const std::function<Result<uint64_t>(const Plan& plan)>& file_bytes) {
    constexpr int kHalvings = 40;
    const std::vector<std::string> names = free_tensors(plan);
    const auto at_price = [&](double price, Plan& tried) -> Result<Spent> {
        tried = plan;
        Losses priced = losses;
        for (size_t t = 0; t < priced.size(); ++t)
            for (size_t c = 0; c < priced[t].size(); ++c) priced[t][c] += price * times[t][c];
        auto found = spend_budget(tried, candidates, priced, limit, file_bytes);
        if (!found) return std::move(found.error());
        return account(tried, names, candidates, losses, times);
    };
    double low = 1e-9, high = 1e12;  // nats per second
    Plan best;
    LET(spent, at_price(0, best));
    if (spent.seconds > seconds) {
        LET(fastest, at_price(high, best));
        if (fastest.seconds > seconds)
            return usage_error(format_text("the fastest formats within the size take %.3g ms per token, the target is %.3g", 1e3 * (fastest.seconds + rest), 1e3 * (seconds + rest)));
        spent = fastest;
        for (int i = 0; i < kHalvings; ++i) {
            const double price = std::sqrt(low * high);
            Plan tried;
            LET(found, at_price(price, tried));
            if (found.seconds > seconds) {
                low = price;
                continue;
            }
            high = price;
            if (found.loss <= spent.loss) spent = found, best = std::move(tried);
        }
    }
    plan = std::move(best);
    return spent;
}

}  // namespace quant
