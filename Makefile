# abide: see README.md. The targets a person calls are listed by `make help`.

VERSION := $(shell cat updater/VERSION)
# For another machine, CROSS=aarch64-linux-gnu for example: its compiler, its libraries, its own
# directory. SYSROOT= is where the libraries are, if not Debian's (image/sysroot.sh).
CROSS ?=
B ?= $(if $(CROSS),build-$(CROSS),build)
PREFIX ?= /usr
SYSCONFDIR ?= /etc
DESTDIR ?=
PKG_CONFIG ?= pkg-config
JOBS ?= $(shell nproc)
FUZZ_SECONDS ?= 60
ifneq ($(CROSS),)
DEBIAN_SYSROOT := build/cache/$(CROSS)
SYSROOT ?= $(DEBIAN_SYSROOT)
SYSROOT_READY := $(if $(filter $(DEBIAN_SYSROOT),$(SYSROOT)),sysroot)
ifeq ($(SYSROOT_READY)$(wildcard $(SYSROOT)/usr),)
$(error SYSROOT='$(SYSROOT)' is no folder with an usr/ in it: leave it out for Debian's libraries)
endif
AR := $(CROSS)-ar
# Only what the sysroot has, in Debian's places and in the plain ones.
SYSROOT_PATH := $(abspath $(SYSROOT))
PKG_CONFIG_ENV := PKG_CONFIG_PATH= PKG_CONFIG_SYSROOT_DIR=$(SYSROOT_PATH) PKG_CONFIG_LIBDIR=$(subst \
	$() ,:,$(patsubst %,$(SYSROOT_PATH)/usr/%/pkgconfig,lib/$(CROSS) lib64 lib share))
endif
ifeq ($(origin CC),default)
CC := $(if $(CROSS),$(CROSS)-gcc --sysroot=$(SYSROOT),gcc)
endif

LIBS_DEVICE := libarchive libssl libcrypto libcurl jansson inih blkid libzstd libseccomp libubootenv
LIBS_HOST := fdisk
LIBS_TEST := cmocka

WARNINGS := -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wsign-conversion -Wcast-qual \
	-Wwrite-strings -Wstrict-prototypes -Wmissing-prototypes -Wformat=2 -Wundef -Wvla \
	-Wswitch-enum -Wimplicit-fallthrough
WERROR ?= -Werror
# What a program does not call is left out of it, function by function.
OPTIMIZE ?= -O2 -g -ffunction-sections -fdata-sections
HARDEN ?= -D_FORTIFY_SOURCE=2 -fstack-protector-strong
CFLAGS ?= $(OPTIMIZE) $(HARDEN)
LDFLAGS ?= -Wl,-z,relro,-z,now -Wl,--as-needed -Wl,--gc-sections
# Asked once, when first used, so that `make help` works before the libraries are there.
pkg_config = $(eval $(1) := $(shell $(PKG_CONFIG_ENV) $(PKG_CONFIG) $(2)))$($(1))
DEVICE_CFLAGS = $(call pkg_config,DEVICE_CFLAGS,--cflags $(LIBS_DEVICE))
DEVICE_LIBS = $(call pkg_config,DEVICE_LIBS,--libs $(LIBS_DEVICE))
FDISK_LIBS = $(call pkg_config,FDISK_LIBS,--libs $(LIBS_HOST))
CMOCKA_LIBS = $(call pkg_config,CMOCKA_LIBS,--libs $(LIBS_TEST))
HOST_LIBS = $(DEVICE_LIBS) $(FDISK_LIBS) -lpthread
TEST_LIBS = $(HOST_LIBS) $(CMOCKA_LIBS)
# What the code needs whatever the caller sets. Paths in the programs are relative to the source,
# so that the same source gives the same program wherever it is built.
NEEDED = -std=gnu17 -D_GNU_SOURCE -D_FILE_OFFSET_BITS=64 -I. -fPIE -ffile-prefix-map=$(CURDIR)=. \
	$(WARNINGS) $(WERROR) -DABIDE_VERSION='"$(VERSION)"' $(DEVICE_CFLAGS)
# The build's time judges certificates on devices without a clock. It comes from the last commit.
BUILD_TIME := $(or $(SOURCE_DATE_EPOCH),$(shell git -c safe.directory='*' log -1 --format=%ct \
	2>/dev/null),0)

# Floors 0-3 and the carrier are the library; main and cmd_* are the program (updater/README.md).
# One for files, one for URLs: only that needs an HTTP library.
CARRIERS := abide-carrier abide-carrier-http
CARRIER_SRC := $(CARRIERS:%=updater/carrier/%.c)
START_SRC := bootloader-hooks/efi/start.c
PROGRAM_SRC := updater/abide.c $(wildcard updater/cmd_*.c updater/ui*.c)
LIBRARY_SRC := $(filter-out $(PROGRAM_SRC) $(CARRIER_SRC),$(wildcard updater/*.c updater/carrier/*.c)) \
	$(filter-out $(START_SRC),$(wildcard bootloader-hooks/*.c bootloader-hooks/*/*.c))
IMAGE_MAIN_SRC := image/abide-image.c $(wildcard image/cmd_*.c)
IMAGE_SRC := $(filter-out $(IMAGE_MAIN_SRC),$(wildcard image/*.c))
TEST_MAIN_SRC := $(wildcard tests/test_*.c)
TEST_SUPPORT_SRC := $(filter-out $(TEST_MAIN_SRC),$(wildcard tests/*.c))
TOOL_SRC := $(wildcard tests/tools/*.c)
BENCH_SRC := $(wildcard tests/bench/*.c)
FUZZ_SRC := $(wildcard tests/fuzz/fuzz_*.c)
QEMU_SRC := $(wildcard qemu/*.c)
QEMU_MAIN_SRC := qemu/demo.c $(wildcard qemu/test_*.c)
QEMU_SUPPORT_SRC := $(filter-out $(QEMU_MAIN_SRC),$(QEMU_SRC))
ALL_SRC := $(PROGRAM_SRC) $(CARRIER_SRC) $(LIBRARY_SRC) $(IMAGE_MAIN_SRC) $(IMAGE_SRC) $(TEST_MAIN_SRC) \
	$(TEST_SUPPORT_SRC) $(TOOL_SRC) $(BENCH_SRC) $(FUZZ_SRC) $(QEMU_SRC)
BUILD_TIME_SRC := $(shell grep -ls ABIDE_BUILD_TIME $(ALL_SRC))
HEADERS := $(wildcard updater/*.h updater/carrier/*.h bootloader-hooks/*.h bootloader-hooks/*/*.h \
	image/*.h tests/*.h tests/fuzz/*.h qemu/*.h)
# Every file of the source that starts with a shell's name.
SCRIPTS = $(shell git -c safe.directory='*' ls-files --cached --others --exclude-standard | \
	xargs awk 'FNR == 1 && /^\#!.*sh$$/ { print FILENAME }; { nextfile }')

objects = $(patsubst %.c,$(B)/obj/%.o,$(1))
# The slowest first, so that no core waits for them at the end.
SLOW_TESTS := sweep uboot_cmd grub_cfg bundle container disk signer carrier install extract
TESTS := $(patsubst tests/%.c,$(B)/tests/%,\
	$(foreach name,$(SLOW_TESTS),$(filter tests/test_$(name).c,$(TEST_MAIN_SRC))) \
	$(filter-out $(SLOW_TESTS:%=tests/test_%.c),$(TEST_MAIN_SRC)))
TOOLS := $(patsubst tests/tools/%.c,$(B)/tests/tools/%,$(TOOL_SRC))
# These replace a part of abide in a program of the bench.
BENCH_PARTS := inprocess unread
BENCH_TOOLS := $(patsubst tests/bench/%.c,$(B)/tests/bench/%,\
	$(filter-out $(BENCH_PARTS:%=tests/bench/%.c),$(BENCH_SRC))) $(BENCH_PARTS:%=$(B)/tests/bench/abide-%)
FUZZERS := $(patsubst tests/fuzz/%.c,$(B)/fuzz/%,$(FUZZ_SRC))

.PHONY: all help clean FORCE
#: all          build/abide with its carriers and build/abide-image (the default); with
#:              CROSS=aarch64-linux-gnu the same for arm64, in build-aarch64-linux-gnu
all: $(B)/abide $(CARRIERS:%=$(B)/%) $(B)/abide-image

.PHONY: abide-start.efi
#: abide-start.efi  build/abide-start.efi, for the ESP of devices with systemd-boot or without a
#:              bootloader (needs clang and lld)
abide-start.efi: $(B)/abide-start.efi

help:
	@sed -n 's/^#: //p' $(MAKEFILE_LIST)

# ---- building ----

.PHONY: sysroot
sysroot:
	@image/sysroot.sh $(CROSS) $(DEBIAN_SYSROOT) build/cache \
		$$(tests/deps.sh -l build | grep -- '-dev$$')

# A name of this make's own: suites that run beside each other look at the same time.
NEW := new.$(shell echo $$PPID)

# Holds the command line's words: what was built with others is built again.
$(B)/flags: FORCE | $(SYSROOT_READY)
	$(shell mkdir -p $(B))$(file >$@.$(NEW),$(CC) $(NEEDED) $(CFLAGS) $(LDFLAGS))
	@if cmp -s $@.$(NEW) $@; then rm $@.$(NEW); else mv $@.$(NEW) $@; fi

$(B)/build-time: FORCE
	$(shell mkdir -p $(B))$(file >$@.$(NEW),$(BUILD_TIME))
	@if cmp -s $@.$(NEW) $@; then rm $@.$(NEW); else mv $@.$(NEW) $@; fi

$(B)/obj/%.o: %.c $(B)/flags
	@mkdir -p $(@D)
	$(CC) $(NEEDED) $(CFLAGS) -MMD -MP -c $< -o $@

$(call objects,$(BUILD_TIME_SRC)): NEEDED += -DABIDE_BUILD_TIME=$(BUILD_TIME)
$(call objects,$(BUILD_TIME_SRC)): $(B)/build-time

$(B)/libabide.a: $(call objects,$(LIBRARY_SRC))
	@rm -f $@
	$(AR) rcs $@ $^

$(B)/libimage.a: $(call objects,$(IMAGE_SRC))
	@rm -f $@
	$(AR) rcs $@ $^

$(B)/libtest.a: $(call objects,$(TEST_SUPPORT_SRC))
	@rm -f $@
	$(AR) rcs $@ $^

# --as-needed: the installer links none of the libraries that only the carrier calls.
$(B)/abide: $(call objects,$(PROGRAM_SRC)) $(B)/libabide.a
	$(CC) $(CFLAGS) -pie $(LDFLAGS) $^ $(DEVICE_LIBS) -o $@

# Of libarchive they take a tar header's part, where there is an archive to take it from: the shared
# library brings fifteen others (updater/carrier/README.md). ARCHIVE=-larchive links that.
ARCHIVE = $(eval ARCHIVE := $(if $(findstring /,$(shell $(CC) -print-file-name=libarchive.a)),\
	-l:libarchive.a,-larchive))$(ARCHIVE)
CARRIER_LIBS = $(DEVICE_LIBS:-larchive=$(ARCHIVE))
$(CARRIERS:%=$(B)/%): $(B)/%: $(B)/obj/updater/carrier/%.o $(B)/libabide.a
	$(CC) $(CFLAGS) -pie $(LDFLAGS) $^ $(CARRIER_LIBS) -o $@

# They are looked for beside the program that starts them.
$(CARRIERS:%=$(B)/tests/bench/%): $(B)/tests/bench/%: $(B)/%
	@mkdir -p $(@D)
	ln -f $< $@

$(CARRIERS:%=$(B)/tests/%): $(B)/tests/%: $(B)/%
	@mkdir -p $(@D)
	ln -f $< $@

$(B)/abide-image: $(call objects,$(IMAGE_MAIN_SRC)) $(B)/libimage.a $(B)/libabide.a
	$(CC) $(CFLAGS) -pie $(LDFLAGS) $^ $(HOST_LIBS) -o $@

# A program for the firmware, whatever this machine is: what is on the ESP of a factory disk.
EFI_CFLAGS := -target x86_64-unknown-windows -std=gnu17 -ffreestanding -fshort-wchar -mno-red-zone \
	-O2 -Wall -Wextra -Werror
$(B)/abide-start.efi: $(START_SRC)
	@mkdir -p $(B)/obj/$(<D)
	clang $(EFI_CFLAGS) -c $< -o $(B)/obj/$(<:.c=.obj)
	lld-link /subsystem:efi_application /entry:efi_main /nodefaultlib /Brepro /out:$@ \
		$(B)/obj/$(<:.c=.obj)

$(B)/tests/test_%: $(B)/obj/tests/test_%.o $(B)/libtest.a $(B)/libimage.a $(B)/libabide.a \
		| $(CARRIERS:%=$(B)/tests/%)
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) -pie $(LDFLAGS) $^ $(TEST_LIBS) -o $@

$(B)/tests/tools/%: $(B)/obj/tests/tools/%.o $(B)/libtest.a $(B)/libimage.a $(B)/libabide.a
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) -pie $(LDFLAGS) $^ $(TEST_LIBS) -o $@

# The part comes first, so that the library's is not taken.
$(BENCH_PARTS:%=$(B)/tests/bench/abide-%): $(B)/tests/bench/abide-%: $(call objects,$(PROGRAM_SRC)) \
		$(B)/obj/tests/bench/%.o $(B)/libabide.a | $(CARRIERS:%=$(B)/tests/bench/%)
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) -pie $(LDFLAGS) $^ $(CARRIER_LIBS) -lpthread -o $@

$(B)/tests/bench/%: $(B)/obj/tests/bench/%.o
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) -pie $(LDFLAGS) $^ -o $@

$(B)/fuzz/%: $(B)/obj/tests/fuzz/%.o $(B)/libimage.a $(B)/libabide.a
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) -fsanitize=fuzzer -pie $(LDFLAGS) $^ $(HOST_LIBS) -o $@

$(B)/qemu/demo: $(B)/obj/qemu/demo.o $(call objects,$(QEMU_SUPPORT_SRC)) $(B)/libabide.a
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) -pie $(LDFLAGS) $^ $(DEVICE_LIBS) -o $@

$(B)/qemu/test_%: $(B)/obj/qemu/test_%.o $(call objects,$(QEMU_SUPPORT_SRC)) $(B)/libtest.a \
		$(B)/libimage.a $(B)/libabide.a
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) -pie $(LDFLAGS) $^ $(TEST_LIBS) -o $@

.PHONY: tests tools bench-tools fuzzers
tests: $(TESTS) $(TOOLS)
bench-tools: $(BENCH_TOOLS)
tools: $(TOOLS)
fuzzers: $(FUZZERS)

# The same rules with other flags, each in its own directory.
SANITIZE := -fno-sanitize-recover=all -fno-omit-frame-pointer
ASAN := B=build-asan CC=clang OPTIMIZE='-O1 -g' HARDEN='-fsanitize=address,undefined $(SANITIZE)'
FUZZ := B=build-fuzz CC=clang OPTIMIZE='-O1 -g' \
	HARDEN='-fsanitize=fuzzer-no-link,address,undefined $(SANITIZE)'
COVERAGE := B=build-coverage CC=clang OPTIMIZE='-O0 -g' \
	HARDEN='-fprofile-instr-generate -fcoverage-mapping'
ANALYZER := B=build-analyzer CC=gcc OPTIMIZE='-O2 -g' HARDEN='-fanalyzer'
SUB := $(MAKE) --no-print-directory
# What builds is tested; that something does not is one failure more.
BUILD := $(SUB) -s -k -j$(JOBS)
build = built=0; $(BUILD) $(1) || built=$$?;
RUN := tests/run.sh -b $$built -j $(JOBS)

# ---- the demonstration (qemu/README.md) ----

.PHONY: demo
#: demo         a virtual device that updates, fails and goes back, as a story (as root, 3 minutes)
demo:
	@tests/deps.sh build qemu
	@$(SUB) -s -j$(JOBS) all build/qemu/demo
	@qemu/releases.sh x86_64-grub build/abide build/abide-image build/qemu build/cache
	@build/qemu/demo build/qemu

# ---- testing (tests/README.md) ----

CLI_TESTS := $(filter-out tests/cli/lib%,$(wildcard tests/cli/*.sh))
SUITES := unit asan cli cli-asan fuzz-replay qemu
ASAN_ENV := ASAN_OPTIONS=abort_on_error=1:detect_leaks=1 UBSAN_OPTIONS=print_stacktrace=1

.PHONY: test test-all $(SUITES:%=test-%) test-qemu-all test-valgrind test-custom-hook fuzz fuzz-replay \
	coverage
#: test         everything below up to test-qemu; installs what it needs (as root)
test:
	@tests/deps.sh build test qemu arm
	@$(SUB) test-all

# A suite that fails does not keep the next ones from running; the sum decides. The virtual devices run
# beside the others: each waits for something now and then. What both use is built first.
test-all:
	@rm -rf build/test-logs
	@$(BUILD) tests tools bench-tools $(QEMU_BUILT) || true
	@$(BUILD) CROSS=aarch64-linux-gnu all || true
	@$(SUB) test-qemu & qemu=$$!; \
	trap 'kill $$qemu; exit 130' INT TERM; \
	for suite in $(filter-out qemu,$(SUITES)); do $(SUB) test-$$suite || true; done; \
	wait $$qemu || true; tests/run.sh -s

#: test-unit    the units (tests/test_*.c)
test-unit:
	@$(call build,tests bench-tools) \
	$(RUN) -t 900 unit $(TESTS)

#: test-asan    the units under the address and undefined behaviour sanitizers
# Without those whose time goes to real bootloaders. Of thousands of like cases each eighth: all of
# them are test-unit's.
ASAN_SKIP := uboot_cmd grub_cfg
test-asan:
	@$(call build,$(ASAN) tests) \
	$(ASAN_ENV) ABIDE_TEST_EVERY=8 $(RUN) -t 1200 asan $(patsubst $(B)/%,build-asan/%,\
		$(filter-out $(ASAN_SKIP:%=$(B)/tests/test_%),$(TESTS)))

#: test-cli     the command-line tests (tests/cli/*.sh)
test-cli:
	@$(call build,all tools) \
	ABIDE_BUILD=$(CURDIR)/build $(RUN) -t 600 cli $(CLI_TESTS)

#: test-cli-asan  the same with the programs of the sanitizer build
# Without those whose time goes to programs in sh that start each other.
CLI_ASAN_SKIP := custom_flaws custom_hook
test-cli-asan:
	@$(call build,$(ASAN) all tools) \
	$(ASAN_ENV) ABIDE_BUILD=$(CURDIR)/build-asan $(RUN) -t 900 cli-asan \
		$(filter-out $(CLI_ASAN_SKIP:%=tests/cli/%.sh),$(CLI_TESTS))

#: test-fuzz-replay  the fuzzers' corpus, once through each target
test-fuzz-replay:
	@$(call build,$(FUZZ) fuzzers) \
	$(ASAN_ENV) $(RUN) -t 120 -w tests/fuzz/replay.sh fuzz-replay \
		$(FUZZERS:$(B)/%=build-fuzz/%)
fuzz-replay: test-fuzz-replay

# What `make test` runs is quick: an update, failures, power cuts, on these devices. The rest by name
# (DEVICE=arm64-uboot), or all of it with test-qemu-all: it takes too long for every test.
QEMU_QUICK := x86_64-grub arm64-uboot-stock
QEMU_UNITS := build/qemu/test_replay build/qemu/test_rawdisk build/qemu/test_ovmf
QEMU_BUILT := all build/abide-start.efi $(QEMU_UNITS) \
	build/qemu/test_devices
# qemu_test SUITE,DEVICES or nothing for all,ENVIRONMENT,SECONDS,MORE TESTS,WHICH FAULTS
# Each device is a program for run.sh, so that several run at a time.
qemu_test = $(call build,$(QEMU_BUILT)) \
	$(if $(filter-out x86_64-%,$(or $(2),arm64)),$(BUILD) CROSS=aarch64-linux-gnu all || built=$$?;) \
	devices=; for device in $(or $(2),$$(build/qemu/test_devices -l)); do \
		qemu/releases.sh $$device build/abide build/abide-image build/qemu build/cache $(6) \
			>/dev/null || built=$$?; \
		echo "ABIDE_DEVICE=$$device exec build/qemu/test_devices" >build/qemu/$$device.sh; \
		devices="$$devices build/qemu/$$device.sh"; \
	done; \
	$(3) ABIDE_BUILD=$(CURDIR)/build $(RUN) -t $(4) $(1) $$devices \
		$(QEMU_UNITS) $(5)

#: test-qemu    virtual devices that boot, update, break and revert: the quick scenarios on two of
#:              them, or with DEVICE=NAME every scenario on one (qemu/README.md)
test-qemu:
ifdef DEVICE
	@$(call qemu_test,qemu-$(DEVICE),$(DEVICE),,3600,,faults)
else
	@$(call qemu_test,qemu,$(QEMU_QUICK),ABIDE_SCENARIOS=quick,3600,qemu/flash/test_flash.sh,panic)
endif

#: test-qemu-all  every scenario on every virtual device
test-qemu-all:
	@$(call qemu_test,qemu-all,,,14400,qemu/flash/test_flash.sh,faults)

#: test-valgrind  the units under valgrind
# Left out: what would see valgrind instead of itself (a system call filter, a child's descriptors
# and start), what takes minutes under it, and what writes memory that libubootenv never set.
VALGRIND_SKIP := uboot uboot_cmd sandbox carrier health process bundle powercut% sweep%
test-valgrind:
	@tests/deps.sh build test valgrind
	@$(call build,tests) \
	$(RUN) -t 900 -w tests/valgrind.sh valgrind \
		$(filter-out $(addprefix $(B)/tests/test_,$(VALGRIND_SKIP)),$(TESTS))

#: test-custom-hook  HOOK=/PATH/OF/PROGRAM: does it keep the contract of bootloader-hooks/custom?
test-custom-hook:
	@$(SUB) -s $(B)/tests/tools/custom_hook
	@$(B)/tests/tools/custom_hook $(HOOK)

#: fuzz         each fuzzer (tests/fuzz/fuzz_*.c) for FUZZ_SECONDS=60; new finds in build-fuzz/new
fuzz:
	@tests/deps.sh build test
	@$(BUILD) $(FUZZ) fuzzers
	@FUZZ_SECONDS=$(FUZZ_SECONDS) $(ASAN_ENV) tests/run.sh -j $(JOBS) -t $$(($(FUZZ_SECONDS) + 120)) \
		-w tests/fuzz/explore.sh fuzz $(FUZZERS:$(B)/%=build-fuzz/%)

#: coverage     which lines the units and the command-line tests reach, a table
coverage:
	@tests/deps.sh build test
	@$(BUILD) $(COVERAGE) all tests tools || true
	@tests/coverage.sh build-coverage $(TESTS:$(B)/%=build-coverage/%) -- $(CLI_TESTS)

# ---- measuring (tests/bench/README.md) ----

.PHONY: bench
#: bench        time, memory, bytes beside RAUC, SWUpdate and dd; BENCH_QUICK=1; PARTS=... (as root)
bench:
	@tests/deps.sh build bench
	@$(SUB) -s -j$(JOBS) all tools bench-tools
	@tests/bench/run.sh $(PARTS)

# ---- lint ----

LINT_C := $(wildcard $(ALL_SRC)) $(START_SRC) $(HEADERS)
TIDY := $(patsubst %.c,$(B)/lint/%.tidy,$(wildcard $(ALL_SRC)))
ALONE := $(patsubst %.h,$(B)/lint/%.alone,$(HEADERS))

.PHONY: lint lint-fast lint-format lint-headers lint-floors lint-shell lint-cppcheck lint-analyzer \
	lint-tidy
#: lint         style and static analysis; lint-fast leaves the slow analyzers out
lint:
	@tests/deps.sh build test lint
	@$(SUB) -k -j$(JOBS) lint-fast lint-tidy lint-analyzer
	@echo "lint: clean"
lint-fast: lint-format lint-headers lint-floors lint-shell lint-cppcheck

lint-format:
	@clang-format --dry-run -Werror $(LINT_C)

lint-floors:
	@tests/lint/floors.sh

lint-shell:
	@shellcheck -x $(SCRIPTS)

lint-cppcheck:
	@cppcheck --quiet --error-exitcode=1 --std=c11 --enable=warning,performance,portability \
		--inline-suppr --suppressions-list=tests/lint/cppcheck.txt -D_GNU_SOURCE \
		-DABIDE_VERSION='""' -DABIDE_BUILD_TIME=0 -I. -j $(JOBS) $(wildcard $(ALL_SRC))

lint-headers: $(ALONE)
$(B)/lint/%.alone: %.h $(B)/flags
	@mkdir -p $(@D)
	@printf '#include "%s"\nextern int not_empty;\n' $< | $(CC) $(NEEDED) -MMD -MP -MT $@ -MF $(@:.alone=.d) -fsyntax-only -x c -
	@touch $@

# After the object, whose dependencies say when to look again.
lint-tidy: $(TIDY)
$(B)/lint/%.tidy: %.c $(B)/obj/%.o .clang-tidy
	@mkdir -p $(@D)
	@echo "tidy $<"
	@clang-tidy --quiet --warnings-as-errors='*' $< -- $(NEEDED) -DABIDE_BUILD_TIME=0 >$@ 2>&1 || \
		{ grep -E '(error|warning): ' $@; echo "all of it: $@.log"; mv $@ $@.log; exit 1; }

lint-analyzer:
	@$(SUB) -s -k $(ANALYZER) build-analyzer/libabide.a build-analyzer/libimage.a

# ---- installing ----

INSTALL ?= install
# STRIP= keeps the symbols.
STRIP ?= -s$(if $(CROSS), --strip-program=$(CROSS)-strip)
BINDIR := $(DESTDIR)$(PREFIX)/bin
LIBDIR := $(DESTDIR)$(PREFIX)/lib
# Found relative to BINDIR, by updater/carrier/spawn.c.
LIBEXECDIR := $(DESTDIR)$(PREFIX)/libexec/abide
SHAREDIR := $(DESTDIR)$(PREFIX)/share
CONFDIR := $(DESTDIR)$(SYSCONFDIR)
UNITS := $(wildcard updater/init/*.service)
INIT_SCRIPTS := $(filter-out %.service %.sysusers %.md %.example,$(wildcard updater/init/*))
COMPLETIONS := $(wildcard updater/completion/* image/completion/*)
HOOK_FILES := $(filter-out %.c %.h,$(wildcard bootloader-hooks/*/*))

.PHONY: install
#: install      programs, manuals, completion, units, hooks; DESTDIR, PREFIX, SYSCONFDIR
# The example is replaced by every install, the device's own system.conf never.
install: all
	$(INSTALL) -d $(BINDIR) $(SHAREDIR)/man/man1 $(SHAREDIR)/man/man5 \
		$(SHAREDIR)/bash-completion/completions $(LIBDIR)/systemd/system \
		$(LIBDIR)/sysusers.d $(LIBDIR)/abide/health.d $(CONFDIR)/abide $(CONFDIR)/init.d \
		$(LIBEXECDIR)
	$(INSTALL) $(STRIP) -m 755 $(B)/abide $(B)/abide-image $(BINDIR)
	$(INSTALL) $(STRIP) -m 755 $(CARRIERS:%=$(B)/%) $(LIBEXECDIR)
	$(INSTALL) -m 644 $(wildcard updater/*.1 image/*.1) $(SHAREDIR)/man/man1
	$(INSTALL) -m 644 $(wildcard updater/*.5) $(SHAREDIR)/man/man5
	$(INSTALL) -m 644 $(COMPLETIONS) $(SHAREDIR)/bash-completion/completions
	$(INSTALL) -m 644 updater/init/abide.sysusers $(LIBDIR)/sysusers.d/abide.conf
	$(INSTALL) -m 644 updater/init/system.conf.example $(CONFDIR)/abide
	for unit in $(UNITS); do sed 's,/usr/bin/,$(PREFIX)/bin/,' $$unit \
		>$(LIBDIR)/systemd/system/$${unit##*/} || exit 1; done
	$(INSTALL) -m 755 $(INIT_SCRIPTS) $(CONFDIR)/init.d
	for hook in $(sort $(patsubst bootloader-hooks/%/,%,$(dir $(HOOK_FILES)))); do \
		$(INSTALL) -d $(SHAREDIR)/abide/$$hook || exit 1; done
	for file in $(HOOK_FILES); do $(INSTALL) -m 644 $$file \
		$(SHAREDIR)/abide/$${file#bootloader-hooks/} || exit 1; done
	[ ! -e $(B)/abide-start.efi ] || $(INSTALL) -m 644 $(B)/abide-start.efi $(SHAREDIR)/abide
	for layout in $(wildcard image/layout-*.ini); do \
		sed -e 's,\.\./bootloader-hooks/,,' -e 's,\.\./build/,,' $$layout \
		>$(SHAREDIR)/abide/$${layout#image/} || exit 1; done

#: clean        removes everything that was built
clean:
	rm -rf build build-*

-include $(patsubst %.c,$(B)/obj/%.d,$(ALL_SRC)) $(ALONE:.alone=.d)
.SECONDARY:
.DELETE_ON_ERROR:
