// Reals from text: the whole text or nothing, the same with every standard library.
#include "base/real.h"

#include <cmath>
#include <limits>

#include "tests/check.h"

using namespace quant;

TEST(numbers) {
    CHECK(parse_double("0") == 0.0);
    CHECK(parse_double("-1.5") == -1.5);
    CHECK(parse_double(".25") == 0.25);
    CHECK(parse_double("1e+5") == 1e5);
    CHECK(parse_double("2E-3") == 2e-3);
    CHECK(parse_double("0.1") == 0.1);
    CHECK(parse_double("1.7976931348623157e308") == std::numeric_limits<double>::max());
    CHECK(parse_double("-inf") == -std::numeric_limits<double>::infinity());
    CHECK(std::isnan(parse_double("nan").value_or(0)));
}

TEST(no_numbers) {
    for (const char* text : {"", " 1", "1 ", "+1", "0x10", "0x1p3", "1,5", "1e", "e5", "1e 5", "--1", "1.5.2", "one", "1e999"})
        CHECK_MSG(!parse_double(text), text);
    CHECK(!parse_double(std::string_view("1\0", 2)));
    CHECK(parse_double(std::string_view("123", 2)) == 12.0);  // what follows the view is not read
}

TEST_MAIN
