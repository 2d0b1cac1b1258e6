// Planning and running. The plan is made of three passes over the steps: quantized copies of activations are
// put in (lower), waits are placed (place_barriers), places in the arena are given out (share_places,
// plan_arena).
#include "tensor/executor.h"

#include <algorithm>
#include <map>
#include <new>
#include <tuple>

#include "base/checked.h"
#include "base/huge_pages.h"
#include "base/log.h"
#include "formats/affine.h"
#include "formats/kept_columns.h"

namespace quant {
namespace {

constexpr uint64_t kAlignment = 64;

// Rows of wide activations lie a page and more apart, and products write some columns of each: huge pages are 3 to 4 % of a prompt.
// A few tokens would touch them in vain, which only counts beside small models: those have a small arena.
constexpr uint64_t kHugeArena = 16 * kHugePage;

template <size_t kTo>
void free_aligned(uint8_t* memory) {
    ::operator delete (memory, std::align_val_t{kTo});
}

// Untouched memory: pages that are never used cost nothing.
std::unique_ptr<uint8_t, void (*)(uint8_t*)> allocate(uint64_t bytes, bool huge_pages) {
    const std::align_val_t alignment{huge_pages ? kHugePage : kAlignment};
    auto* memory = static_cast<uint8_t*>(::operator new (std::max<uint64_t>(bytes, 1), alignment, std::nothrow));
    if (memory && huge_pages) ask_for_huge_pages(memory, bytes);
    return {memory, huge_pages ? free_aligned<kHugePage> : free_aligned<kAlignment>};
}

// Where a value's data is decided: views and stored results point at another value.
ValueId place_of(const std::vector<GraphValue>& values, ValueId id) {
    const ValueId base = values[static_cast<size_t>(id)].base;
    return base == kNoValue ? id : base;
}

// Two row-wise steps give the same rows to the same thread exactly when they have the same units.
bool same_units(const GraphValue& a, const GraphValue& b) {
    return a.extent == b.extent && (a.extent != Extent::fixed || a.rows == b.rows);
}

}  // namespace

ValueId Executor::root_of(ValueId id) const {
    id = place_of(frame_.values, id);
    while (over_[static_cast<size_t>(id)] != kNoValue)
        id = place_of(frame_.values, over_[static_cast<size_t>(id)]);
    return id;
}

// Fixed scales are for own formats of eight bits; others keep the finer scales by block that they are made for.
float fixed_range(const GraphValue& weight) {
    const auto slot = static_cast<size_t>(weight.tensor.format->slot), first = static_cast<size_t>(FormatSlot::affine);
    const bool own = slot >= first && slot < first + kAffineCount && affine_layout(slot - first).bits == 8;
    return own ? weight.input_range : 0;
}

// Own formats choose by their side data what they make of activations.
bool Executor::same_activations(const Node& first, const Node& second) const {
    const auto format = [this](const Node& node) { return graph_.value(node.inputs[0]).tensor.format; };
    return first.op == Op::matmul && second.op == Op::matmul && first.inputs[3] != kNoValue && first.inputs[3] == second.inputs[3] &&
           format(first) == format(second) && !format(first)->head;
}

// Int8 copies of activations, one per value, range and columns left out, however many weights it meets.
void Executor::lower(const ExecutorOptions& options) {
    std::map<std::tuple<ValueId, float, std::vector<uint32_t>>, ValueId> copies;
    const std::vector<Node> nodes = graph_.nodes();
    for (Node node : nodes) {
        const bool product = node.op == Op::matmul || node.op == Op::expert_matmul;
        if (product && !options.exact && takes_q8(*graph_.value(node.inputs[0]).tensor.format)) {
            const ValueId x = node.inputs[1];
            const float range = fixed_range(graph_.value(node.inputs[0]));
            const Tensor& weight = graph_.value(node.inputs[0]).tensor;
            const std::tuple key{x, range, columns_kept_by(*weight.format, weight.encoded())};
            if (!copies.contains(key)) {
                copies[key] = graph_.quantize(node.name + ".q8", x, range, std::get<2>(key));
                if (!graph_.status()) return;
                steps_.push_back({graph_.nodes().back(), nullptr});
            }
            node.inputs[3] = copies[key];
        }
        steps_.push_back({std::move(node), nullptr});
    }
    const Step* before = nullptr;
    for (Step& step : steps_) {
        step.operation = &operation_of(step.node.op);
        step.goes_on = before && same_activations(before->node, step.node);
        before = &step;
    }
}

void Executor::place_barriers() {
    const std::vector<GraphValue>& values = frame_.values;
    std::vector<int> producer(values.size(), -1);  // by place: the step that wrote it last
    int phase = 0;
    for (size_t s = 0; s < steps_.size(); ++s) {
        Step& step = steps_[s];
        for (const ValueId input : step.node.inputs) {
            if (input == kNoValue) continue;
            const int maker = producer[static_cast<size_t>(place_of(values, input))];
            if (maker < 0 || steps_[static_cast<size_t>(maker)].phase != phase) continue;
            const Step& made = steps_[static_cast<size_t>(maker)];
            const bool own_rows = made.operation->split == Split::rows &&
                                  step.operation->split == Split::rows &&
                                  same_units(values[static_cast<size_t>(made.node.output)],
                                             values[static_cast<size_t>(step.node.output)]);
            if (!own_rows) step.barrier = true;
        }
        if (step.barrier) ++phase;
        step.phase = phase;
        producer[static_cast<size_t>(place_of(values, step.node.output))] = static_cast<int>(s);
    }
}

// An operation may write over its first input when nobody needs it afterwards, in another thread either.
void Executor::share_places() {
    const std::vector<GraphValue>& values = frame_.values;
    std::vector<std::vector<size_t>> readers(values.size());  // by place
    for (size_t s = 0; s < steps_.size(); ++s)
        for (const ValueId input : steps_[s].node.inputs)
            if (input != kNoValue) readers[static_cast<size_t>(place_of(values, input))].push_back(s);
    for (size_t s = 0; s < steps_.size(); ++s) {
        const Step& step = steps_[s];
        if (!step.operation->in_place) continue;
        const ValueId input = step.node.inputs[0];
        const GraphValue &from = values[static_cast<size_t>(input)],
                         &to = values[static_cast<size_t>(step.node.output)];
        if (from.kind != ValueKind::computed || from.base != kNoValue || to.base != kNoValue || from.keep ||
            from.cols != to.cols || from.rows != to.rows || from.extent != to.extent)
            continue;
        bool free = true;
        for (const size_t r : readers[static_cast<size_t>(input)]) {
            const Step& reader = steps_[r];
            const bool earlier = reader.phase < step.phase;
            const bool same_thread = r < s && reader.operation->split == Split::rows &&
                                     same_units(values[static_cast<size_t>(reader.node.output)], to);
            if (r != s && !earlier && !same_thread) free = false;
        }
        // The second operand must not be the same value.
        for (size_t i = 1; i < step.node.inputs.size(); ++i) free = free && step.node.inputs[i] != input;
        if (free) over_[static_cast<size_t>(step.node.output)] = input;
    }
}

// Where a gate takes two products of the same activations, and its result is only read as int8.
void Executor::join_gates() {
    std::vector<int> readers(frame_.values.size());
    for (const Step& step : steps_)
        for (size_t i = 0; i < step.node.inputs.size(); ++i) {
            const ValueId input = step.node.inputs[i];
            const bool unread = i == 1 && step.node.op == Op::matmul && step.node.inputs[3] != kNoValue;  // int8 in its place
            if (input != kNoValue && !unread) ++readers[static_cast<size_t>(place_of(frame_.values, input))];
        }
    const auto read_once = [&](const Node& node) {
        const GraphValue& v = frame_.values[static_cast<size_t>(node.output)];
        return readers[static_cast<size_t>(node.output)] == 1 && !v.keep && v.base == kNoValue;
    };
    const auto plain = [](const Node& node) {
        const auto* params = node.op == Op::quantize ? std::get_if<RoundParams>(&node.params) : nullptr;
        return params && params->range == 0 && params->kept.empty();
    };
    for (size_t s = 0; s + 3 < steps_.size(); ++s) {
        const Node &first = steps_[s].node, &second = steps_[s + 1].node, &gate = steps_[s + 2].node, &rounded = steps_[s + 3].node;
        steps_[s].gated = steps_[s + 1].goes_on && !steps_[s + 1].barrier && gate.op == Op::gated && gate.inputs[0] == first.output &&
                          gate.inputs[1] == second.output && plain(rounded) && rounded.inputs[0] == gate.output &&
                          first.inputs[2] == kNoValue && second.inputs[2] == kNoValue && read_once(first) && read_once(second) && read_once(gate);
    }
}

// First and last phase in which the memory of a root is needed.
struct Executor::Lives {
    int first = -1, last = -1;
    uint64_t bytes = 0, offset = 0;
};

namespace {

uint64_t capacity_bytes(const GraphValue& v, const ExecutorOptions& options) {
    const int64_t units = v.extent == Extent::tokens    ? options.tokens
                          : v.extent == Extent::outputs ? options.outputs
                                                        : 1;
    if (v.packed_q8) return q8_matrix_bytes(v.cols, v.rows * units);
    const auto elements = checked_mul(static_cast<uint64_t>(v.cols),
                                      static_cast<uint64_t>(v.rows) * static_cast<uint64_t>(units));
    const auto bytes = elements ? checked_mul(*elements, sizeof(float)) : std::nullopt;
    return bytes.value_or(UINT64_MAX / 4);
}

}  // namespace

Status Executor::plan_arena(const ExecutorOptions& options) {
    const std::vector<GraphValue>& values = frame_.values;
    std::vector<Lives> lives(values.size());
    std::vector<ValueId> order;  // roots by first phase
    const int end = steps_.empty() ? 0 : steps_.back().phase;
    auto touch = [&](ValueId id, int phase) {
        const ValueId root = root_of(id);
        if (values[static_cast<size_t>(root)].kind != ValueKind::computed) return;
        Lives& life = lives[static_cast<size_t>(root)];
        if (life.first < 0) {
            life.first = phase;
            life.bytes = (capacity_bytes(values[static_cast<size_t>(root)], options) + kAlignment - 1) /
                         kAlignment * kAlignment;
            order.push_back(root);
        }
        life.last = std::max(life.last, values[static_cast<size_t>(id)].keep ? end : phase);
    };
    for (size_t s = 0; s < steps_.size(); ++s) {
        const Step& step = steps_[s];
        if (step.gated) touch(steps_[s + 3].node.output, step.phase);
        touch(step.node.output, step.phase);
        for (const ValueId input : step.node.inputs)
            if (input != kNoValue) touch(input, step.phase);
    }
    // Places in order of time: each root takes the lowest gap between those that live at its first phase.
    std::vector<ValueId> active;  // by offset
    uint64_t total = 0;
    for (const ValueId root : order) {
        Lives& life = lives[static_cast<size_t>(root)];
        std::erase_if(active,
                      [&](ValueId other) { return lives[static_cast<size_t>(other)].last < life.first; });
        uint64_t offset = 0;
        size_t at = 0;
        for (; at < active.size(); ++at) {
            const Lives& other = lives[static_cast<size_t>(active[at])];
            if (other.offset >= offset && other.offset - offset >= life.bytes) break;
            offset = std::max(offset, other.offset + other.bytes);
        }
        active.insert(active.begin() + static_cast<std::ptrdiff_t>(at), root);
        life.offset = offset;
        const auto top = checked_add(offset, life.bytes);
        if (!top || *top > (uint64_t{1} << 46))
            return Error{Code::memory, "activations need more memory than a machine can have"};
        total = std::max(total, *top);
    }
    arena_ = allocate(total, total >= kHugeArena);
    arena_bytes_ = total;
    if (!arena_)
        return Error{Code::memory,
                     "cannot get " + human_bytes(total) + " for activations (a smaller batch needs less)"};
    for (const ValueId root : order)
        frame_.data[static_cast<size_t>(root)] = arena_.get() + lives[static_cast<size_t>(root)].offset;
    return {};
}

// From places of roots to the place and stride of every value.
void Executor::place_values() {
    const std::vector<GraphValue>& values = frame_.values;
    bound_.resize(values.size());
    for (size_t i = 0; i < values.size(); ++i) {
        const GraphValue& v = values[i];
        const auto id = static_cast<ValueId>(i);
        const auto root = static_cast<size_t>(root_of(id));
        frame_.stride.push_back(values[static_cast<size_t>(place_of(values, id))].cols);
        if (v.kind == ValueKind::constant) frame_.data[i] = static_cast<uint8_t*>(v.tensor.data);
        if (values[root].kind == ValueKind::external) bound_[root].push_back(id);
        if (values[root].kind == ValueKind::computed && v.kind == ValueKind::computed)
            frame_.data[i] = frame_.data[root] + static_cast<size_t>(v.column) * sizeof(float);
    }
}

void Executor::bind(ValueId external, void* data) {
    for (const ValueId id : bound_[static_cast<size_t>(external)])
        frame_.data[static_cast<size_t>(id)] =
            static_cast<uint8_t*>(data) +
            static_cast<size_t>(frame_.values[static_cast<size_t>(id)].column) * sizeof(float);
}

Result<std::unique_ptr<Executor>> Executor::create(Graph graph, const ExecutorOptions& options) {
    TRY(graph.status());
    std::unique_ptr<Executor> made(new Executor);
    Executor& e = *made;
    e.graph_ = std::move(graph);
    e.lower(options);
    TRY(e.graph_.status());
    e.frame_.values = e.graph_.values();
    e.frame_.exact = options.exact;
    const size_t count = e.frame_.values.size();
    e.over_.assign(count, kNoValue);
    e.frame_.data.assign(count, nullptr);
    e.place_barriers();
    e.share_places();
    e.join_gates();
    TRY(e.plan_arena(options));
    e.place_values();
    e.frame_.counters = std::vector<StepCounter>(e.steps_.size());
    e.scratch_ = allocate(kScratchBytes * static_cast<uint64_t>(options.threads), e.arena_bytes_ >= kHugeArena);
    if (!e.scratch_) return Error{Code::memory, "cannot get scratch memory for the threads"};
    for (int t = 0; t < options.threads; ++t)
        e.frame_.scratch.push_back(e.scratch_.get() + static_cast<size_t>(t) * kScratchBytes);
    return made;
}

void Executor::run(ThreadPool& pool, int64_t tokens, int64_t outputs, int64_t position,
                   std::span<const KvSlot> kv) {
    frame_.tokens = tokens;
    frame_.outputs = outputs;
    frame_.position = position;
    frame_.kv = kv;
    for (StepCounter& counter : frame_.counters) counter.next.store(0, std::memory_order_relaxed);
    const int threads = pool.size();
    pool.run([&](int thread) {
        bool prepared = false, after_gate = false;
        for (size_t s = 0; s < steps_.size(); ++s) {
            const Step& step = steps_[s];
            if ((step.barrier || after_gate) && threads > 1) pool.barrier();
            prepared = prepared && step.goes_on;
            const StepContext context{frame_, step.node, frame_.counters[s], prepared, thread, threads};
            after_gate = step.gated && !observer_ && tokens <= operations::kMostGatedTokens;
            if (after_gate) {
                operations::gated_matmul(context, {steps_[s + 1].node, steps_[s + 2].node, steps_[s + 3].node});
                s += 3;
                continue;
            }
            step.operation->run(context);
            if (!observer_) continue;
            if (threads > 1) pool.barrier();
            if (thread == 0 && step.node.op != Op::quantize) observer_(step.node, value(step.node.output));
            if (threads > 1) pool.barrier();
        }
    });
}

Tensor Executor::value(ValueId id) const {
    const auto i = static_cast<size_t>(id);
    const GraphValue& v = frame_.values[i];
    if (v.kind == ValueKind::constant) return v.tensor;
    Tensor tensor = make_tensor(*v.tensor.format, {v.cols, frame_.row_count(id), 1, 1}, frame_.data[i]);
    tensor.stride[1] = frame_.stride[i] * static_cast<int64_t>(sizeof(float));
    return tensor;
}

size_t Executor::barriers() const {
    return static_cast<size_t>(
        std::count_if(steps_.begin(), steps_.end(), [](const Step& step) { return step.barrier; }));
}

}  // namespace quant
