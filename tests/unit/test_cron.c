/* Cron expressions: what they mean, what is refused and where, what comes next and before. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/civil_time.h"
#include "scheduler/cron_expr.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static struct cron_expr parse(const char *text)
{
    struct buf faults = BUF_INIT(4096);
    struct cron_expr e;

    if (cron_parse(text, &faults, &e) != 0)
        fail_msg("'%s': %s", text, buf_str(&faults));
    assert_string_equal(buf_str(&faults), "");
    return e;
}

/* "2026-03-07 09:00" or with seconds. */
static int64_t local_of(const char *text)
{
    struct buf b = BUF_INIT(64);
    int64_t at = 0;

    buf_addf(&b, "%sZ", text);
    if (civil_time_parse_instant(buf_str(&b), &at) != 0)
        fail_msg("'%s' is no time", text);
    buf_release(&b);
    return at;
}

static void assert_local(const char *what, int64_t got, const char *expected)
{
    struct buf b = BUF_INIT(64);

    civil_time_add_utc(&b, got);
    if (got != local_of(expected))
        fail_msg("%s: %s instead of %s", what, buf_str(&b), expected);
    buf_release(&b);
}

static void test_faults_say_where_and_why(void **state)
{
    static const struct {
        const char *text, *fault;
    } rows[] = {
        {"0,61 * * * *", "minute: 61 is above 59, at column 3\n"},
        {"60 * * * *", "minute: 60 is above 59, at column 1\n"},
        {"  0  24 * * *", "hour: 24 is above 23, at column 6\n"},
        {"0 0 0 * *", "day of month: 0 is below 1, at column 5\n"},
        {"0 0 32 * *", "day of month: 32 is above 31, at column 5\n"},
        {"0 0 * 13 *", "month: 13 is above 12, at column 7\n"},
        {"0 0 * * 8", "day of week: 8 is above 7, at column 9\n"},
        {"60 0 0 * * *", "second: 60 is above 59, at column 1\n"},
        {"99999999999999999999 * * * *", "minute: 99999999999999999999 is above 59, at column 1\n"},
        {"*/0 * * * *", "minute: step 0 is below 1, at column 3\n"},
        {"*/60 * * * *", "minute: step 60 is above 59, at column 3\n"},
        {"5-1 * * * *", "minute: the range 5-1 runs backwards, at column 1\n"},
        {"1- * * * *", "minute: a value is missing, at column 3\n"},
        {"1, * * * *", "minute: a value is missing, at column 3\n"},
        {",1 * * * *", "minute: unexpected ',', at column 1\n"},
        {"1/ * * * *", "minute: a value is missing, at column 3\n"},
        {"1-2-3 * * * *", "minute: unexpected '-', at column 4\n"},
        {"-1 * * * *", "minute: unexpected '-', at column 1\n"},
        {"** * * * *", "minute: unexpected '*', at column 2\n"},
        {"? * * * *", "minute: unexpected '?', at column 1\n"},
        {"0 0 ?/2 * *", "day of month: unexpected '/', at column 6\n"},
        {"0 0 1,? * *", "day of month: unexpected '?', at column 7\n"},
        {"0 0 L/2 * *", "day of month: unexpected '/', at column 6\n"},
        {"0 0 L-31 * *", "day of month: 31 is above 30, at column 7\n"},
        {"0 0 1-5W * *", "day of month: unexpected 'W', at column 8\n"},
        {"0 0 32W * *", "day of month: 32 is above 31, at column 5\n"},
        {"0 0 * * L", "day of week: L follows a weekday, as in 5L, at column 9\n"},
        {"0 0 * * 5#6", "day of week: 6 is above 5, at column 11\n"},
        {"0 0 * * 5#", "day of week: a value is missing, at column 11\n"},
        {"0 0 * * 5#0", "day of week: 0 is below 1, at column 11\n"},
        {"0 0 * * MO", "day of week: MO is no name of a day of week, at column 9\n"},
        {"0 0 * * Monday", "day of week: unexpected 'd', at column 12\n"},
        {"0 0 * FOO *", "month: FOO is no name of a month, at column 7\n"},
        {"0 0 * MON *", "month: MON is no name of a month, at column 7\n"},
        {"MON 0 * * *", "minute: unexpected 'M', at column 1\n"},
        {"\xc3\xa4 0 * * *", "minute: unexpected byte 0xc3, at column 1\n"},
        {"", "expression: 0 fields, 5 or 6 are wanted, at column 1\n"},
        {"* * * *", "expression: 4 fields, 5 or 6 are wanted, at column 8\n"},
        {"0 0 0 * * * 2026", "expression: 7 fields, 5 or 6 are wanted, at column 13\n"},
        {"@reboot", "expression: @reboot is not known, at column 1\n"},
        {"@dail", "expression: @dail is not known, at column 1\n"},
        {"61 25 * * *", "minute: 61 is above 59, at column 1\nhour: 25 is above 23, at column 4\n"},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct buf faults = BUF_INIT(4096);
        struct cron_expr e = {.seconds = 77};

        if (cron_parse(rows[i].text, &faults, &e) != ERR_INVALID)
            fail_msg("'%s' was taken", rows[i].text);
        assert_string_equal(buf_str(&faults), rows[i].fault);
        assert_int_equal(e.seconds, 77);
        buf_release(&faults);
    }
}

static void test_days_that_never_come_are_refused(void **state)
{
    static const char *const never[] = {"0 0 30 2 *", "0 0 31 2,4,6,9,11 *", "0 0 30W FEB *",
        "0 0 L-29 2 *", "0 0 31 FEB ?", "0 0 0 30-31 2 *"};
    static const char *const rare[] = {
        "0 0 29 2 *", "0 0 30 2 1", "0 0 L-28 2 *", "0 0 * 2 1#5", "0 0 31 2,3 *", "0 0 29W 2 *"};

    (void)state;
    for (size_t i = 0; i < COUNT(never); i++) {
        struct buf faults = BUF_INIT(4096);
        struct cron_expr e;

        assert_int_equal(cron_parse(never[i], &faults, &e), ERR_INVALID);
        assert_non_null(strstr(buf_str(&faults), "day of month: no month of the expression has "
                                                 "such a day, at column "));
        buf_release(&faults);
    }
    for (size_t i = 0; i < COUNT(rare); i++)
        (void)parse(rare[i]);
}

static void test_next(void **state)
{
    static const struct {
        const char *expr, *from, *next;
    } rows[] = {
        {"* * * * *", "2026-03-07 09:00", "2026-03-07 09:00"},
        {"* * * * *", "2026-03-07 09:00:01", "2026-03-07 09:01"},
        {"* * * * *", "2026-12-31 23:59:01", "2027-01-01 00:00"},
        {"* * * * * *", "2026-03-07 09:00:01", "2026-03-07 09:00:01"},
        {"*/10 * * * * *", "2026-03-07 09:59:51", "2026-03-07 10:00:00"},
        {"30 0 9 * * *", "2026-03-07 09:00:31", "2026-03-08 09:00:30"},
        {"15,45 0,30 9 * * *", "2026-03-07 09:00:46", "2026-03-07 09:30:15"},
        {"0 9 * * 1-5", "2026-03-06 09:00:01", "2026-03-09 09:00"},
        {"0 9 * * MON-FRI", "2026-03-07 00:00", "2026-03-09 09:00"},
        {"0 9 * * fri-sun", "2026-03-09 00:00", "2026-03-13 09:00"},
        {"0 9 * * 7", "2026-03-07 00:00", "2026-03-08 09:00"},
        {"0 9 * * 5-7", "2026-03-08 00:00", "2026-03-08 09:00"},
        {"5/20 * * * *", "2026-03-07 09:26", "2026-03-07 09:45"},
        {"5-30/20 * * * *", "2026-03-07 09:26", "2026-03-07 10:05"},
        {"0 0 1 jan,JUL *", "2026-01-02 00:00", "2026-07-01 00:00"},
        {"0 0 29 2 *", "2026-01-01 00:00", "2028-02-29 00:00"},
        {"0 0 29 2 *", "2097-01-01 00:00", "2104-02-29 00:00"},
        {"0 0 * 2 1#5", "2072-02-29 00:01", "2112-02-29 00:00"},
        /* Last days. */
        {"0 0 L * *", "2026-02-01 00:00", "2026-02-28 00:00"},
        {"0 0 L * *", "2028-02-01 00:00", "2028-02-29 00:00"},
        {"0 0 L-3 * *", "2026-02-01 00:00", "2026-02-25 00:00"},
        {"0 0 L-30 * *", "2026-02-01 00:00", "2026-03-01 00:00"},
        {"0 0 LW * *", "2026-02-01 00:00", "2026-02-27 00:00"}, /* the 28th is a Saturday */
        {"0 0 LW * *", "2026-05-01 00:00", "2026-05-29 00:00"}, /* the 31st is a Sunday */
        {"0 0 LW * *", "2026-03-01 00:00", "2026-03-31 00:00"},
        /* Working days. */
        {"0 0 15W * *", "2026-02-01 00:00", "2026-02-16 00:00"}, /* Sunday: Monday */
        {"0 0 15W * *", "2026-08-01 00:00", "2026-08-14 00:00"}, /* Saturday: Friday */
        {"0 0 15W * *", "2026-04-01 00:00", "2026-04-15 00:00"},
        {"0 0 1W * *", "2026-08-01 00:00", "2026-08-03 00:00"},  /* Saturday the 1st: Monday */
        {"0 0 31W * *", "2026-05-01 00:00", "2026-05-29 00:00"}, /* Sunday the 31st: Friday */
        {"0 0 31W * *", "2026-06-01 00:00", "2026-07-31 00:00"}, /* June has no 31st */
        {"0 0 1W,15 * *", "2026-08-04 00:00", "2026-08-15 00:00"},
        /* Weekdays of the month. */
        {"0 0 * * 5#3", "2026-03-01 00:00", "2026-03-20 00:00"},
        {"0 0 * * FRI#5", "2026-03-01 00:00", "2026-05-29 00:00"},
        {"0 0 * * 0#1", "2026-03-01 00:00", "2026-03-01 00:00"},
        {"0 0 * * 7#1", "2026-03-02 00:00", "2026-04-05 00:00"},
        {"0 0 * * 5L", "2026-03-01 00:00", "2026-03-27 00:00"},
        {"0 0 * * SUNL", "2026-05-01 00:00", "2026-05-31 00:00"},
        {"0 0 ? * MON#1,FRIL", "2026-03-03 00:00", "2026-03-27 00:00"},
        /* Either day field when both are restricted, both when one begins with a star. */
        {"0 0 13 * 5", "2026-03-07 00:00", "2026-03-13 00:00"},
        {"0 0 13 * 5", "2026-04-11 00:00", "2026-04-13 00:00"},
        {"0 0 1-7 * 1", "2026-03-02 00:01", "2026-03-03 00:00"},
        {"0 0 */2 * 1", "2026-03-02 00:00", "2026-03-09 00:00"},
        {"0 0 1-31/2 * 1", "2026-03-02 00:00", "2026-03-02 00:00"},
        {"0 0 ? * 1", "2026-03-03 00:00", "2026-03-09 00:00"},
        {"0 0 13 * ?", "2026-03-07 00:00", "2026-03-13 00:00"},
        {"0 0 13 * */2", "2026-03-01 00:00", "2026-06-13 00:00"},
        /* By name. */
        {"@yearly", "2026-03-07 00:00", "2027-01-01 00:00"},
        {"@annually", "2026-01-01 00:00", "2026-01-01 00:00"},
        {"@monthly", "2026-03-07 00:00", "2026-04-01 00:00"},
        {"@weekly", "2026-03-07 00:00", "2026-03-08 00:00"},
        {" @daily ", "2026-03-07 00:01", "2026-03-08 00:00"},
        {"@Midnight", "2026-03-07 00:01", "2026-03-08 00:00"},
        {"@hourly", "2026-03-07 00:01", "2026-03-07 01:00"},
        {"\t0\t0 * *\t* ", "2026-03-07 00:01", "2026-03-08 00:00"},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct cron_expr e = parse(rows[i].expr);
        int64_t next = 0;

        assert_int_equal(cron_at_or_after(&e, local_of(rows[i].from), &next), 0);
        assert_local(rows[i].expr, next, rows[i].next);
        assert_true(cron_matches(&e, next));
    }
}

static void test_prev(void **state)
{
    static const struct {
        const char *expr, *from, *prev;
    } rows[] = {
        {"* * * * *", "2026-03-07 09:00", "2026-03-07 09:00"},
        {"* * * * *", "2026-01-01 00:00", "2026-01-01 00:00"},
        {"*/10 * * * * *", "2026-03-07 00:00:09", "2026-03-07 00:00:00"},
        {"30 0 9 * * *", "2026-03-07 09:00:29", "2026-03-06 09:00:30"},
        {"15,45 0,30 9 * * *", "2026-03-07 09:30:14", "2026-03-07 09:00:45"},
        {"0 9 * * 1-5", "2026-03-09 08:59", "2026-03-06 09:00"},
        {"0 0 29 2 *", "2104-02-28 00:00", "2096-02-29 00:00"},
        {"59 23 31 12 *", "2026-12-31 23:58:59", "2025-12-31 23:59"},
        {"0 0 L * *", "2026-03-01 00:00", "2026-02-28 00:00"},
        {"0 0 1 1 *", "2026-03-01 00:00", "2026-01-01 00:00"},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct cron_expr e = parse(rows[i].expr);
        int64_t prev = 0;

        assert_int_equal(cron_at_or_before(&e, local_of(rows[i].from), &prev), 0);
        assert_local(rows[i].expr, prev, rows[i].prev);
    }
}

static void test_ends_of_the_calendar(void **state)
{
    struct cron_expr e = parse("0 0 1 1 *");
    int64_t found = 77;

    (void)state;
    assert_int_equal(cron_at_or_after(&e, local_of("9999-01-01 00:01"), &found), ERR_NOT_FOUND);
    assert_int_equal(
        cron_at_or_before(&e, local_of("0001-01-01 00:00") - 1, &found), ERR_NOT_FOUND);
    assert_int_equal(cron_at_or_after(&e, INT64_MAX, &found), ERR_NOT_FOUND);
    assert_int_equal(cron_at_or_before(&e, INT64_MIN, &found), ERR_NOT_FOUND);
    assert_int_equal(found, 77);
}

static void test_wildcards_are_told_from_fixed_times(void **state)
{
    static const char *const wild[] = {"* * * * *", "*/15 * * * *", "0 * * * *", "*/15 2 * * *",
        "0 */2 * * *", "0-59 2 * * *", "0 0-23 * * *", "0 0 * * * *", "@hourly"};
    static const char *const fixed[] = {
        "0 2 * * *", "0,30 0-22 * * *", "0-58 2 * * *", "* 0 2 * * *", "0 2 1 * *", "@daily"};

    (void)state;
    for (size_t i = 0; i < COUNT(wild); i++)
        assert_true(parse(wild[i]).wild);
    for (size_t i = 0; i < COUNT(fixed); i++)
        assert_false(parse(fixed[i]).wild);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_faults_say_where_and_why),
        cmocka_unit_test(test_days_that_never_come_are_refused),
        cmocka_unit_test(test_next),
        cmocka_unit_test(test_prev),
        cmocka_unit_test(test_ends_of_the_calendar),
        cmocka_unit_test(test_wildcards_are_told_from_fixed_times),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
