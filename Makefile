# quant: needs make and a C++20 compiler (g++ 12, clang 14 or newer). `make help` lists targets and options.
BUILD ?= build
PREFIX ?= /usr/local
BINDIR ?= $(PREFIX)/bin
LIBDIR ?= $(PREFIX)/lib
INCLUDEDIR ?= $(PREFIX)/include
ifeq ($(origin CXX),default)
CXX := $(shell command -v g++ || command -v clang++ || echo c++)
endif

# All cores, unless -j says otherwise.
ifeq ($(MAKELEVEL),0)
MAKEFLAGS += -j$(shell nproc 2>/dev/null || getconf _NPROCESSORS_ONLN)
endif

TARGET := $(shell $(CXX) -dumpmachine)
CPU := $(firstword $(subst -, ,$(TARGET)))
VERSION := $(shell sed -n 's/.*kVersion = "\(.*\)".*/\1/p' src/version.h)

# ---- flags: CXXFLAGS and LDFLAGS are the user's and come last ----
OPTIMIZE ?= -O2
OPTIMIZE_HOT ?= -O3
HARDENING ?= -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2 -fstack-protector-strong
WARNINGS = -Wall -Wextra -Wshadow -Wconversion -Wsign-conversion
ifneq ($(filter 1 true,$(WERROR) $(CI)),)
WARNINGS += -Werror
endif
# One set of objects serves the program and both libraries, hence -fPIC; only what quant.h marks is visible.
# Same bytes on every machine need the same arithmetic everywhere: no contraction into fused operations.
COMPILE = $(CXX) -std=c++20 -Isrc -I. -fPIC -fvisibility=hidden -ffp-contract=off -pthread $(WARNINGS) $(LEVEL) $(HARDENING) $(ISA) $(OPENMP_FLAG) $(CXXFLAGS) $(UNSANITIZED)
LINK = $(CXX) -pthread $(OPENMP_FLAG) $(CXXFLAGS) $(LINK_HARDENING)
ifneq ($(filter 1 true,$(OPENMP)),)
OPENMP_FLAG = -fopenmp
endif
ifneq ($(findstring darwin,$(TARGET)),)
SHARED = libquant.$(firstword $(subst ., ,$(VERSION))).dylib
SHARED_LINK = libquant.dylib
LINK_SHARED = -dynamiclib -install_name $(LIBDIR)/$(SHARED)
CXX_RUNTIME = -lc++
else
SHARED = libquant.so.$(firstword $(subst ., ,$(VERSION)))
SHARED_LINK = libquant.so
LINK_SHARED = -shared -Wl,-soname,$(SHARED) -Wl,--version-script=scripts/quant.map -Wl,-z,defs -Wl,-z,relro -Wl,-z,now
LINK_HARDENING = -pie -Wl,-z,relro -Wl,-z,now
CXX_RUNTIME = -lstdc++
endif

# Index arithmetic of the instruction sets' files mixes int and pointers' widths on purpose.
$(BUILD)/src/kernels/avx%.o $(BUILD)/src/kernels/neon%.o: WARNINGS += -Wno-conversion -Wno-sign-conversion
# g++ 12 sees the deliberately undefined values inside its own AVX-512 intrinsics.
$(BUILD)/src/kernels/avx512%.o $(BUILD)/src/formats/avx512%.o: WARNINGS += -Wno-uninitialized
LEVEL = $(OPTIMIZE)
$(BUILD)/src/kernels/%.o $(BUILD)/src/formats/%.o: LEVEL = $(OPTIMIZE_HOT)
$(BUILD)/tests/unit/%.o: LEVEL = -O1
# Instruction sets live in files of their own, named after them; only those get the flags. CMakeLists.txt has the same list.
ifneq ($(filter x86_64 amd64 i686,$(CPU)),)
AVX512 = -mavx512f -mavx512bw -mavx512dq -mavx512vl -mavx512vnni
$(BUILD)/src/formats/avx2%.o: ISA = -mavx2
$(BUILD)/src/formats/avx512%.o: ISA = $(AVX512) -mavx2
$(BUILD)/src/kernels/avx2%.o: ISA = -mavx2 -mfma -mf16c
$(BUILD)/src/kernels/avxvnni%.o: ISA = -mavxvnni -mavx2 -mfma -mf16c
$(BUILD)/src/kernels/avx512%.o: ISA = $(AVX512) -mavx2 -mfma -mf16c
$(BUILD)/src/kernels/avx512_vbmi%.o: ISA = $(AVX512) -mavx512vbmi -mgfni -mavx2 -mfma -mf16c
endif
ifneq ($(filter aarch64 arm64,$(CPU)),)
$(BUILD)/src/kernels/neon_dotprod%.o: ISA = -march=armv8.2-a+dotprod
$(BUILD)/src/kernels/neon_i8mm%.o: ISA = -march=armv8.2-a+dotprod+i8mm
endif

SOURCES := $(wildcard src/*/*.c++ models/*.c++ convert/*.c++ convert/*/*.c++ quant.c++)
OBJECTS := $(SOURCES:%=$(BUILD)/%.o)
UNIT := $(wildcard tests/unit/*.c++)
UNIT_PROGRAMS := $(UNIT:tests/unit/%.c++=$(BUILD)/tests/%)
FUZZ := $(wildcard tests/fuzz/*.c++)
FUZZ_PROGRAMS := $(FUZZ:tests/fuzz/%.c++=$(BUILD)/fuzz/%)
PROGRAM := $(BUILD)/quant

all: $(PROGRAM) ## the program, in build/quant (default)

$(BUILD)/%.c++.o: %.c++
	@mkdir -p $(@D)
	$(COMPILE) -MMD -MP -c $< -o $@

$(BUILD)/libquant.a: $(OBJECTS)
	@rm -f $@
	$(AR) rcs $@ $^

$(BUILD)/$(SHARED): $(OBJECTS)
	$(CXX) -pthread $(OPENMP_FLAG) $(CXXFLAGS) $(LINK_SHARED) $^ $(LDFLAGS) -o $@

$(PROGRAM): $(BUILD)/src/main.c++.o $(BUILD)/libquant.a
	$(LINK) $^ $(LDFLAGS) -o $@
	@ln -sf quant $(BUILD)/quantize && ln -sf quant $(BUILD)/run

$(BUILD)/tests/%: $(BUILD)/tests/unit/%.c++.o $(BUILD)/libquant.a
	@mkdir -p $(@D)
	$(LINK) $^ $(LDFLAGS) -o $@

$(BUILD)/fuzz/%: $(BUILD)/tests/fuzz/%.c++.o $(BUILD)/libquant.a
	@mkdir -p $(@D)
	$(LINK) $^ $(LDFLAGS) -o $@

try: $(PROGRAM) ## build, then quantize the bundled model to 4 bits, judge it, let it write
	@QUANT_BUILD=$(BUILD) scripts/try.sh

test: all $(BUILD)/$(SHARED) $(UNIT_PROGRAMS) ## build and run all tests; ends with: N passed, N failed, N skipped
	@QUANT_BUILD=$(BUILD) CXX="$(CXX)" tests/run.sh $(UNIT_PROGRAMS) $(wildcard tests/regress/*.sh)

# The tests that do more when asked to, and the slow ones.
FULL = $(patsubst tests/unit/%.c++,$(BUILD)/tests/%,$(shell grep -lE 'check::full|QUANT_FULL_TESTS' tests/unit/*.c++ tests/regress/*.sh)) $(wildcard tests/slow/*.sh)
full: all $(BUILD)/$(SHARED) $(UNIT_PROGRAMS) ## what `make test` leaves out: full figures, tests/slow (many minutes)
	@QUANT_FULL_TESTS=1 TEST_TIMEOUT=3600 QUANT_BUILD=$(BUILD) CXX="$(CXX)" tests/run.sh $(FULL)

unit: $(UNIT_PROGRAMS) ## the unit tests alone
	@QUANT_BUILD=$(BUILD) tests/run.sh $(UNIT_PROGRAMS)

# Sanitized builds stay in folders of their own. Of the instruction sets AVX2 meets all sanitizers; those above it share its loops, and
# with AddressSanitizer they would take half of the time.
WITH_AVX2 = $(if $(filter x86_64 amd64,$(CPU)),QUANT_ISA=avx2)
SANITIZED = $(MAKE) OPTIMIZE=-O1 OPTIMIZE_HOT=-O1 HARDENING= WERROR= CI=
ifneq ($(findstring -DQUANT_SANITIZED,$(CXXFLAGS)),)
$(BUILD)/src/kernels/avx512%.o $(BUILD)/src/kernels/avxvnni%.o: UNSANITIZED = -fno-sanitize=address -fno-sanitize=thread
endif
# AddressSanitizer meets null pointers by itself.
ASAN = BUILD=$(BUILD)/asan CXXFLAGS="-DQUANT_SANITIZED -g1 -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize=null -fno-sanitize-recover=all -D_GLIBCXX_ASSERTIONS"
asan: ## unit tests under AddressSanitizer and UBSan, in build/asan
	+$(SANITIZED) unit $(ASAN)
fuzz: ## fuzz targets under AddressSanitizer and UBSan, QUANT_FUZZ_RUNS=100000 inputs each, in build/asan
	+$(SANITIZED) fuzz-programs $(ASAN)
fuzz-programs: $(FUZZ_PROGRAMS)
	@tests/run.sh $(FUZZ_PROGRAMS)
ubsan: ## unit tests under UBSan alone, in build/ubsan
	+$(SANITIZED) all unit BUILD=$(BUILD)/ubsan CXXFLAGS="-DQUANT_SANITIZED -g1 -fsanitize=undefined -fno-sanitize-recover=all -D_GLIBCXX_ASSERTIONS"
THREADED = $(addprefix $(BUILD)/tests/,threads tensor model quantize rounding adapter)
threaded: $(THREADED)
	@QUANT_BUILD=$(BUILD) tests/run.sh $(THREADED)
tsan: ## tests with threads, one quantization and one generation under ThreadSanitizer, in build/tsan
	+$(WITH_AVX2) $(SANITIZED) all threaded BUILD=$(BUILD)/tsan CXXFLAGS="-DQUANT_SANITIZED -g1 -fsanitize=thread"
	$(WITH_AVX2) QUANT_BUILD=$(BUILD)/tsan tests/run.sh scripts/threads.sh

bench: $(PROGRAM) ## speed of the bundled model in f16 and 4 bits on this machine
	@QUANT_BUILD=$(BUILD) scripts/bench.sh

install: all $(BUILD)/$(SHARED) ## program, links, libraries, quant.h, pkg-config file; PREFIX=/usr/local DESTDIR=
	install -d $(DESTDIR)$(BINDIR) $(DESTDIR)$(LIBDIR)/pkgconfig $(DESTDIR)$(INCLUDEDIR)
	install -m 755 $(PROGRAM) $(DESTDIR)$(BINDIR)/quant
	ln -sf quant $(DESTDIR)$(BINDIR)/quantize
	ln -sf quant $(DESTDIR)$(BINDIR)/run
	install -m 644 quant.h $(DESTDIR)$(INCLUDEDIR)/quant.h
	install -m 644 $(BUILD)/libquant.a $(DESTDIR)$(LIBDIR)/libquant.a
	install -m 755 $(BUILD)/$(SHARED) $(DESTDIR)$(LIBDIR)/$(SHARED)
	ln -sf $(SHARED) $(DESTDIR)$(LIBDIR)/$(SHARED_LINK)
	sed -e 's|@PREFIX@|$(PREFIX)|; s|@LIBDIR@|$(LIBDIR)|; s|@INCLUDEDIR@|$(INCLUDEDIR)|; s|@VERSION@|$(VERSION)|' \
	    -e 's|@PRIVATE_LIBS@|$(strip $(CXX_RUNTIME) -lm -pthread $(OPENMP_FLAG))|' scripts/quant.pc.in > $(DESTDIR)$(LIBDIR)/pkgconfig/quant.pc

uninstall: ## removes what install wrote, with the same PREFIX and DESTDIR
	rm -f $(addprefix $(DESTDIR)$(BINDIR)/,quant quantize run) $(DESTDIR)$(INCLUDEDIR)/quant.h
	rm -f $(addprefix $(DESTDIR)$(LIBDIR)/,libquant.a $(SHARED) $(SHARED_LINK) pkgconfig/quant.pc)

clean: ## removes the build folder
	rm -rf $(BUILD)

help: ## this list
	@echo "usage: make [TARGET] [OPTION=VALUE ...]"
	@echo
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/\1|\2/p' Makefile | awk -F'|' '{ printf "  %-10s %s\n", $$1, $$2 }'
	@echo
	@echo "options: CXX=clang++  BUILD=folder  CXXFLAGS= LDFLAGS= (added last)  WERROR=1 (warnings are errors; CI=1 too)"
	@echo "         OPENMP=1 (threads from OpenMP's runtime)  PREFIX=/usr/local DESTDIR= (install)"

.PHONY: all try test full unit threaded fuzz fuzz-programs asan ubsan tsan bench install uninstall clean help
.SECONDARY:
-include $(OBJECTS:.o=.d) $(UNIT:%=$(BUILD)/%.d) $(BUILD)/src/main.c++.d
