# Koan: one Makefile, no recursion. `make help` lists the targets.
#
# Everything lands in build/<mode>/, mirroring the source tree:
#   rel  static, optimised: the product          dbg   ASan and UBSan: the unit tests
#   tsan thread sanitizer: tests with threads    cov   gcov counters            fuzz  clang and libFuzzer
#   arm64 the product for that machine, with Debian's cross compiler            dist  archives of the product
# Sources are found by wildcard; a new .c file in src/<module>/ needs no edit here.

VERSION := 0.1.0

.DEFAULT_GOAL := all
.DELETE_ON_ERROR:
.SECONDARY:
MAKEFLAGS += --no-builtin-rules
SHELL := /bin/sh
export LC_ALL := C

# Use every core unless told otherwise.
ifeq ($(MAKELEVEL),0)
MAKEFLAGS += -j$(shell nproc)
endif

CC := gcc
CLANG ?= clang
LUAC_VERSION := 5.4

# ---- Dependencies -----------------------------------------------------------------------------------------------
# From a sysroot that packaging/sysroot/sysroot makes, or with SYSTEM_DEPS=1 from what pkg-config finds.

ifeq ($(SYSTEM_DEPS),1)
PKGS := sqlite3 lua$(LUAC_VERSION) libuv libllhttp mbedtls mbedx509 mbedcrypto libsodium libzstd jansson
DEPS_READY :=
DEPS_CFLAGS := $(shell pkg-config --cflags $(PKGS) $(if $(RAFT_SOURCE),,raft))
DEPS_CFLAGS_LUA := $(shell pkg-config --cflags lua$(LUAC_VERSION))
DEPS_LIBS := $(shell pkg-config --libs $(PKGS) $(if $(RAFT_SOURCE),,raft))
DEPS_STATIC :=
DEPS_DYNAMIC :=
DEPS_MALLOC := $(shell pkg-config --libs jemalloc 2>/dev/null)
TZDATA := /usr/share/zoneinfo/tzdata.zi
TZDATA_READY :=
CMOCKA_LIBS := $(shell pkg-config --libs cmocka 2>/dev/null)
else
SYSROOT := $(shell packaging/sysroot/sysroot path)
TRIPLET := $(shell $(CC) -print-multiarch)
SYSLIB := $(SYSROOT)/usr/lib/$(TRIPLET)
DEPS_READY := $(SYSROOT)/ready
DEPS_CFLAGS := --sysroot=$(SYSROOT)
DEPS_CFLAGS_LUA := -isystem $(SYSROOT)/usr/include/lua$(LUAC_VERSION)
DEPS_LIBS := $(addprefix -l:lib,$(addsuffix .a,sqlite3 lua$(LUAC_VERSION) uv llhttp \
    mbedtls mbedx509 mbedcrypto sodium zstd jansson))
# The release program allocates with jemalloc: golden records are many small JSON values, and glibc's malloc took a quarter
# of their time. The other modes keep the C library's, which the sanitizers replace.
DEPS_MALLOC := -l:libjemalloc.a
DEPS_LINK := --sysroot=$(SYSROOT) -B $(SYSLIB)
DEPS_STATIC := $(DEPS_LINK) -static
# Tests and sanitizers need shared objects; those of the sysroot run with the loader of the sysroot.
DEPS_DYNAMIC := $(DEPS_LINK) -Wl,--dynamic-linker=$(SYSLIB)/ld-linux-x86-64.so.2 -Wl,-rpath,$(SYSLIB)
CMOCKA_LIBS := -lcmocka
RAFT_SOURCE := $(SYSROOT)/src/raft
DATA := $(shell packaging/sysroot/sysroot path data)
SAY_NEWER = packaging/sysroot/sysroot newer $(SYSROOT) $(DATA)
TZDATA := $(DATA)/usr/share/zoneinfo/tzdata.zi
TZDATA_READY := $(DATA)/ready

$(SYSROOT)/ready:
	@packaging/sysroot/sysroot make $(SYSROOT)

$(DATA)/ready:
	@packaging/sysroot/sysroot make $(DATA) data

# The same packages for another machine; every flag above that names the sysroot then names this one.
arm64_SYSROOT := $(shell packaging/sysroot/sysroot path arm64)
arm64_READY := $(arm64_SYSROOT)/ready

$(arm64_READY):
	@packaging/setup arm64
	@packaging/sysroot/sysroot make $(arm64_SYSROOT) arm64
endif
# $1 mode, $2 flags
for_mode = $(if $($1_SYSROOT),$(subst $(TRIPLET),$($1_TRIPLET),$(subst $(SYSROOT),$($1_SYSROOT),$2)),$2)
LIBS := $(DEPS_LIBS) -lpthread -lm -ldl

# ---- Flags ------------------------------------------------------------------------------------------------------

WARN := -Wall -Wextra -Wshadow -Wconversion -Wvla -Wmissing-prototypes -Werror
CPPFLAGS := -Isrc -D_GNU_SOURCE -DKOAN_VERSION=\"$(VERSION)\"
CFLAGS := -std=gnu17 $(WARN) -g -fno-omit-frame-pointer -fno-strict-aliasing -fvisibility=hidden

# Third-party headers that are not on the default path are visible only to the modules that own them.
MODULE_CFLAGS_vm := $(DEPS_CFLAGS_LUA)
MODULE_CFLAGS_bind := $(DEPS_CFLAGS_LUA)
MODULE_CFLAGS_ledger := -isystem build/raft/include
MODULE_CFLAGS_lint := $(DEPS_CFLAGS_LUA)
MODULE_CFLAGS_fuzz := $(DEPS_CFLAGS_LUA)
MODULE_CFLAGS_sim := -isystem build/raft/include
MODULE_CFLAGS_torture := -isystem build/raft/include

# What is shipped is the same to the last bit wherever it was built, so no folder of this machine may stand in it.
rel_CC := $(CC)
rel_CFLAGS := -O2 -fstack-protector-strong -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2 -ffunction-sections -fdata-sections \
    -ffile-prefix-map=$(CURDIR)=. $(if $(SYSROOT),-ffile-prefix-map=$(SYSROOT)=/sysroot)
rel_LDFLAGS := $(DEPS_STATIC) -Wl,--gc-sections
arm64_TRIPLET := aarch64-linux-gnu
arm64_CROSS := $(arm64_TRIPLET)-
arm64_CC := $(arm64_CROSS)gcc
arm64_CFLAGS := $(call for_mode,arm64,$(rel_CFLAGS))
arm64_LDFLAGS := $(call for_mode,arm64,$(rel_LDFLAGS))
dbg_CC := $(CC)
dbg_CFLAGS := -O1 -DMEM_COUNT -fsanitize=address,undefined -fno-sanitize-recover=all
dbg_LDFLAGS := $(DEPS_DYNAMIC) -fsanitize=address,undefined
tsan_CC := $(CC)
tsan_CFLAGS := -O1 -fsanitize=thread
tsan_LDFLAGS := $(DEPS_DYNAMIC) -fsanitize=thread
cov_CC := $(CC)
cov_CFLAGS := -O0 --coverage
cov_LDFLAGS := $(DEPS_DYNAMIC) --coverage
fuzz_CC := $(CLANG)
fuzz_CFLAGS := -O1 -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all -Wno-error
fuzz_LDFLAGS := $(DEPS_DYNAMIC) -fsanitize=fuzzer,address,undefined

MODES := rel dbg tsan cov fuzz $(if $(arm64_SYSROOT),arm64)

# ---- Sources ----------------------------------------------------------------------------------------------------

SRC := $(sort $(wildcard src/*/*.c))
MAIN := src/app/main.c
UNIT_TESTS := $(patsubst %.c,%,$(sort $(wildcard tests/unit/*/*_test.c)))
SUPPORT_SRC := $(sort $(wildcard tests/support/*.c))
FUZZ_TARGETS := $(patsubst %.c,%,$(sort $(wildcard tests/fuzz/*_fuzz.c)))
BENCHES := $(patsubst %.c,%,$(sort $(wildcard tests/bench/*.c)))
# A folder of tests/ that becomes one program: tests/sim/*.c -> build/<mode>/tests/sim/sim
PROGRAMS := $(foreach p,sim torture contract upgrade,$(if $(wildcard tests/$(p)/*.c),$(p)))

# ---- Files inside the binary (src/base/embed.h) -----------------------------------------------------------------

EMBED := $(shell find lua/lib lua/apps lua/new lua/meta schema web/docs web/dist packaging/grafana \
    packaging/prometheus/alerts.yml -type f \
    \( -name '*.lua' -o -name '*.sql' -o -name '*.md' -o -name '*.json' -o -name '*.html' -o -name '*.js' \
    -o -name '*.css' -o -name '*.svg' -o -name '*.yml' \) -not -path '*/node_modules/*' -not -path 'schema/*.md' 2>/dev/null \
    | LC_ALL=C sort)

build/gen/embed.list: FORCE
	@mkdir -p $(@D)
	@printf '%s\n' $(EMBED) | grep . > $@.new || :
	@cmp -s $@.new $@ && rm $@.new || mv $@.new $@

build/gen/embed_data.S: build/gen/embed.list packaging/embed
	@packaging/embed < $< > $@

# The time zones, from Debian's tzdata (src/codec/zone.h).
build/gen/zones_data.S: packaging/zones packaging/sysroot/packages.lock | $(TZDATA_READY)
	@mkdir -p $(@D)
	@packaging/zones $(TZDATA) build/gen/zones > $@

# Changes only when the flags or the libraries do; then everything is compiled again.
FLAGS := build/gen/flags
$(FLAGS): FORCE | $(DEPS_READY)
	@mkdir -p $(@D)
	@printf '%s\n' '$(CC) $(CPPFLAGS) $(CFLAGS) $(DEPS_CFLAGS) $(LIBS)' '$(foreach m,$(MODES),$($(m)_CFLAGS))' > $@.new
	@cmp -s $@.new $@ && rm $@.new || mv $@.new $@

# ---- The raft core: Debian's source, our patches, one object that shows only raft_* ------------------------------

RAFT_CORE := byte client compress configuration convert election entry err heap membership message progress random raft \
    recv recv_append_entries recv_append_entries_result recv_install_snapshot recv_request_vote \
    recv_request_vote_result recv_timeout_now replication restore state syscall timeout tracing trail
RAFT_PATCHES := $(sort $(wildcard packaging/patches/raft-*.patch))
RAFT_READY := build/raft/ready

# Without the source (packaging/sysroot could not get it, or SYSTEM_DEPS=1 without RAFT_SOURCE=DIR) the library as
# it was released has to do; <raft.h> then defines RAFT_UNPATCHED, and clustering must stay off.
$(RAFT_READY): $(RAFT_PATCHES) $(FLAGS) | $(DEPS_READY)
	@rm -rf build/raft && mkdir -p build/raft/include
	@if [ -d "$(RAFT_SOURCE)/src" ]; then \
	    cp -r $(RAFT_SOURCE)/src build/raft/src; \
	    for p in $(RAFT_PATCHES); do patch -d build/raft -p1 -s -i "$(CURDIR)/$$p" || exit 1; done; \
	    sed 's/@enable_v0@/no/' $(RAFT_SOURCE)/include/raft.h.in > build/raft/include/raft.h; \
	else \
	    echo 'WARNING: building with the unpatched raft library: good for one node, clustering is off' >&2; \
	    printf '#define RAFT_UNPATCHED 1\n#include_next <raft.h>\n' > build/raft/include/raft.h; \
	fi
	@touch $@

# ---- Rules for every mode ---------------------------------------------------------------------------------------

# The module a source belongs to: src/<module>/x.c, tests/unit/<module>/x.c, tests/<program>/x.c
module_of = $(word $(if $(filter src/%,$1),2,$(if $(filter tests/unit/%,$1),3,2)),$(subst /, ,$1))
# glibc notes, for every name service function in a static binary, that it may load shared libraries at run time. What
# Koan asks of them (the hosts file and DNS) is built in, so the notes are left out and all else is shown.
ld_errors = 2> $@.err || { cat $@.err >&2; rm -f $@.err; exit 1; }; \
    grep -vE "in statically linked applications requires|: in function |does not take linker garbage" $@.err >&2; \
    rm -f $@.err
quiet = @printf '  %-5s %s\n' $1 '$2';

define MODE_RULES
$(1)_OBJ := $$(patsubst %.c,build/$(1)/%.o,$$(filter-out $$(MAIN),$$(SRC))) build/$(1)/gen/embed_data.o \
    build/$(1)/gen/zones_data.o build/$(1)/raft.o
$(1)_DEPS_CFLAGS = $$(call for_mode,$(1),$$(DEPS_CFLAGS))
$(1)_ALL_CFLAGS = $$(CPPFLAGS) $$(CFLAGS) $$($(1)_CFLAGS) $$($(1)_DEPS_CFLAGS)

build/$(1)/%.o: %.c $$(FLAGS) | $$(DEPS_READY) $$($(1)_READY) $$(RAFT_READY)
	@mkdir -p $$(@D)
	$$(call quiet,CC,$$@) $$($(1)_CC) $$($(1)_ALL_CFLAGS) \
	    $$(call for_mode,$(1),$$(MODULE_CFLAGS_$$(call module_of,$$<))) \
	    $$(if $$(filter tests/%,$$<),-Itests) -MMD -MP -c $$< -o $$@

build/$(1)/gen/embed_data.o: build/gen/embed_data.S $$(EMBED) | $$($(1)_READY)
	@mkdir -p $$(@D)
	$$(call quiet,AS,$$@) $$(if $$($(1)_CROSS),$$($(1)_CC),$$(CC)) -c $$< -o $$@

build/$(1)/gen/zones_data.o: build/gen/zones_data.S | $$($(1)_READY)
	@mkdir -p $$(@D)
	$$(call quiet,AS,$$@) $$(if $$($(1)_CROSS),$$($(1)_CC),$$(CC)) -c $$< -o $$@

build/$(1)/raft.o: $$(RAFT_READY) | $$($(1)_READY)
	@mkdir -p build/$(1)/raft
	$$(call quiet,CC,$$@) if [ -d build/raft/src ]; then \
	    for c in $$(RAFT_CORE); do $$($(1)_CC) -std=gnu11 -g -fno-omit-frame-pointer -fvisibility=hidden -w \
	        $$(filter-out --coverage -Wno-error,$$($(1)_CFLAGS)) $$($(1)_DEPS_CFLAGS) -Ibuild/raft/include \
	        -c build/raft/src/$$$$c.c -o build/$(1)/raft/$$$$c.o || exit 1; done; \
	    $$($(1)_CROSS)ld -r -o $$@.all build/$(1)/raft/*.o; \
	elif [ -f "$$(call for_mode,$(1),$$(SYSLIB))/libraft.a" ]; then \
	    $$($(1)_CROSS)ld -r -o $$@.all --whole-archive $$(call for_mode,$(1),$$(SYSLIB))/libraft.a \
	        --no-whole-archive $$(call for_mode,$(1),$$(SYSLIB))/liblz4.a; \
	else \
	    $$($(1)_CC) -x c -c /dev/null -o $$@.all; \
	fi
	@$$($(1)_CROSS)objcopy --wildcard --keep-global-symbol='raft_*' $$@.all $$@ && rm $$@.all

# Thin and made anew each time, so that it never holds an object whose source is gone.
build/$(1)/libkoan.a: $$($(1)_OBJ)
	@rm -f $$@ && ar rcsT $$@ $$^

build/$(1)/libsupport.a: $$(patsubst %.c,build/$(1)/%.o,$$(SUPPORT_SRC))
	@mkdir -p $$(@D) && rm -f $$@ && ar rcsT $$@ $$^

build/$(1)/tests/%.ld.d: ;
# The notes of a source that is gone would ask for it.
-include $$(foreach d,$$(shell find build/$(1) -name '*.d' 2>/dev/null),$$(if \
    $$(filter build/$(1)/src/% build/$(1)/tests/%,$$(filter-out %.ld.d,$$d)),$$(if \
    $$(wildcard $$(patsubst build/$(1)/%.d,%.c,$$d)),$$d),$$d))
endef
$(foreach m,$(MODES),$(eval $(call MODE_RULES,$(m))))

# Link a test program against the archives and note which of our objects it took, so that only a change in one
# of those links (and runs) it again. $1 mode, $2 more flags, $3 the program's own objects.
define link_test
$(call quiet,LD,$@) $($1_CC) $($1_LDFLAGS) $2 -o $@ $3 build/$1/libsupport.a build/$1/libkoan.a \
    build/$1/libsupport.a $(LIBS) $(CMOCKA_LIBS) -Wl,-t,-t > $@.trace $(ld_errors)
@{ printf '%s:' $@; sed -n 's/^\(build\/[^ ()]*\.o\)$$/ \1/p' $@.trace | sort -u | tr -d '\n'; echo; \
    sed -n 's/^\(build\/[^ ()]*\.o\)$$/\1:/p' $@.trace | sort -u; } > $@.ld.d; rm $@.trace
endef

# ---- The product ------------------------------------------------------------------------------------------------

.PHONY: all FORCE
all: build/rel/koan
	@$(SAY_NEWER)

define PRODUCT_RULES
build/$(1)/koan: build/$(1)/koan.debug
	@$$($(1)_CROSS)strip -o $$@ $$<

build/$(1)/koan.debug: build/$(1)/src/app/main.o $$($(1)_OBJ)
	$$(call quiet,LD,$$@) $$($(1)_CC) $$($(1)_LDFLAGS) -o $$@ $$^ $$(DEPS_MALLOC) $$(LIBS) $$(ld_errors)
endef
$(foreach m,$(filter rel arm64,$(MODES)),$(eval $(call PRODUCT_RULES,$(m))))

build/%/koan: build/%/src/app/main.o build/%/libkoan.a
	$(call quiet,LD,$@) $($*_CC) $($*_LDFLAGS) -o $@ $< $($*_OBJ) $(LIBS)

# ---- Tests ------------------------------------------------------------------------------------------------------

UNIT_BINS := $(addprefix build/dbg/,$(UNIT_TESTS))
.PHONY: unit unit-build sim fuzz-replay programs
unit-build: $(UNIT_BINS)
unit: $(addsuffix .ok,$(UNIT_BINS))

build/dbg/tests/unit/%_test: build/dbg/tests/unit/%_test.o | build/dbg/libkoan.a build/dbg/libsupport.a
	$(call link_test,dbg,,$<)

build/dbg/tests/unit/%_test.ok: build/dbg/tests/unit/%_test tests/run-one
	@tests/run-one $< $@

# The tests of what runs on several threads, once more under the thread sanitizer.
TSAN_MODULES := io http db ledger entity canon bind api
TSAN_TESTS := $(addprefix tests/unit/,$(addsuffix /%,$(TSAN_MODULES)) queue/queue_test queue/survey_test queue/watch_test bus/routes_test)
TSAN_BINS := $(addprefix build/tsan/,$(filter $(TSAN_TESTS),$(UNIT_TESTS)))
.PHONY: tsan
tsan: $(addsuffix .ok,$(TSAN_BINS))

build/tsan/tests/unit/%_test: build/tsan/tests/unit/%_test.o | build/tsan/libkoan.a build/tsan/libsupport.a
	$(call link_test,tsan,,$<)

build/tsan/tests/unit/%_test.ok: build/tsan/tests/unit/%_test tests/run-one
	@tests/run-one $< $@

# Small programs that the Python suites talk to.
build/dbg/tests/e2e/%: build/dbg/tests/e2e/%.o | build/dbg/libkoan.a build/dbg/libsupport.a
	$(call link_test,dbg,,$<)

# A fuzz target with a main that replays its corpus; `make fuzz` builds the same file with libFuzzer instead.
build/dbg/tests/fuzz/%_fuzz: build/dbg/tests/fuzz/%_fuzz.o build/dbg/tests/fuzz/replay.o | build/dbg/libkoan.a build/dbg/libsupport.a
	$(call link_test,dbg,,$^)

build/fuzz/tests/fuzz/%_fuzz: build/fuzz/tests/fuzz/%_fuzz.o | build/fuzz/libkoan.a build/fuzz/libsupport.a
	$(call link_test,fuzz,,$^)

define PROGRAM_RULES
build/$(1)/tests/$(2)/$(2): $$(patsubst %.c,build/$(1)/%.o,$$(wildcard tests/$(2)/*.c)) | build/$(1)/libkoan.a build/$(1)/libsupport.a
	$$(call link_test,$(1),,$$^)
endef
$(foreach m,$(MODES),$(foreach p,$(PROGRAMS),$(eval $(call PROGRAM_RULES,$(m),$(p)))))

build/rel/tests/bench/%: build/rel/tests/bench/%.o | build/rel/libkoan.a build/rel/libsupport.a
	$(call link_test,rel,,$<)
# Everything of tests/ in release mode is static, like the product; cmocka has no static archive.
build/rel/tests/%: CMOCKA_LIBS :=

programs: $(foreach p,$(PROGRAMS),build/dbg/tests/$(p)/$(p))
fuzz-replay: $(addprefix build/dbg/,$(FUZZ_TARGETS))
sim: $(if $(filter sim,$(PROGRAMS)),build/dbg/tests/sim/sim build/rel/tests/sim/sim)

.PHONY: test check guarantees run bench fuzz fuzz-build lint fmt clean help lock
test:
	@packaging/setup test
	@$(MAKE) --no-print-directory all
	@tests/run

check: lint
	@tests/run --quick

guarantees:
	@tests/guarantees

run:
	@packaging/setup run
	@$(MAKE) --no-print-directory all
	@exec lua/apps/airports/run.sh

bench:
	@packaging/setup bench
	@$(MAKE) --no-print-directory all $(addprefix build/rel/,$(BENCHES))
	@tests/bench/run

FUZZ_SECONDS ?= 60
fuzz:
	@packaging/setup fuzz
	@$(MAKE) --no-print-directory fuzz-build
	@for t in $(FUZZ_TARGETS); do name=$$(basename $$t _fuzz); \
	    mkdir -p build/fuzz/corpus/$$name tests/fuzz/corpus/$$name; \
	    echo "$$name: $(FUZZ_SECONDS) s"; \
	    build/fuzz/$$t -max_total_time=$(FUZZ_SECONDS) -artifact_prefix=build/fuzz/$$name- -print_final_stats=1 \
	    build/fuzz/corpus/$$name tests/fuzz/corpus/$$name || exit 1; done

fuzz-build: $(addprefix build/fuzz/,$(FUZZ_TARGETS))

# Incremental where a compiler or formatter is involved: only what changed since the last clean pass.
HEADERS := $(sort $(wildcard src/*/*.h))
C_FILES := $(SRC) $(HEADERS) $(sort $(wildcard tests/*/*.[ch] tests/unit/*/*.[ch]))
SCRIPTS := $(sort $(wildcard schema/*.sql)) $(sort $(shell find lua plugins -name '*.lua' 2>/dev/null))

build/lint/%.h.ok: %.h | $(DEPS_READY) $(RAFT_READY)
	@mkdir -p $(@D)
	$(call quiet,CHECK,$<) $(CC) $(CPPFLAGS) $(CFLAGS) $(DEPS_CFLAGS) $(MODULE_CFLAGS_$(call module_of,$<)) \
	    -MMD -MP -MF build/lint/$*.h.d -MT $@ -x c -fsyntax-only $<
	@touch $@

build/lint/format.ok: $(C_FILES) .clang-format
	@mkdir -p $(@D)
	@command -v clang-format > /dev/null || packaging/setup test
	$(call quiet,CHECK,formatting) clang-format --dry-run -Werror $(if $(filter .clang-format,$?),$(C_FILES),$?) \
	    || { echo 'run make fmt'; exit 1; }
	@touch $@

build/lint/scripts.ok: build/dbg/tests/lint/syntax $(SCRIPTS)
	@mkdir -p $(@D)
	$(call quiet,CHECK,Lua and SQL) $< $(SCRIPTS)
	@touch $@

build/dbg/tests/lint/syntax: build/dbg/tests/lint/syntax.o
	$(call quiet,LD,$@) $(dbg_CC) $(dbg_LDFLAGS) -o $@ $< $(LIBS)

-include $(shell find build/lint -name '*.d' 2>/dev/null)

lint: $(patsubst %,build/lint/%.ok,$(HEADERS)) build/lint/format.ok build/lint/scripts.ok build/dbg/libkoan.a \
    build/dbg/src/app/main.o
	@tests/lint/lint

fmt:
	clang-format -i $$(git ls-files '*.c' '*.h')

# ---- Releases: archives of the static binaries, the same bytes wherever they are made (packaging/dist) ------------

HOST_ARCH = $(shell dpkg --print-architecture)
ARCHS ?= $(sort $(HOST_ARCH) arm64)
binary_for = build/$(if $(filter $1,$(HOST_ARCH)),rel,$1)/koan

.PHONY: dist deb
dist: KINDS = tarball deb rootfs sbom
deb: KINDS = deb
dist deb:
	@$(if $(SYSROOT),,echo '$@ packs static binaries, which SYSTEM_DEPS=1 does not make' >&2; exit 1)
	@packaging/setup dist
	@$(MAKE) --no-print-directory build/rel/koan $(foreach a,$(ARCHS),$(call binary_for,$a))
	@mkdir -p build/dist
	@$(foreach a,$(ARCHS),packaging/dist $a $(call binary_for,$a) $(VERSION) $(KINDS) &&) cd build/dist && \
	    sha256sum $$(ls | grep -v '^SHA256SUMS$$') | tee SHA256SUMS
	@$(SAY_NEWER) $(arm64_SYSROOT)

lock:
	packaging/sysroot/sysroot lock

clean:
	rm -rf build

help:
	@printf '%s\n' \
	  'make            build/rel/koan, one static binary' \
	  'make run        build, fetch the airport data, start with the sample app, leave it running' \
	  'make test       everything that can fail; ends with "N passed, M failed"' \
	  'make check      lint, unit tests and a short simulation, in under two minutes' \
	  'make unit       unit tests whose code changed, under ASan and UBSan' \
	  'make tsan       the tests of what has threads, under the thread sanitizer' \
  'make lint       floors, headers, banned functions, formatting, Lua and SQL syntax' \
	  'make fmt        format the C sources' \
	  'make guarantees what is guaranteed, by which tests, and how they last ended' \
	  'make bench      figures, against peers on this machine' \
	  'make fuzz       every decoder under libFuzzer, FUZZ_SECONDS=60 each' \
	  'make dist       tarballs, Debian packages, image contents and bills of materials in build/dist; ARCHS=amd64 for one' \
	  'make deb        the Debian packages alone' \
	  'make lock       take the newest versions of the libraries into the lock file' \
	  'make clean      remove build/ (the downloaded libraries stay in ~/.cache/koan)' \
	  '' \
	  'build/dbg/koan, build/tsan/koan and build/cov/koan are targets too.' \
	  'SYSTEM_DEPS=1   link what pkg-config finds instead of the sysroot'
