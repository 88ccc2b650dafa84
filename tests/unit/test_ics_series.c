/* Series of a calendar's text in, their instances of a window out. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/support/ics_text.h"

static const struct ics_reading utc = {0};

static void test_recurrence(void **state)
{
    (void)state;
    struct ics_reading week = {.from = "2026-03-05", .until = "2026-03-12"};
    /* 09:00 stays 09:00 across 8 March, when New York's clocks go forward. */
    ics_text_expect(&week,
        ICS_EVENT("w", "DTSTART;TZID=America/New_York:20200106T090000\r\nDURATION:PT30M\r\n"
                       "RRULE:FREQ=WEEKLY;BYDAY=FR,MO\r\n"),
        "w|20260306T140000Z|2026-03-06T14:00:00Z|2026-03-06T14:30:00Z\n"
        "w|20260309T130000Z|2026-03-09T13:00:00Z|2026-03-09T13:30:00Z\n");
    ics_text_expect(&week,
        ICS_EVENT("c", "DTSTART:20260304T090000Z\r\nRRULE:FREQ=DAILY;COUNT=3\r\n"),
        "c|20260305T090000Z|2026-03-05T09:00:00Z|2026-03-05T09:00:00Z\n"
        "c|20260306T090000Z|2026-03-06T09:00:00Z|2026-03-06T09:00:00Z\n");
    /* UNTIL is an instant, and belongs to the set. */
    ics_text_expect(&week,
        ICS_EVENT("u", "DTSTART;TZID=Asia/"
                       "Tokyo:20260301T010000\r\nRRULE:FREQ=DAILY;UNTIL=20260305T160000Z\r\n"),
        "u|20260305T160000Z|2026-03-05T16:00:00Z|2026-03-05T16:00:00Z\n");
    ics_text_expect(&week,
        ICS_EVENT("d", "DTSTART:20260305T233000Z\r\nRRULE:FREQ=DAILY;UNTIL=20260306\r\n"),
        "d|20260305T233000Z|2026-03-05T23:30:00Z|2026-03-05T23:30:00Z\n"
        "d|20260306T233000Z|2026-03-06T23:30:00Z|2026-03-06T23:30:00Z\n");
    ics_text_expect(&week,
        ICS_EVENT("x", "DTSTART:20260305T090000Z\r\nRRULE:FREQ=DAILY;UNTIL=20260308T090000Z\r\n"
                       "EXDATE:20260306T090000Z,20260307T090000Z\r\nRDATE:20260311T070000Z\r\n"),
        "x|20260305T090000Z|2026-03-05T09:00:00Z|2026-03-05T09:00:00Z\n"
        "x|20260308T090000Z|2026-03-08T09:00:00Z|2026-03-08T09:00:00Z\n"
        "x|20260311T070000Z|2026-03-11T07:00:00Z|2026-03-11T07:00:00Z\n");
    /* An hourly rule keeps its stride from a start long ago. */
    ics_text_expect(&(struct ics_reading){.from = "2026-03-05", .until = "2026-03-06"},
        ICS_EVENT("h", "DTSTART:19990101T010500Z\r\nRRULE:FREQ=HOURLY;INTERVAL=7\r\n"),
        "h|20260305T040500Z|2026-03-05T04:05:00Z|2026-03-05T04:05:00Z\n"
        "h|20260305T110500Z|2026-03-05T11:05:00Z|2026-03-05T11:05:00Z\n"
        "h|20260305T180500Z|2026-03-05T18:05:00Z|2026-03-05T18:05:00Z\n");
    ics_text_expect(&week, ICS_EVENT("r", "DTSTART:20260305T090000Z\r\nRDATE:20260306T090000Z\r\n"),
        "r|20260305T090000Z|2026-03-05T09:00:00Z|2026-03-05T09:00:00Z\n"
        "r|20260306T090000Z|2026-03-06T09:00:00Z|2026-03-06T09:00:00Z\n");
    struct ics_reading spring = {
        .zone = "Europe/Berlin", .from = "2026-03-27", .until = "2026-03-31"};
    ics_text_expect(&spring,
        ICS_EVENT("b", "DTSTART;VALUE=DATE:20260328\r\nRRULE:FREQ=DAILY;COUNT=2\r\n"),
        "b|20260327T230000Z|2026-03-27T23:00:00Z|2026-03-28T23:00:00Z|all-day\n"
        "b|20260328T230000Z|2026-03-28T23:00:00Z|2026-03-29T22:00:00Z|all-day\n");
}

/* Which instances a set has: RFC 5545 sections 3.3.10 and 3.8.5. */
static void test_sets(void **state)
{
    (void)state;
    struct ics_reading week = {.from = "2026-03-05", .until = "2026-03-12"};
    /* An exception by its date takes the instance of that day in the series' zone. */
    ics_text_expect(&week,
        ICS_EVENT("e", "DTSTART;TZID=Asia/Tokyo:20260306T010000\r\nRRULE:FREQ=DAILY;COUNT=3\r\n"
                       "EXDATE;VALUE=DATE:20260307\r\n"),
        "e|20260305T160000Z|2026-03-05T16:00:00Z|2026-03-05T16:00:00Z\n"
        "e|20260307T160000Z|2026-03-07T16:00:00Z|2026-03-07T16:00:00Z\n");
    /* Of a series with an end, as long everywhere; a date that the rule brings too is one. */
    ics_text_expect(&week,
        ICS_EVENT("t",
            "DTSTART;TZID=America/New_York:20260306T090000\r\n"
            "DTEND;TZID=America/New_York:20260306T100000\r\nRRULE:FREQ=DAILY;INTERVAL=3;COUNT=2\r\n"
            "RDATE:20260309T130000Z\r\nRDATE;TZID=Europe/Berlin:20260310T090000\r\n"),
        "t|20260306T140000Z|2026-03-06T14:00:00Z|2026-03-06T15:00:00Z\n"
        "t|20260309T130000Z|2026-03-09T13:00:00Z|2026-03-09T14:00:00Z\n"
        "t|20260310T080000Z|2026-03-10T08:00:00Z|2026-03-10T09:00:00Z\n");
    ics_text_expect(&week,
        ICS_EVENT("p",
            "DTSTART:20260305T090000Z\r\nDURATION:PT30M\r\n"
            "RDATE;VALUE=PERIOD:20260307T090000Z/PT2H,20260308T090000Z/20260308T100000Z\r\n"),
        "p|20260305T090000Z|2026-03-05T09:00:00Z|2026-03-05T09:30:00Z\n"
        "p|20260307T090000Z|2026-03-07T09:00:00Z|2026-03-07T09:30:00Z\n"
        "p|20260308T090000Z|2026-03-08T09:00:00Z|2026-03-08T09:30:00Z\n");
    /* UNTIL without a zone is the series' wall clock. */
    ics_text_expect(&week,
        ICS_EVENT("l", "DTSTART;TZID=America/New_York:20260306T090000\r\n"
                       "RRULE:FREQ=DAILY;UNTIL=20260307T090000\r\n"),
        "l|20260306T140000Z|2026-03-06T14:00:00Z|2026-03-06T14:00:00Z\n"
        "l|20260307T140000Z|2026-03-07T14:00:00Z|2026-03-07T14:00:00Z\n");
    /* The last working day of a month. */
    ics_text_expect(&utc,
        ICS_EVENT("s", "DTSTART:20260130T090000Z\r\n"
                       "RRULE:FREQ=MONTHLY;BYDAY=MO,TU,WE,TH,FR;BYSETPOS=-1\r\n"),
        "s|20260331T090000Z|2026-03-31T09:00:00Z|2026-03-31T09:00:00Z\n");
}

#define DAILY                                                                                      \
    ICS_EVENT("s", "DTSTART;TZID=Europe/Berlin:20260305T090000\r\nDURATION:PT30M\r\n"              \
                   "RRULE:FREQ=DAILY;COUNT=3\r\n")

static void test_overrides(void **state)
{
    (void)state;
    ics_text_expect(&utc,
        DAILY ICS_EVENT("s", "RECURRENCE-ID;TZID=Europe/Berlin:20260306T090000\r\n"
                             "DTSTART;TZID=Europe/Berlin:20260306T150000\r\nDURATION:PT30M\r\n"),
        "s|20260305T080000Z|2026-03-05T08:00:00Z|2026-03-05T08:30:00Z\n"
        "s|20260307T080000Z|2026-03-07T08:00:00Z|2026-03-07T08:30:00Z\n"
        "s|20260306T080000Z|2026-03-06T14:00:00Z|2026-03-06T14:30:00Z\n");
    /* From before the clocks go forward to after: known by when it was to start. */
    ics_text_expect(&(struct ics_reading){.from = "2026-03-22", .until = "2026-04-05"},
        ICS_EVENT(
            "w", "DTSTART;TZID=Europe/Berlin:20260306T090000\r\nRRULE:FREQ=WEEKLY;COUNT=5\r\n")
            ICS_EVENT("w", "RECURRENCE-ID;TZID=Europe/Berlin:20260327T090000\r\n"
                           "DTSTART;TZID=Europe/Berlin:20260330T090000\r\n"),
        "w|20260403T070000Z|2026-04-03T07:00:00Z|2026-04-03T07:00:00Z\n"
        "w|20260327T080000Z|2026-03-30T07:00:00Z|2026-03-30T07:00:00Z\n");
    /* One instance named in two zones is one. */
    ics_text_expect(&(struct ics_reading){.from = "2026-03-06", .until = "2026-03-07"},
        DAILY ICS_EVENT("s", "RECURRENCE-ID:20260306T080000Z\r\nDTSTART:20260306T100000Z\r\n")
            ICS_EVENT("s",
                "RECURRENCE-ID;TZID=Europe/Berlin:20260306T090000\r\nDTSTART:20260306T110000Z\r\n"),
        "s|20260306T080000Z|2026-03-06T11:00:00Z|2026-03-06T11:00:00Z\n");
    /* Out of the window, cancelled, and changed twice. */
    ics_text_expect(&utc,
        DAILY ICS_EVENT("s", "RECURRENCE-ID:20260306T080000Z\r\nDTSTART:20270306T150000Z\r\n")
            ICS_EVENT("s", "RECURRENCE-ID:20260307T080000Z\r\nDTSTART:20260307T080000Z\r\n"
                           "STATUS:CANCELLED\r\n") ICS_EVENT("s",
                "RECURRENCE-ID:20260305T080000Z\r\nSEQUENCE:2\r\nDTSTART:20260305T100000Z\r\n")
                ICS_EVENT("s",
                    "RECURRENCE-ID:20260305T080000Z\r\nSEQUENCE:1\r\nDTSTART:20260305T110000Z\r\n"),
        "s|20260305T080000Z|2026-03-05T10:00:00Z|2026-03-05T10:00:00Z\n");
    /* Invited to one instance only: there is no master. */
    ics_text_expect(&utc,
        ICS_EVENT("o", "RECURRENCE-ID:20260306T080000Z\r\nDTSTART:20260306T080000Z\r\n"),
        "o|20260306T080000Z|2026-03-06T08:00:00Z|2026-03-06T08:00:00Z\n");
    /* A cancelled series takes its changed instances along. */
    ics_text_expect(&utc,
        ICS_EVENT(
            "s", "DTSTART:20260305T090000Z\r\nRRULE:FREQ=DAILY;COUNT=3\r\nSTATUS:CANCELLED\r\n")
            ICS_EVENT("s", "RECURRENCE-ID:20260306T090000Z\r\nDTSTART:20260306T100000Z\r\n"),
        "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_recurrence),
        cmocka_unit_test(test_sets),
        cmocka_unit_test(test_overrides),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
