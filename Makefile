# Tocsin. `make run` shows the main job, `make test` proves it; each sets up what it needs.
#
#   make [MODE=release|debug] [SANITIZER=address,undefined] [CC=gcc|clang] [WERROR=1]

.DEFAULT_GOAL := all
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules
SHELL := /bin/bash

MODE ?= release
SANITIZER ?=
ifeq ($(origin CC),default)
CC := gcc
endif
WERROR ?= $(if $(CI),1)
VERSION := 0.1.0
prefix ?= /usr/local

# Where the private cluster and what `make run` writes live; git ignores it.
STATE ?= .tocsin

comma := ,
BUILD := build/$(MODE)$(if $(filter clang%,$(CC)),-clang)$(if $(SANITIZER),-$(subst $(comma),-,$(SANITIZER)))
GEN := $(BUILD)/gen

EXECUTABLES := scheduler worker-calendar worker-escalation worker-cleanup gateway
TOOLS := tocsin-migrate tocsin-seal

PKGS := libpq libuv jansson libcurl libsodium libical
PKG_CFLAGS := $(shell pkg-config --cflags $(PKGS) 2>/dev/null)
PKG_LIBS := $(shell pkg-config --libs $(PKGS) 2>/dev/null)
# The gateway alone listens; libmicrohttpd brings gnutls along.
GATEWAY_LIBS := $(shell pkg-config --libs libmicrohttpd gnutls 2>/dev/null)
TEST_PKGS := cmocka libmicrohttpd gnutls
TEST_LIBS := $(shell pkg-config --libs $(TEST_PKGS) 2>/dev/null)

WARNINGS := -Wall -Wextra -Wshadow -Wconversion -Wmissing-prototypes -Wstrict-prototypes -Wvla \
	-Wformat=2 -Wundef -Wpointer-arith -Wwrite-strings $(if $(WERROR),-Werror)
OPT_release := -O2 -g -D_FORTIFY_SOURCE=2
OPT_debug := -O1 -g3 -fno-omit-frame-pointer
HARDEN := -fstack-protector-strong -fPIE
CFLAGS ?=
ALL_CFLAGS = -std=c11 -D_GNU_SOURCE -DTOCSIN_VERSION='"$(VERSION)"' -DTOCSIN_PREFIX='"$(prefix)"' $(OPT_$(MODE)) $(HARDEN) $(WARNINGS) \
	$(if $(SANITIZER),-fsanitize=$(SANITIZER) -fno-sanitize-recover=all) \
	-include common/base/banned.h -Icommon -I$(GEN) -I. $(PKG_CFLAGS) $(CFLAGS)
ALL_LDFLAGS = -pie -Wl,-z,relro,-z,now,--as-needed $(if $(SANITIZER),-fsanitize=$(SANITIZER)) $(LDFLAGS)

# --- sources ---------------------------------------------------------------------------------

COMMON_SRC := $(wildcard common/base/*.c common/io/*.c common/work/*.c common/service/*.c)
SQL_DIRS := $(patsubst sql/queries/%/,%,$(wildcard sql/queries/*/))
SQL_GEN := $(SQL_DIRS:%=$(GEN)/sql/%.c)
MIGRATIONS := $(sort $(wildcard sql/migrations/*.sql))
RUNBOOK := $(sort $(wildcard sql/runbook/*.sql))
GENERATED := $(SQL_GEN) $(SQL_GEN:.c=.h) $(GEN)/sql/schema.h

COMMON_OBJ := $(COMMON_SRC:%.c=$(BUILD)/%.o) $(SQL_GEN:%.c=%.o)
LIBCOMMON := $(BUILD)/libcommon.a
EXE_SRC = $(filter-out $(1)/main.c,$(wildcard $(1)/*.c))
EXE_LIBS := $(EXECUTABLES:%=$(BUILD)/lib%.a)
SUPPORT_SRC := $(wildcard tests/support/*.c tests/fake/*.c)
LIBSUPPORT := $(BUILD)/libsupport.a
TEST_SRC := $(wildcard tests/unit/test_*.c tests/sql/test_*.c tests/race/test_*.c \
	tests/integration/test_*.c tests/chaos/test_*.c)
TESTS := $(TEST_SRC:%.c=$(BUILD)/%)
BENCH_SRC := $(wildcard tests/bench/bench_*.c)
BENCHES := $(BENCH_SRC:%.c=$(BUILD)/%)
TEST_TOOL_SRC := $(wildcard tests/tools/*.c)
TEST_TOOLS := $(TEST_TOOL_SRC:tests/tools/%.c=$(BUILD)/%)
TEST_SHIMS := $(patsubst tests/shim/%.c,$(BUILD)/%.so,$(wildcard tests/shim/*.c))

BINARIES := $(EXECUTABLES:%=$(BUILD)/bin/%) $(TOOLS:%=$(BUILD)/bin/%)

.PHONY: all deps run test test-programs lint format fuzz chaos bench db db-stop install clean
all: $(BINARIES)

# --- generated sources -----------------------------------------------------------------------

.SECONDARY: $(GENERATED)
.SECONDEXPANSION:
$(GEN)/sql/%.c $(GEN)/sql/%.h &: sql/embed $$(wildcard sql/queries/%/*.sql)
	@mkdir -p $(@D)
	@sql/embed queries $* sql/queries/$* $(GEN)/sql

$(GEN)/sql/schema.h $(GEN)/migrations.c &: sql/embed $(MIGRATIONS) $(RUNBOOK)
	@mkdir -p $(GEN)/sql
	@sql/embed migrations $(GEN)/migrations.c $(GEN)/sql/schema.h $(MIGRATIONS) -- $(RUNBOOK)

# --- objects ---------------------------------------------------------------------------------

# make V=1 shows the whole commands.
SAY = $(if $(V),,@echo '  $(1)' '$(2)';)
COMPILE = $(call SAY,CC,$<)$(CC) $(ALL_CFLAGS) -MMD -MP -c $< -o $@
$(BUILD)/%.o: %.c | $(GENERATED)
	@mkdir -p $(@D)
	$(COMPILE)
$(GEN)/%.o: $(GEN)/%.c | $(GENERATED)
	@mkdir -p $(@D)
	$(COMPILE)

# Where the definitions lie once installed is compiled in: another prefix builds it anew.
$(BUILD)/prefix: FORCE
	@mkdir -p $(@D); echo '$(prefix)' | cmp -s - $@ || echo '$(prefix)' >$@
.PHONY: FORCE
$(BUILD)/scheduler/scheduler.o: $(BUILD)/prefix

$(LIBCOMMON): $(COMMON_OBJ)
	@rm -f $@
	$(call SAY,AR,$@)ar rcs $@ $^
$(LIBSUPPORT): $(SUPPORT_SRC:%.c=$(BUILD)/%.o) $(GEN)/migrations.o
	@rm -f $@
	$(call SAY,AR,$@)ar rcs $@ $^
$(EXE_LIBS): $(BUILD)/lib%.a: $$(addprefix $(BUILD)/,$$(addsuffix .o,$$(basename $$(call EXE_SRC,$$*))))
	@rm -f $@
	$(call SAY,AR,$@)ar rcs $@ $^

$(BUILD)/bin/gateway: PKG_LIBS += $(GATEWAY_LIBS)
$(EXECUTABLES:%=$(BUILD)/bin/%): $(BUILD)/bin/%: $(BUILD)/%/main.o $(BUILD)/lib%.a $(LIBCOMMON)
	@mkdir -p $(@D)
	$(call SAY,LD,$@)$(CC) $(ALL_LDFLAGS) $^ $(PKG_LIBS) -o $@
$(BUILD)/bin/tocsin-migrate: $(BUILD)/sql/migrate.o $(GEN)/migrations.o $(LIBCOMMON)
	@mkdir -p $(@D)
	$(call SAY,LD,$@)$(CC) $(ALL_LDFLAGS) $^ $(PKG_LIBS) -o $@
$(BUILD)/bin/tocsin-seal: $(BUILD)/common/tools/seal.o $(LIBCOMMON)
	@mkdir -p $(@D)
	$(call SAY,LD,$@)$(CC) $(ALL_LDFLAGS) $^ $(PKG_LIBS) -o $@

LINK_TEST = $(call SAY,LD,$@)$(CC) $(ALL_LDFLAGS) $(filter %.o,$^) -Wl,--start-group $(filter %.a,$^) -Wl,--end-group \
	$(PKG_LIBS) $(TEST_LIBS) -lpthread -o $@
$(TESTS) $(BENCHES): $(BUILD)/%: $(BUILD)/%.o $(LIBSUPPORT) $(EXE_LIBS) $(LIBCOMMON)
	@mkdir -p $(@D)
	$(LINK_TEST)
$(TEST_TOOLS): $(BUILD)/%: $(BUILD)/tests/tools/%.o $(LIBSUPPORT) $(LIBCOMMON)
	$(LINK_TEST)

# Loaded before everything else, so that no sanitizer may be in them.
$(TEST_SHIMS): $(BUILD)/%.so: tests/shim/%.c
	@mkdir -p $(@D)
	$(call SAY,LD,$@)$(CC) -std=c11 -D_GNU_SOURCE -O2 $(WARNINGS) -fPIC -shared $< -o $@

test-programs: $(BINARIES) $(TESTS) $(TEST_TOOLS) $(TEST_SHIMS)

# --- set-up and the two commands -------------------------------------------------------------

# Every core, unless the caller said how many jobs.
QUIET_MAKE = $(MAKE) --no-print-directory -s $(if $(findstring --jobserver,$(MAKEFLAGS)),,-j$$(nproc))

deps:
	@deploy/dev/deps

run: deps
	@$(QUIET_MAKE) all MODE=$(MODE)
	@STATE='$(STATE)' BUILD='$(BUILD)' CALENDAR='$(CALENDAR)' deploy/dev/run

test: deps
	@$(QUIET_MAKE) lint
	@$(QUIET_MAKE) all WERROR=1
	@$(QUIET_MAKE) all CC=clang WERROR=1
	@$(QUIET_MAKE) test-programs MODE=debug SANITIZER=address,undefined WERROR=1
	@STATE='$(STATE)' FUZZ_SECONDS='$(FUZZ_SECONDS)' BUILD=build/debug-address-undefined tests/run

# One suite or one program: make check SUITE=unit, make check SUITE=unit/test_buf
check: test-programs
	@STATE='$(STATE)' BUILD='$(BUILD)' tests/run $(SUITE)
.PHONY: check

db:
	@STATE='$(STATE)' deploy/dev/cluster dsn
db-stop:
	@STATE='$(STATE)' deploy/dev/cluster stop

lint: export LINT_CFLAGS = $(ALL_CFLAGS)
lint: $(GENERATED)
	@tests/lint/all $(CHECK)
# The static analyzer, for an hour with nothing better to do. unix.Malloc does not know
# __attribute__((cleanup)) and sees leaks where there are none.
analyze: $(GENERATED)
	@git ls-files '*.c' | grep -v '^tests/' | xargs -P 2 -I{} clang-tidy --quiet \
		--checks='-*,clang-analyzer-*,-clang-analyzer-optin.performance.Padding,-clang-analyzer-unix.Malloc,-clang-analyzer-security.insecureAPI.DeprecatedOrUnsafeBufferHandling' \
		{} -- $(ALL_CFLAGS) -Wno-unknown-warning-option
.PHONY: analyze
format:
	@git ls-files '*.c' '*.h' | xargs clang-format -i

include tests/fuzz/fuzz.mk
include tests/bench/bench.mk

chaos: deps
	@$(MAKE) --no-print-directory -s test-programs MODE=debug SANITIZER=address,undefined
	@STATE='$(STATE)' BUILD=build/debug-address-undefined tests/run chaos

# --- install ---------------------------------------------------------------------------------

bindir = $(DESTDIR)$(prefix)/bin
sharedir = $(DESTDIR)$(prefix)/share/tocsin
mandir = $(DESTDIR)$(prefix)/share/man
unitdir = $(DESTDIR)$(prefix)/lib/systemd/system
install: all
	STATE='$(STATE)' BUILD='$(BUILD)' deploy/install '$(BUILD)/bin' '$(bindir)' '$(sharedir)' '$(mandir)' '$(unitdir)' '$(prefix)'

clean:
	rm -rf build

-include $(shell find $(BUILD) -name '*.d' 2>/dev/null)
