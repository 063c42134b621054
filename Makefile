# abide: see README.md. The targets a person calls are listed by `make help`.

VERSION := $(shell cat updater/VERSION)
B ?= build
PREFIX ?= /usr
SYSCONFDIR ?= /etc
CC ?= gcc
PKG_CONFIG ?= pkg-config

LIBS_DEVICE := libarchive libcrypto libcurl jansson inih blkid libzstd libseccomp
LIBS_HOST := fdisk
LIBS_TEST := cmocka

WARNINGS := -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wsign-conversion -Wcast-qual \
	-Wwrite-strings -Wstrict-prototypes -Wmissing-prototypes -Wformat=2 -Wundef -Wvla \
	-Wswitch-enum -Wimplicit-fallthrough
WERROR ?= -Werror
OPTIMIZE ?= -O2 -g
HARDEN ?= -D_FORTIFY_SOURCE=2 -fstack-protector-strong
CFLAGS ?= $(OPTIMIZE) $(HARDEN)
LDFLAGS ?= -Wl,-z,relro,-z,now -Wl,--as-needed
# What the code needs whatever the caller sets. The build's time judges certificates on devices
# without a clock; it comes from the last commit, so that the same source gives the same program.
BUILD_TIME := $(or $(SOURCE_DATE_EPOCH),$(shell git log -1 --format=%ct 2>/dev/null),0)
NEEDED := -std=gnu17 -D_GNU_SOURCE -D_FILE_OFFSET_BITS=64 -I. -fPIE $(WARNINGS) $(WERROR) \
	-DABIDE_VERSION='"$(VERSION)"' -DABIDE_BUILD_TIME=$(BUILD_TIME) \
	$(shell $(PKG_CONFIG) --cflags $(LIBS_DEVICE))
DEVICE_LIBS = $(shell $(PKG_CONFIG) --libs $(LIBS_DEVICE))
HOST_LIBS = $(DEVICE_LIBS) $(shell $(PKG_CONFIG) --libs $(LIBS_HOST)) -lpthread
TEST_LIBS = $(HOST_LIBS) $(shell $(PKG_CONFIG) --libs $(LIBS_TEST))

# Floors 0-3 and the carrier are the library; main and cmd_* are the program (updater/README.md).
PROGRAM_SRC := updater/abide.c $(wildcard updater/cmd_*.c updater/ui*.c)
LIBRARY_SRC := $(filter-out $(PROGRAM_SRC),$(wildcard updater/*.c)) $(wildcard updater/carrier/*.c) \
	$(wildcard bootloader-hooks/*.c bootloader-hooks/*/*.c)
IMAGE_MAIN_SRC := image/abide-image.c $(wildcard image/cmd_*.c)
IMAGE_SRC := $(filter-out $(IMAGE_MAIN_SRC),$(wildcard image/*.c))
TEST_MAIN_SRC := $(wildcard tests/test_*.c)
TEST_SUPPORT_SRC := $(filter-out $(TEST_MAIN_SRC),$(wildcard tests/*.c))
TOOL_SRC := $(wildcard tests/tools/*.c)
QEMU_SRC := $(wildcard qemu/*.c)

objects = $(patsubst %.c,$(B)/obj/%.o,$(1))
TESTS := $(patsubst tests/%.c,$(B)/tests/%,$(TEST_MAIN_SRC))
TOOLS := $(patsubst tests/tools/%.c,$(B)/tests/tools/%,$(TOOL_SRC))
ALL_SRC := $(PROGRAM_SRC) $(LIBRARY_SRC) $(IMAGE_MAIN_SRC) $(IMAGE_SRC) $(TEST_MAIN_SRC) \
	$(TEST_SUPPORT_SRC) $(TOOL_SRC) $(QEMU_SRC)

.PHONY: all help clean
all: $(B)/abide $(B)/abide-image

help:
	@sed -n 's/^#: //p' Makefile

$(B)/obj/%.o: %.c Makefile updater/VERSION
	@mkdir -p $(@D)
	$(CC) $(NEEDED) $(CFLAGS) -MMD -MP -c $< -o $@

$(B)/libabide.a: $(call objects,$(LIBRARY_SRC))
	@rm -f $@
	$(AR) rcs $@ $^

$(B)/libimage.a: $(call objects,$(IMAGE_SRC))
	@rm -f $@
	$(AR) rcs $@ $^

$(B)/libtest.a: $(call objects,$(TEST_SUPPORT_SRC))
	@rm -f $@
	$(AR) rcs $@ $^

$(B)/abide: $(call objects,$(PROGRAM_SRC)) $(B)/libabide.a
	$(CC) $(CFLAGS) -pie $(LDFLAGS) $^ $(DEVICE_LIBS) -o $@

$(B)/abide-image: $(call objects,$(IMAGE_MAIN_SRC)) $(B)/libimage.a $(B)/libabide.a
	$(CC) $(CFLAGS) -pie $(LDFLAGS) $^ $(HOST_LIBS) -o $@

$(B)/tests/test_%: $(B)/obj/tests/test_%.o $(B)/libtest.a $(B)/libimage.a $(B)/libabide.a
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) -pie $(LDFLAGS) $^ $(TEST_LIBS) -o $@

$(B)/tests/tools/%: $(B)/obj/tests/tools/%.o $(B)/libtest.a $(B)/libimage.a $(B)/libabide.a
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) -pie $(LDFLAGS) $^ $(TEST_LIBS) -o $@

clean:
	rm -rf build build-*

-include $(patsubst %.c,$(B)/obj/%.d,$(ALL_SRC))
.SECONDARY:
.DELETE_ON_ERROR:
