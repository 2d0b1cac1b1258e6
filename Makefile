# quant: needs make and a C++20 compiler (g++ 12, clang 14 or newer). `make help` lists the targets.
CXX ?= g++
BUILD ?= build
CXXFLAGS ?= -O2 -g
WARNINGS = -Wall -Wextra -Wshadow -Wconversion -Wsign-conversion
# Same bytes on every machine need the same arithmetic everywhere: no contraction into fused operations.
ALL_CXXFLAGS = -std=c++20 -Isrc -I. -ffp-contract=off -pthread $(WARNINGS) $(CXXFLAGS)

SOURCES := $(wildcard src/*/*.c++ models/*.c++ convert/*.c++ convert/*/*.c++ quant.c++)
OBJECTS := $(SOURCES:%=$(BUILD)/%.o)
UNIT := $(wildcard tests/unit/*.c++)
UNIT_PROGRAMS := $(UNIT:tests/unit/%.c++=$(BUILD)/tests/%)

all: $(BUILD)/quant

# Instruction sets live in files of their own, named after them; only those get the flags.
$(BUILD)/src/kernels/avx2%.o: ISA = -mavx2 -mfma -mf16c
$(BUILD)/src/kernels/avx512%.o: ISA = -mavx512f -mavx512bw -mavx512dq -mavx512vl -mavx512vnni -mavx2 -mfma -mf16c
$(BUILD)/src/kernels/neon_dotprod%.o: ISA = -march=armv8.2-a+dotprod
$(BUILD)/src/kernels/neon_i8mm%.o: ISA = -march=armv8.2-a+dotprod+i8mm

$(BUILD)/%.c++.o: %.c++
	@mkdir -p $(@D)
	$(CXX) $(ALL_CXXFLAGS) $(ISA) -MMD -MP -c $< -o $@

$(BUILD)/libquant.a: $(OBJECTS)
	@rm -f $@
	$(AR) rcs $@ $^

$(BUILD)/quant: $(BUILD)/src/main.c++.o $(BUILD)/libquant.a
	$(CXX) $(CXXFLAGS) -pthread $^ $(LDFLAGS) -o $@
	@ln -sf quant $(BUILD)/quantize && ln -sf quant $(BUILD)/run

$(BUILD)/tests/%: $(BUILD)/tests/unit/%.c++.o $(BUILD)/libquant.a
	@mkdir -p $(@D)
	$(CXX) $(CXXFLAGS) -pthread $^ $(LDFLAGS) -o $@

test: all $(UNIT_PROGRAMS)
	tests/run.sh $(UNIT_PROGRAMS) $(wildcard tests/regress/*.sh)

clean:
	rm -rf $(BUILD)

.PHONY: all test clean
.SECONDARY:
-include $(shell find $(BUILD) -name '*.d' 2>/dev/null)
