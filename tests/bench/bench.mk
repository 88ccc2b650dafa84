# Benchmarks; tests/bench/README.md tells what each number means. They build the release, bring
# up a durable PostgreSQL of their own in $(BENCH_STATE), and stop it at their end.

BENCH_STATE ?= .tocsin-bench
LIBBENCH := $(BUILD)/libbench.a
$(LIBBENCH): $(patsubst %.c,$(BUILD)/%.o,$(wildcard tests/bench/support/*.c))
	@rm -f $@
	$(call SAY,AR,$@)ar rcs $@ $^
$(BENCHES): $(LIBBENCH)

BENCH_PARTS := queue steady latency enqueue growth footprint schedules slot reach
.PHONY: bench-programs $(BENCH_PARTS:%=bench-%)
bench-programs: $(BINARIES) $(BENCHES) $(TEST_TOOLS)

RUN_BENCH = @$(MAKE) --no-print-directory -s MODE=release SANITIZER= bench-programs
RUN_BENCH += && STATE='$(BENCH_STATE)' BUILD=build/release tests/bench/run

bench: deps
	$(RUN_BENCH) $(BENCH_PARTS)
$(BENCH_PARTS:%=bench-%): bench-%: deps
	$(RUN_BENCH) $*
