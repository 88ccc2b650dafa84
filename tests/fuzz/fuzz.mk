# Every tests/fuzz/fuzz_NAME.c is a libFuzzer target, built with clang, ASan and UBSan in a
# folder of its own. Seeds stand in tests/fuzz/corpus/NAME; what is found goes to build/.
#
#   make fuzz [FUZZ_SECONDS=60] [TARGET=json]

FUZZ_SECONDS ?= 60
FUZZ_SRC := $(wildcard tests/fuzz/fuzz_*.c)
FUZZ_PROGRAMS := $(FUZZ_SRC:tests/fuzz/%.c=$(BUILD)/bin/%)

.PHONY: fuzz-programs
fuzz:
	@FUZZ_SECONDS='$(FUZZ_SECONDS)' tests/fuzz/run --tally $(TARGET)

# Called by tests/fuzz/run with BUILD, CC, MODE and SANITIZER.
fuzz-programs: $(FUZZ_PROGRAMS)
$(FUZZ_PROGRAMS): $(BUILD)/bin/%: $(BUILD)/tests/fuzz/%.o $(EXE_LIBS) $(LIBCOMMON)
	@mkdir -p $(@D)
	$(CC) $(ALL_LDFLAGS) -fsanitize=fuzzer $(filter %.o,$^) -Wl,--start-group $(filter %.a,$^) \
		-Wl,--end-group $(PKG_LIBS) -lpthread -o $@
