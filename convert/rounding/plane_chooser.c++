// Formats with a code for each weight. Levels are read off the decoder, so that values are those a reader will see.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>
#include <vector>

#include "base/bytes.h"
#include "convert/rounding/chooser.h"
#include "convert/rounding/codes.h"
#include "formats/half.h"

namespace quant {

namespace {

constexpr int kMostLevels = 256, kMostBlock = 256, kMostBytes = 512;

class PlaneChooser : public Chooser {
public:
    PlaneChooser(const Format& format, const CodePlanes& planes, int64_t cols)
        : format_(format), planes_(planes), block_(format.block), span_(planes.span ? planes.span : block_),
          stride_(planes.uniform ? 2 : planes.levels), codes_(static_cast<size_t>(cols * kRows)),
          levels_(static_cast<size_t>(cols / span_ * kRows * stride_)), names_(planes.uniform ? 0 : levels_.size()) {}

    int64_t unit() const override { return 1; }

    void read(const RowPlace& place, int64_t block, int64_t r, const uint8_t* bytes) override {
        uint8_t copy[kMostBytes], codes[kMostBlock];
        float decoded[kMostBlock], all[kMostBlock * 2];
        std::memcpy(copy, bytes, format_.bytes);
        const int64_t spans = block_ / span_;
        std::vector<float> table(planes_.uniform ? 0 : static_cast<size_t>(spans * stride_));
        for (int c = 0; c < stride_; ++c) {
            std::memset(codes, planes_.uniform && c > 0 ? planes_.levels - 1 : c, sizeof codes);
            planes_.put(codes, copy);
            format_.decode(format_.plain() ? nullptr : &place, copy, decoded, block_);
            for (int64_t s = 0; s < spans; ++s) (planes_.uniform ? all : table.data())[s * stride_ + c] = decoded[s * span_];
        }
        for (int64_t s = 0; s < spans; ++s) {
            float* to = levels_.data() + place_of(block * spans + s, r);
            // From the ends, for the step to be exact.
            if (planes_.uniform) to[0] = all[2 * s], to[1] = (all[2 * s + 1] - all[2 * s]) / static_cast<float>(planes_.levels - 1);
            else sort_levels(table.data() + s * stride_, to, names_.data() + place_of(block * spans + s, r));
        }
    }

    void choose(int64_t j, int64_t r, const float* target, const float*, float* value) override {
        codes_[static_cast<size_t>(j * kRows + r)] = nearest(j, r, *target, *value);
    }

    bool improve(int64_t j, int64_t r, const float* linear, const float* metric, float* value) override {
        uint8_t& code = codes_[static_cast<size_t>(j * kRows + r)];
        float found;
        const uint8_t better = nearest(j, r, *linear / *metric, found);
        if (better == code) return false;
        code = better;
        *value = found;
        return true;
    }

    bool rescale(const RowPlace& place, int64_t block, int64_t r, double factor, uint8_t* bytes, float* values) override {
        if (planes_.scale_bytes == 0) return false;
        const bool half = planes_.scale_bytes == 2;
        const double scale = factor * static_cast<double>(half ? f16_to_f32(load<uint16_t>(bytes)) : load<float>(bytes));
        if (half) store(bytes, f32_to_f16(static_cast<float>(scale)));
        else store(bytes, static_cast<float>(scale));
        read(place, block, r, bytes);
        put(block, r, bytes);
        format_.decode(format_.plain() ? nullptr : &place, bytes, values, block_);
        return true;
    }

    void put(int64_t block, int64_t r, uint8_t* bytes) const override {
        uint8_t codes[kMostBlock];
        for (int64_t e = 0; e < block_; ++e) codes[e] = codes_[static_cast<size_t>((block * block_ + e) * kRows + r)];
        planes_.put(codes, bytes);
    }

private:
    size_t place_of(int64_t span, int64_t r) const { return static_cast<size_t>((span * kRows + r) * stride_); }

    // Rising levels and their codes; codes that stand for no number take the largest's place.
    void sort_levels(const float* level, float* to, uint8_t* names) const {
        int count = 0;
        uint8_t order[kMostLevels];
        for (int c = 0; c < planes_.levels; ++c)
            if (std::isfinite(level[c])) order[count++] = static_cast<uint8_t>(c);
        std::stable_sort(order, order + count, [&](uint8_t a, uint8_t b) { return level[a] < level[b]; });
        for (int i = 0; i < planes_.levels; ++i) {
            names[i] = order[std::min(i, count - 1)];
            to[i] = level[names[i]];
        }
    }

    // The code nearest to x, and its value.
    uint8_t nearest(int64_t j, int64_t r, float x, float& found) const {
        const size_t at = place_of(j / span_, r);
        const float* levels = levels_.data() + at;
        if (planes_.uniform) {
            const float first = levels[0], step = levels[1];
            const float ideal = step != 0 ? (x - first) / step : 0.0f;
            const float most = static_cast<float>(planes_.levels - 1);
            const float code = std::nearbyint(ideal < 0 ? 0.0f : ideal > most ? most : ideal);
            found = first + code * step;
            return static_cast<uint8_t>(code);
        }
        const float* above = std::lower_bound(levels, levels + planes_.levels, x);
        if (above == levels + planes_.levels || (above > levels && x - above[-1] <= *above - x)) --above;
        found = *above;
        return names_[at + static_cast<size_t>(above - levels)];
    }

    const Format& format_;
    const CodePlanes& planes_;
    int64_t block_, span_, stride_;
    std::vector<uint8_t> codes_;  // [cols, 16]
    // By span and row: first level and step where uniform, otherwise rising levels and the codes that stand for them.
    std::vector<float> levels_;
    std::vector<uint8_t> names_;
};

}  // namespace

std::unique_ptr<Chooser> plane_chooser(const Format& format, int64_t cols) {
    const CodePlanes* planes = code_planes(format.slot);
    return planes ? std::make_unique<PlaneChooser>(format, *planes, cols) : nullptr;
}

std::unique_ptr<Chooser> Chooser::create(const Format& format, int64_t cols) {
    std::unique_ptr<Chooser> planes = plane_chooser(format, cols);
    return planes ? std::move(planes) : book_chooser(format, cols);
}

}  // namespace quant
