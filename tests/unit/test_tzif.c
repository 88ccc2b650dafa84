/* TZif files made by hand: their data, their footer rules, and what is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/civil_time.h"
#include "base/tzif.h"

struct transition {
    int64_t at;
    uint8_t type;
};

/* What a file is made of; the zero value of each member is left out. */
struct file {
    char version;
    const int32_t *offsets;
    size_t n_offsets;
    const struct transition *transitions;
    size_t n_transitions;
    uint32_t leap;
    const char *footer;
};

static void add_number(struct buf *b, uint64_t v, int bytes)
{
    while (bytes-- > 0)
        buf_add_char(b, (char)(v >> 8 * bytes & 0xff));
}

static void add_block(struct buf *b, const struct file *f, int time_bytes)
{
    buf_add(b, "TZif", 4);
    buf_add_char(b, f->version);
    for (int i = 0; i < 15; i++)
        buf_add_char(b, '\0');
    add_number(b, 0, 4);
    add_number(b, 0, 4);
    add_number(b, f->leap, 4);
    add_number(b, f->n_transitions, 4);
    add_number(b, f->n_offsets, 4);
    add_number(b, 4, 4);
    for (size_t i = 0; i < f->n_transitions; i++)
        add_number(b, (uint64_t)f->transitions[i].at, time_bytes);
    for (size_t i = 0; i < f->n_transitions; i++)
        add_number(b, f->transitions[i].type, 1);
    for (size_t i = 0; i < f->n_offsets; i++) {
        add_number(b, (uint32_t)f->offsets[i], 4);
        add_number(b, 0, 2);
    }
    buf_add(b, "ABC", 4);
    for (uint32_t i = 0; i < f->leap; i++) {
        add_number(b, 0, time_bytes);
        add_number(b, 0, 4);
    }
}

static void make(struct buf *b, const struct file *f)
{
    buf_init(b, 1u << 17);
    add_block(b, f, 4);
    if (f->version >= '2') {
        add_block(b, f, 8);
        buf_addf(b, "\n%s\n", f->footer ? f->footer : "");
    }
    assert_int_equal(buf_err(b), 0);
}

static int parse(const struct file *f, struct tzif **ret_tz)
{
    struct buf b;
    int r;

    make(&b, f);
    r = tzif_parse(b.data, b.len, ret_tz);
    buf_release(&b);
    return r;
}

static const int32_t utc_type[] = {0};

/* A zone that is nothing but its footer. */
static struct tzif *zone_of_rule(const char *footer)
{
    struct file f = {.version = '3', .offsets = utc_type, .n_offsets = 1, .footer = footer};
    struct tzif *tz = NULL;

    assert_int_equal(parse(&f, &tz), 0);
    return tz;
}

static int64_t utc(const char *text)
{
    int64_t at = 0;

    assert_int_equal(civil_time_parse_instant(text, &at), 0);
    return at;
}

static int32_t offset_at(const struct tzif *tz, const char *text)
{
    struct tzif_span span;

    tzif_span_at(tz, utc(text), &span);
    return span.offset;
}

/* The rule's change from one offset to another happens at exactly that second. */
static void assert_change(const char *footer, const char *at, int32_t before, int32_t after)
{
    struct tzif *tz = zone_of_rule(footer);
    struct tzif_span span;

    tzif_span_at(tz, utc(at) - 1, &span);
    if (span.offset != before || span.end != utc(at))
        fail_msg("%s: %d until %lld before %s", footer, span.offset, (long long)span.end, at);
    tzif_span_at(tz, utc(at), &span);
    if (span.offset != after || span.start != utc(at))
        fail_msg("%s: %d since %lld at %s", footer, span.offset, (long long)span.start, at);
    tzif_free(tz);
}

static void test_rules_change_when_they_say(void **state)
{
    (void)state;
    assert_change("EST5EDT,M3.2.0,M11.1.0", "2150-03-08T07:00:00Z", -18000, -14400);
    assert_change("EST5EDT,M3.2.0,M11.1.0", "2150-11-01T06:00:00Z", -14400, -18000);
    /* Ireland: summer is the standard time, winter the exception, an hour back. */
    assert_change("IST-1GMT0,M10.5.0,M3.5.0/1", "2060-03-28T01:00:00Z", 0, 3600);
    assert_change("IST-1GMT0,M10.5.0,M3.5.0/1", "2060-10-31T01:00:00Z", 3600, 0);
    /* The evening before, and the day after. */
    assert_change("<-02>2<-01>,M3.5.0/-1,M10.5.0/0", "2050-03-27T01:00:00Z", -7200, -3600);
    assert_change("IST-2IDT,M3.4.4/26,M10.5.0", "2050-03-25T00:00:00Z", 7200, 10800);
    /* Southern summer over the turn of the year, by halves of an hour. */
    assert_change("<+1030>-10:30<+11>-11,M10.1.0,M4.1.0", "2090-04-01T15:00:00Z", 39600, 37800);
    /* Days by number: J60 is 1 March in every year, 59 is 29 February in a leap year. */
    assert_change("AAA0BBB,J60/0,J300/0", "2024-03-01T00:00:00Z", 0, 3600);
    assert_change("AAA0BBB,J60/0,J300/0", "2023-03-01T00:00:00Z", 0, 3600);
    assert_change("AAA0BBB,59/0,300/0", "2024-02-29T00:00:00Z", 0, 3600);
    assert_change("AAA0BBB,59/0,300/0", "2023-03-01T00:00:00Z", 0, 3600);
}

static void test_rule_repeats_for_good(void **state)
{
    struct tzif *tz = zone_of_rule("EST5EDT,M3.2.0,M11.1.0");

    (void)state;
    /* 2026 and 2426, 6026: the same calendar, whole cycles of 400 years later. */
    assert_int_equal(offset_at(tz, "2426-03-08T06:59:59Z"), -18000);
    assert_int_equal(offset_at(tz, "2426-03-08T07:00:00Z"), -14400);
    assert_int_equal(offset_at(tz, "6026-03-08T06:59:59Z"), -18000);
    assert_int_equal(offset_at(tz, "6026-03-08T07:00:00Z"), -14400);
    assert_int_equal(offset_at(tz, "9999-12-31T23:59:59Z"), -18000);
    tzif_free(tz);
}

static void test_spans_join(void **state)
{
    struct tzif *tz = zone_of_rule("EST5EDT,M3.2.0,M11.1.0");
    struct tzif_span span, next;
    int n = 0;

    (void)state;
    for (tzif_span_at(tz, utc("1950-01-01"), &span); span.end < utc("3500-01-01"); span = next) {
        tzif_span_at(tz, span.end, &next);
        assert_int_equal(next.start, span.end);
        assert_int_not_equal(next.offset, span.offset);
        assert_int_equal(next.wall_high, span.end + (span.offset == -14400 ? -14400 : -18000));
        n++;
    }
    assert_int_equal(n, 2 * 1550);
    tzif_free(tz);
}

/* RFC 8536 section 3.3.1: summer time all year, from one New Year's Day to the next. */
static void test_permanent_summer(void **state)
{
    struct tzif *tz = zone_of_rule("EST5EDT,0/0,J365/25");

    (void)state;
    for (int year = 1901; year < 2900; year++) {
        struct tzif_span span;

        tzif_span_at(tz, civil_time_days(year, 1, 1) * CIVIL_DAY_S + 18000, &span);
        assert_int_equal(span.offset, -14400);
        tzif_span_at(tz, civil_time_days(year, 1, 1) * CIVIL_DAY_S + 17999, &span);
        assert_int_equal(span.offset, -14400);
    }
    tzif_free(tz);
}

static void test_data_come_before_the_rule(void **state)
{
    static const int32_t offsets[] = {-17762, -18000, -14400};
    static const struct transition changes[] = {
        {-2717650800, 1}, {-1633280400, 2}, {-1615140000, 1}, {1173596400, 2}};
    struct file f = {'2', offsets, 3, changes, 4, 0, "EST5EDT,M3.2.0,M11.1.0"};
    struct tzif *tz = NULL;
    struct tzif_span span;

    (void)state;
    assert_int_equal(parse(&f, &tz), 0);
    assert_int_equal(offset_at(tz, "1800-01-01"), -17762);
    assert_int_equal(offset_at(tz, "1950-07-01"), -18000);
    assert_int_equal(offset_at(tz, "2007-07-01"), -14400);
    tzif_span_at(tz, utc("2007-07-01"), &span);
    assert_int_equal(span.start, 1173596400);
    assert_int_equal(span.end, utc("2007-11-04T06:00:00Z"));
    tzif_free(tz);
}

/* Two changes close to each other: what the clocks had shown before the first still counts. */
static void test_wall_high_outlasts_a_second_change(void **state)
{
    static const int32_t offsets[] = {7200, 0, 1800};
    static const struct transition changes[] = {{1000000, 1}, {1000600, 2}};
    struct file f = {'2', offsets, 3, changes, 2, 0, ""};
    struct tzif *tz = NULL;
    struct tzif_span span;

    (void)state;
    assert_int_equal(parse(&f, &tz), 0);
    tzif_span_at(tz, 1000000, &span);
    assert_int_equal(span.wall_high, 1000000 + 7200);
    tzif_span_at(tz, 1000600, &span);
    assert_int_equal(span.wall_high, 1000000 + 7200);
    tzif_free(tz);
}

/* The first version has neither 64 bits nor a footer: its last offset stays. */
static void test_first_version(void **state)
{
    static const int32_t offsets[] = {3600, 7200};
    static const struct transition changes[] = {{-1000000000, 1}, {1000000000, 0}};
    struct file f = {'\0', offsets, 2, changes, 2, 0, NULL};
    struct tzif *tz = NULL;

    (void)state;
    assert_int_equal(parse(&f, &tz), 0);
    assert_int_equal(offset_at(tz, "1930-01-01"), 3600);
    assert_int_equal(offset_at(tz, "1970-01-01"), 7200);
    assert_int_equal(offset_at(tz, "2099-01-01"), 3600);
    tzif_free(tz);
}

static void test_broken_rules_are_refused(void **state)
{
    static const char *const footers[] = {
        "E5",
        "EST",
        "EST25",
        "EST5EDT",
        "EST5EDT,M3.2.0",
        "EST5EDT,M13.2.0,M11.1.0",
        "EST5EDT,M3.6.0,M11.1.0",
        "EST5EDT,M3.2.7,M11.1.0",
        "EST5EDT,M3.2.0/168,M11.1.0",
        "EST5EDT,J0,J365",
        "EST5EDT,J1,J366",
        "EST5EDT,M3.2.0,M11.1.0 ",
        "<EST5",
        "<E>5",
        "EST5:60",
        "EST5:",
    };

    (void)state;
    for (size_t i = 0; i < sizeof(footers) / sizeof(footers[0]); i++) {
        struct file f = {.version = '2', .offsets = utc_type, .n_offsets = 1, .footer = footers[i]};
        struct tzif *tz = NULL;

        if (parse(&f, &tz) != ERR_INVALID)
            fail_msg("'%s' was taken for a rule", footers[i]);
    }
}

static void test_broken_data_are_refused(void **state)
{
    static const int32_t huge[] = {93600};
    static const struct transition backwards[] = {{10, 0}, {10, 0}};
    static const struct transition unknown[] = {{10, 1}};
    static const struct transition late[] = {{INT64_MAX, 0}};
    static const struct file files[] = {
        {.version = '2'},
        {.version = '2', .offsets = huge, .n_offsets = 1},
        {'2', utc_type, 1, backwards, 2, 0, NULL},
        {'2', utc_type, 1, unknown, 1, 0, NULL},
        {'2', utc_type, 1, late, 1, 0, NULL},
        {.version = '2', .offsets = utc_type, .n_offsets = 1, .leap = 1},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
        struct tzif *tz = NULL;

        if (parse(&files[i], &tz) != ERR_INVALID)
            fail_msg("file %zu was taken for a zone", i);
    }
}

static void test_cut_files_are_refused(void **state)
{
    struct file f = {
        .version = '2', .offsets = utc_type, .n_offsets = 1, .footer = "EST5EDT,M3.2.0,M11.1.0"};
    struct tzif *tz = NULL;
    struct buf b;

    (void)state;
    make(&b, &f);
    for (size_t len = 0; len < b.len; len++) {
        /* A copy of its own, so that a sanitizer sees one byte too many. */
        char *copy = malloc(len ? len : 1);

        assert_non_null(copy);
        memcpy(copy, b.data, len);
        assert_int_equal(tzif_parse(copy, len, &tz), ERR_INVALID);
        free(copy);
    }
    assert_int_equal(tzif_parse(b.data, TZIF_SIZE_MAX + 1, &tz), ERR_TOO_LARGE);
    b.data[0] = 'X';
    assert_int_equal(tzif_parse(b.data, b.len, &tz), ERR_INVALID);
    buf_release(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rules_change_when_they_say),
        cmocka_unit_test(test_rule_repeats_for_good),
        cmocka_unit_test(test_spans_join),
        cmocka_unit_test(test_permanent_summer),
        cmocka_unit_test(test_data_come_before_the_rule),
        cmocka_unit_test(test_wall_high_outlasts_a_second_change),
        cmocka_unit_test(test_first_version),
        cmocka_unit_test(test_broken_rules_are_refused),
        cmocka_unit_test(test_broken_data_are_refused),
        cmocka_unit_test(test_cut_files_are_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
