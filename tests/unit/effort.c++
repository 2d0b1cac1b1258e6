// How much work measuring may take, and what is said of its time.
#include "convert/calibrate/effort.h"

#include "../check.h"

using namespace quant;

// The choice knows the work, not the clock: less of the text where a window costs more.
TEST(effort_decides_by_work) {
    const auto model = Model::load("models/tiny/tiny-f16.gguf");
    CHECK(model.ok());
    std::vector<std::string> names;
    for (const TensorInfo& tensor : (*model)->gguf().tensors())
        if (tensor.n_dims == 2) names.push_back(tensor.name);
    CHECK(sensitivity_passes(**model, names) == 2 * 4 + 4 + 7 * (4 + 3 + 2 + 1));
    CalibrationOptions options;
    CHECK(sensitivity_options(**model, names, 128, options).windows == 8);
    CHECK(sensitivity_options(**model, names, 3, options).windows == 3);
    options.effort = Effort::fast;
    CHECK(sensitivity_options(**model, names, 128, options).windows == 1);
    options.effort = Effort::max;
    CHECK(sensitivity_options(**model, names, 128, options).windows == 16);
    CHECK(sequential_options(options).feedback.sweeps > FeedbackOptions().sweeps);
    options.effort = Effort::normal;
    options.window = 1 << 18;
    const SensitivityOptions cut = sensitivity_options(**model, names, 1, options);
    CHECK(cut.windows == 1 && cut.window >= 128 && cut.window < options.window);
}

TEST(windows_are_cut) {
    CHECK((shortened({1, 2, 3, 4, 5, 6}, 3, 2) == std::vector<int32_t>{1, 2, 4, 5}));
    CHECK((shortened({1, 2, 3, 4}, 2, 2) == std::vector<int32_t>{1, 2, 3, 4}));
}

TEST(times_are_said_in_words) {
    CHECK(time_text({0, 0, 90, 0, 50, 0}) == "about 2 min: measuring 90 s, rounding 50 s");
    CHECK(time_text({0, 40, 0, 0, 0.2, 0}) == "about 40 s: reading 40 s, rounding a second");
    CHECK(time_text({10, 0, 20, 3, 50, 30}) == "about 2 min: transforms 10 s, measuring 20 s, observing 3 s, rounding 50 s, low rank 30 s");
}

TEST_MAIN
