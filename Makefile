# SPDX-License-Identifier: Apache-2.0
#
# The architecture is the table below: which modules there are, what each may use, which libraries only it may use.
# A module is one archive; its unit test links that archive with only the modules and libraries named here, so a
# wrong arrow does not link. VARIANT=release|debug|asan|fault|cov builds into build/<variant>/.

VARIANT ?= release
B       := build/$(VARIANT)
PREFIX  ?= /usr/local
CC      ?= gcc
AR      ?= ar
PKG_CONFIG ?= pkg-config

# --- the architecture ------------------------------------------------------------------------------------------
MODULES := base layer snap store sandbox network image registry scope container oci build bench cli

DIR_base      := snapshotter/base
DIR_layer     := snapshotter/layer
DIR_snap      := snapshotter/snap
DIR_store     := snapshotter/store
DIR_sandbox   := runner/sandbox
DIR_network   := runner/network
DIR_image     := runner/image
DIR_registry  := runner/registry
DIR_scope     := runner/scope
DIR_container := runner/container
DIR_oci       := runner/oci
DIR_build     := runner/build
DIR_bench     := runner/bench
DIR_cli       := runner/cli

NEED_base      :=
NEED_layer     := base
NEED_snap      := base
NEED_store     := base
NEED_sandbox   := base
NEED_network   := base
NEED_image     := store layer snap base
NEED_registry  := base
NEED_scope     := base
NEED_container := image snap sandbox network layer store base
NEED_oci       := sandbox base
NEED_build     := image layer store snap sandbox network base
NEED_bench     := snap layer base
NEED_cli       := bench build container oci image layer store snap sandbox network base

# Headers of constants only, from which nothing is linked: what two programs say to each other.
SEES_image := registry
SEES_oci   := scope

PKG_base    := sqlite3 jansson libcrypto mount
PKG_layer   := libdeflate libisal libzstd liblzma libxxhash
LIB_layer   := -lbz2
PKG_sandbox := libseccomp libcap
PKG_registry := libcurl
PKG_scope   := libsystemd
PKG_cli     := inih

# A program is a main and the archives it needs; what of them is not used is not linked, nor are the libraries.
PROGRAMS         := shale shale-build shale-transfer shale-scope
MAIN_shale       := runner/cli/main_shale.c
MAIN_shale-build := runner/cli/main_build.c
MAIN_shale-transfer := runner/registry/main_transfer.c
MAIN_shale-scope := runner/scope/main_scope.c
USE_shale        := cli build container oci image snap sandbox network layer store base
USE_shale-build  := cli bench build container oci image layer store snap sandbox network base
USE_shale-transfer := registry base
USE_shale-scope  := scope base
# What is started most is linked statically: loading four libraries costs more than the program's own work.
STATIC           := shale
PKG_static_shale := sqlite3 jansson libseccomp libcap libxxhash inih
# The same libraries in the program that comes next; what reads foreign bytes stays the distribution's.
PKG_within_shale-build := $(PKG_static_shale)
# DT_NEEDED that each may have besides libc (make lint compares).
LIBS_shale       :=
LIBS_shale-build := libcrypto libdeflate libisal libzstd liblzma libbz2 libxxhash libmount libm
LIBS_shale-transfer := libcurl libjansson libcrypto
LIBS_shale-scope := libsystemd libjansson

# --- how it is compiled ------------------------------------------------------------------------------------------
WARN := -Wall -Wextra -Wshadow -Wvla -Wundef -Wformat=2 -Wstrict-prototypes -Wmissing-prototypes -Wcast-qual \
	-Wwrite-strings -Wimplicit-fallthrough -Wno-missing-field-initializers -Werror
HARD := -fPIE -fstack-protector-strong -fno-strict-aliasing
DEFS := -D_GNU_SOURCE -D_FILE_OFFSET_BITS=64 -Iinclude -include snapshotter/base/banned.h
LDHARD := -pie -Wl,-z,relro,-z,now,-z,noexecstack -Wl,--as-needed -Wl,--gc-sections

LDSTATIC := -static-pie -Wl,--wrap=dlopen,--wrap=dlsym,--wrap=dlclose,--wrap=dlerror

OPT_release := -O2 -g -D_FORTIFY_SOURCE=2
OPT_debug   := -O0 -g
OPT_asan    := -O1 -g -fsanitize=address,undefined -fno-omit-frame-pointer -fno-sanitize-recover=undefined
OPT_fault   := -O1 -g -DSHALE_FAULT
OPT_cov     := -O0 -g --coverage
OPT_fuzz    := -O1 -g -fsanitize=fuzzer-no-link,address,undefined -fno-omit-frame-pointer -fno-sanitize-recover=undefined
ifeq ($(VARIANT),fuzz)
CC := clang
endif
CFLAGS  ?=
ALL_CFLAGS = -std=gnu17 $(WARN) $(HARD) -ffunction-sections -fdata-sections $(OPT_$(VARIANT)) $(DEFS) -pthread $(CFLAGS)
ALL_LDFLAGS = $(LDHARD) $(filter -fsanitize% --coverage,$(OPT_$(VARIANT))) -pthread $(LDFLAGS)

VERSION := $(shell cat version 2>/dev/null || git describe --tags --always --dirty 2>/dev/null || echo unknown)
LIBEXEC ?= $(PREFIX)/libexec/shale

MAINS := $(foreach p,$(PROGRAMS),$(MAIN_$(p)))
$(foreach m,$(MODULES),$(eval SRC_$(m) := $(filter-out $(MAINS) runner/sandbox/stub.c,$(wildcard $(DIR_$(m))/*.c))))
$(foreach m,$(MODULES),$(eval OBJ_$(m) := $(SRC_$(m):%.c=$(B)/%.o)))

STATIC_release := $(STATIC)
STATIC_fault   := $(STATIC)

# every library that the listed modules bring
libs = $(shell $(PKG_CONFIG) --libs $(sort $(foreach m,$(1),$(PKG_$(m)))) 2>/dev/null) $(foreach m,$(1),$(LIB_$(m)))
# those that a program has linked in
WITHIN := -Wl,-Bstatic
BESIDE := -Wl,-Bdynamic -lm
within = $(if $(PKG_within_$(1)),$(WITHIN) $(shell $(PKG_CONFIG) --libs $(PKG_within_$(1))) $(BESIDE))
# an archive with all it may use, in link order
archives = $(foreach m,$(1),$(B)/lib$(m).a)

.DELETE_ON_ERROR:
.SECONDARY:
all: $(PROGRAMS:%=$(B)/%) $(B)/shale-runtime $(B)/shale.1

# The same program by another name, under which it is an OCI runtime.
$(B)/shale-runtime: $(B)/shale
	@ln -sf shale $@

# The manual comes from the tables of both programs.
MAN_DATE := $(shell git log -1 --format=%cd --date=format:'%B %-d, %Y' 2>/dev/null || date '+%B %-d, %Y')
$(B)/shale.1: $(B)/shale $(B)/shale-build
	@SHALE_CONF=/dev/null $< __man '$(MAN_DATE)' >$@

# Changed flags rebuild.
$(B)/flags: FORCE
	@mkdir -p $(B)
	@echo '$(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS)' | cmp -s - $@ || echo '$(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS)' >$@
FORCE:

$(B)/%.o: %.c $(B)/flags
	@mkdir -p $(@D)
	$(QUIET_CC)$(CC) $(ALL_CFLAGS) $(EXTRA_$(basename $(notdir $<))) -MMD -MP -c -o $@ $<

define module_rules
$(B)/lib$(1).a: $$(OBJ_$(1))
	@rm -f $$@
	$$(QUIET_AR)$(AR) rcs $$@ $$^
endef
$(foreach m,$(MODULES),$(eval $(call module_rules,$(m))))

define program_rules
$(B)/$(1): $(MAIN_$(1):%.c=$(B)/%.o) $(call archives,$(USE_$(1)))
	$$(QUIET_LD)$(CC) $$(ALL_LDFLAGS) $$(if $$(filter $(1),$$(STATIC_$$(VARIANT))),$$(LDSTATIC)) -o $$@ $$< -Wl,--start-group $(call archives,$(USE_$(1))) -Wl,--end-group $$(if $$(filter $(1),$$(STATIC_$$(VARIANT))),$$(shell $$(PKG_CONFIG) --libs $$(PKG_static_$(1))) -lm,$$(call within,$(1)) $$(call libs,$(USE_$(1))))
endef
$(foreach p,$(PROGRAMS),$(eval $(call program_rules,$(p))))

EXTRA_main_shale := $(if $(STATIC_$(VARIANT)),-DSHALE_STATIC)
EXTRA_version := -DSHALE_VERSION='"$(VERSION)"'

# The stub that execs the user's program: static, no libc, embedded in the sandbox archive as an array.
$(B)/runner/sandbox/stub: runner/sandbox/stub.c
	@mkdir -p $(@D)
	$(QUIET_LD)$(CC) -O2 -static -nostdlib -ffreestanding -fno-stack-protector -fno-pie -no-pie -fno-asynchronous-unwind-tables -Wno-unused-command-line-argument \
		-Wl,--build-id=none -Wl,-z,noexecstack -Wl,-z,norelro -s -o $@ $<
$(B)/runner/sandbox/stub.inc: $(B)/runner/sandbox/stub
	@od -An -v -tx1 $< | sed 's/ \([0-9a-f][0-9a-f]\)/0x\1,/g' >$@
$(B)/runner/sandbox/exec.o: $(B)/runner/sandbox/stub.inc
EXTRA_exec := -I$(B)/runner/sandbox

# --- tests -------------------------------------------------------------------------------------------------------
# tests/unit/<module>/*.c is one cmocka program, linked with what the table lets that module use and no more.
UNITS := $(foreach m,$(MODULES),$(if $(wildcard tests/unit/$(m)/*.c),$(m)))
define unit_rules
$(B)/tests/unit-$(1): $$(patsubst %.c,$(B)/%.o,$$(wildcard tests/unit/$(1)/*.c)) $(call archives,$(1) $(NEED_$(1)))
	@mkdir -p $$(@D)
	$$(QUIET_LD)$(CC) $$(ALL_LDFLAGS) -o $$@ $$(filter %.o,$$^) -Wl,--start-group $(call archives,$(1) $(NEED_$(1))) -Wl,--end-group \
		$$(call libs,$(1) $(NEED_$(1))) -lcmocka
endef
$(foreach m,$(UNITS),$(eval $(call unit_rules,$(m))))
# Layers as a property goes through layer and snap together: a program across modules, of no module's table row.
NEED_property := layer snap base
$(B)/tests/run-property: $(patsubst %.c,$(B)/%.o,$(wildcard tests/property/*.c)) $(call archives,$(NEED_property))
	@mkdir -p $(@D)
	$(QUIET_LD)$(CC) $(ALL_LDFLAGS) -o $@ $(filter %.o,$^) -Wl,--start-group $(call archives,$(NEED_property)) -Wl,--end-group \
		$(call libs,$(NEED_property))
property: $(B)/tests/run-property
ifneq ($(SEQUENCES)$(SHALE_LONG),)
	sh tests/property/run $< $(SEQUENCES)
else
	@sh tests/property/run $< -s 1000 1000 & other=$$!; sh tests/property/run $< 1000; one=$$?; wait $$other && exit $$one
endif

# What tests/bench/run measures a layer's digest with.
$(B)/tests/bench/layer: $(B)/tests/bench/layer.o $(call archives,layer base)
	$(QUIET_LD)$(CC) $(ALL_LDFLAGS) -o $@ $(filter %.o,$^) -Wl,--start-group $(call archives,layer base) -Wl,--end-group \
		$(call libs,layer base)

# The compressor, to be run on a CPU without features.
$(B)/tests/run-pack: $(B)/tests/pack/pack.o $(call archives,layer base)
	$(QUIET_LD)$(CC) $(ALL_LDFLAGS) -o $@ $(filter %.o,$^) -Wl,--start-group $(call archives,layer base) -Wl,--end-group \
		$(call libs,layer base)

unit-%: $(B)/tests/unit-%
	$<

# Parsers of foreign bytes, each of one module: tests/fuzz/fuzz_<name>.c, its inputs in tests/data/<name>. In
# VARIANT=fuzz the program is libFuzzer's; in the others it runs over the files that it is given.
FUZZ_base     := json
FUZZ_layer    := tar gzip zstd
FUZZ_image    := reference manifest config auth registries signature sigstore
FUZZ_registry := registry
FUZZ_oci      := bundle
FUZZ_build    := dockerfile ignore depot
# What a target must not reach is replaced: files and programs of the host.
FUZZ_WRAP_auth       := -Wl,--wrap=fd_read_file,--wrap=fork
FUZZ_WRAP_registries := -Wl,--wrap=fd_read_file
FUZZ_WRAP_signature  := -Wl,--wrap=image_bundles_check,--wrap=image_remote_manifest,--wrap=image_remote_blob,--wrap=pubkey_load,--wrap=pubkey_verify,--wrap=pubkey_cleanup
FUZZ_WRAP_sigstore   := $(subst image_bundles_check,image_remote_referrers,$(FUZZ_WRAP_signature))
FUZZ_DRIVER     := $(B)/tests/fuzz/replay.o
ifeq ($(VARIANT),fuzz)
FUZZ_DRIVER     := -fsanitize=fuzzer
endif
define fuzz_rules
$(B)/tests/fuzz-$(2): $(B)/tests/fuzz/fuzz_$(2).o $(filter %.o,$(FUZZ_DRIVER)) $(call archives,$(1) $(NEED_$(1)))
	@mkdir -p $$(@D)
	$$(QUIET_LD)$(CC) $$(ALL_LDFLAGS) $(FUZZ_WRAP_$(2)) -o $$@ $(B)/tests/fuzz/fuzz_$(2).o $(FUZZ_DRIVER) \
		-Wl,--start-group $(call archives,$(1) $(NEED_$(1))) -Wl,--end-group $$(call libs,$(1) $(NEED_$(1)))
endef
$(foreach m,$(MODULES),$(foreach f,$(FUZZ_$(m)),$(eval $(call fuzz_rules,$(m),$(f)))))
FUZZ := $(foreach m,$(MODULES),$(FUZZ_$(m)))

check: all $(UNITS:%=$(B)/tests/unit-%) $(FUZZ:%=$(B)/tests/fuzz-%)
	@set -e; for t in $(UNITS:%=$(B)/tests/unit-%); do $$t; done
	@set -e; for f in $(FUZZ); do $(B)/tests/fuzz-$$f tests/data/$$f/*; done

check-root: all
	sh scripts/test --only integration
	sh scripts/test --only property

lint: all
	@sh scripts/lint/run $(B) $(CC)

format:
	clang-format -i $$(git ls-files '*.c' '*.h' | grep -v '^tests/bench/')

# Each for FUZZ_SECONDS, two at a time; needs clang and its runtime. What is found goes into tests/data/<name>, from
# where make check runs it.
FUZZ_SECONDS ?= 60
fuzz: fuzz-$(subst $() ,-,$(FUZZ))
fuzz-%:
	@$(MAKE) --no-print-directory VARIANT=fuzz fuzzers
	@FUZZ_SECONDS=$(FUZZ_SECONDS) sh tests/fuzz/run $(subst -, ,$*)
# All is compiled, so that clang has seen it.
fuzzers: $(FUZZ:%=$(B)/tests/fuzz-%) $(MODULES:%=$(B)/lib%.a)

# Lines that the unit tests run, a row for each module. What else has run with VARIANT=cov counts as well.
cov:
	@$(MAKE) -s VARIANT=cov check >/dev/null 2>&1
	@sh scripts/cov build/cov $(foreach m,$(MODULES),$(m):$(DIR_$(m)))

# gcc's look at all paths, and clang's with all the time that it wants (lint bounds it).
analyze: $(B)/runner/sandbox/stub.inc
	@ls $(foreach m,$(MODULES),$(SRC_$(m))) | xargs -P2 -I{} $(CC) -std=gnu17 -O1 -fanalyzer -Werror $(DEFS) \
		-I$(B)/runner/sandbox $(EXTRA_version) -c -o /dev/null {}
	@! TIDY_NODES=225000 sh scripts/lint/tidy $(B) | grep .

# What was committed, as an archive that builds.
dist:
	@mkdir -p build
	@git archive --format=tar.gz --prefix=shale-$(VERSION)/ --add-virtual-file=shale-$(VERSION)/version:$(VERSION) \
		-o build/shale-$(VERSION).tar.gz HEAD
	@echo build/shale-$(VERSION).tar.gz

bench: all
	sh tests/bench/run

install: all
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(LIBEXEC)
	install -m 755 $(B)/shale $(DESTDIR)$(PREFIX)/bin/shale
	ln -sf shale $(DESTDIR)$(PREFIX)/bin/shale-runtime
	install -m 755 $(B)/shale-build $(DESTDIR)$(LIBEXEC)/shale-build
	install -m 755 $(B)/shale-transfer $(DESTDIR)$(LIBEXEC)/shale-transfer
	install -m 755 $(B)/shale-scope $(DESTDIR)$(LIBEXEC)/shale-scope
	install -d $(DESTDIR)$(PREFIX)/lib/systemd/system $(DESTDIR)$(PREFIX)/share/doc/shale
	sed 's|@PREFIX@|$(PREFIX)|' scripts/systemd/shale-gc.service >$(DESTDIR)$(PREFIX)/lib/systemd/system/shale-gc.service
	sed 's|@PREFIX@|$(PREFIX)|' scripts/systemd/shale.service >$(DESTDIR)$(PREFIX)/lib/systemd/system/shale.service
	install -m 644 scripts/systemd/shale-gc.timer $(DESTDIR)$(PREFIX)/lib/systemd/system/shale-gc.timer
	install -m 644 scripts/shale.conf $(DESTDIR)$(PREFIX)/share/doc/shale/shale.conf
	install -D -m 644 $(B)/shale.1 $(DESTDIR)$(PREFIX)/share/man/man1/shale.1
	install -D -m 644 scripts/completion/shale.bash $(DESTDIR)$(PREFIX)/share/bash-completion/completions/shale
	install -D -m 644 scripts/completion/_shale $(DESTDIR)$(PREFIX)/share/zsh/site-functions/_shale
	install -D -m 644 scripts/completion/shale.fish $(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d/shale.fish

clean:
	rm -rf build

# Asked by make lint and the README check.
print-%:
	@echo '$($*)'

V ?= 0
ifneq ($(findstring s,$(filter-out --%,$(firstword -$(MAKEFLAGS)))),)
QUIET_CC = @
QUIET_AR = @
QUIET_LD = @
else ifeq ($(V),0)
QUIET_CC = @echo "  CC   $<";
QUIET_AR = @echo "  AR   $@";
QUIET_LD = @echo "  LD   $@";
endif

-include $(shell find $(B) -name '*.d' 2>/dev/null)
.PHONY: cov analyze dist fuzz fuzzers property all check check-root lint format bench install clean FORCE
