/* A calendar's text in, the instances of a window out. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/civil_time.h"
#include "base/cleanup.h"
#include "worker-calendar/event_list.h"
#include "worker-calendar/ics_read.h"

#define TEXT_MAX ((size_t)32 << 20)

struct reading {
    const char *zone;  /* of the user; NULL: UTC */
    const char *from;  /* NULL: 2026-03-01 */
    const char *until; /* NULL: 2026-04-05 */
    const char *const *addresses;
    bool titles; /* at the end of each line */
};

static int64_t instant(const char *text)
{
    int64_t utc;
    assert_int_equal(civil_time_parse_instant(text, &utc), 0);
    return utc;
}

/* Reads `text` and gives one line an event: uid|instance|start|end and flags. */
static int read_text(const struct reading *how, const char *text, size_t len, struct buf *out,
    struct buf *fault, struct ics_read_stats *stats)
{
    struct civil_zones *civil = NULL;
    struct ics_read *r = NULL;
    struct event_list list;
    assert_int_equal(civil_zones_new(NULL, &civil), 0);
    event_list_init(&list);
    struct ics_read_options options = {
        .window = {instant(how->from ? how->from : "2026-03-01"),
            instant(how->until ? how->until : "2026-04-05")},
        .civil = civil,
        .user_zone = how->zone ? how->zone : "UTC",
        .addresses = how->addresses,
    };
    int err = ics_read_new(text, len, &options, &list, &r);
    assert_int_equal(err, 0);
    do
        err = ics_read_step(r, 1000, fault);
    while (err > 0);
    ics_read_stats(r, stats);
    _cleanup_(json_decrefp) json_t *events = json_loads(event_list_json(&list), 0, NULL);
    assert_non_null(events);
    size_t i;
    json_t *e;
    json_array_foreach(events, i, e)
    {
        buf_addf(out, "%s|", json_string_value(json_object_get(e, "uid")));
        if (json_is_true(json_object_get(e, "kept"))) {
            buf_add_str(out, "kept\n");
            continue;
        }
        buf_addf(out, "%s|", json_string_value(json_object_get(e, "instance")));
        civil_time_add_utc(out, json_integer_value(json_object_get(e, "starts_at")));
        buf_add_char(out, '|');
        civil_time_add_utc(out, json_integer_value(json_object_get(e, "ends_at")));
        if (json_is_true(json_object_get(e, "all_day")))
            buf_add_str(out, "|all-day");
        if (json_is_true(json_object_get(e, "declined")))
            buf_add_str(out, "|declined");
        if (json_object_get(e, "status"))
            buf_add_str(out, "|tentative");
        if (how->titles)
            buf_addf(out, "|%s", json_string_value(json_object_get(e, "title")));
        buf_add_char(out, '\n');
    }
    ics_read_free(r);
    event_list_release(&list);
    civil_zones_free(civil);
    return err;
}

static void expect(const struct reading *how, const char *body, const char *expected)
{
    struct buf text = BUF_INIT(TEXT_MAX), out = BUF_INIT(TEXT_MAX), fault = BUF_INIT(1024);
    struct ics_read_stats stats;
    buf_addf(&text, "BEGIN:VCALENDAR\r\nVERSION:2.0\r\n%sEND:VCALENDAR\r\n", body);
    assert_int_equal(read_text(how, buf_str(&text), text.len, &out, &fault, &stats), 0);
    assert_string_equal(buf_str(&out), expected);
    buf_release(&text);
    buf_release(&out);
    buf_release(&fault);
}

static void expect_refused(const char *text, size_t len, int code, const char *why)
{
    struct buf out = BUF_INIT(TEXT_MAX), fault = BUF_INIT(1024);
    struct ics_read_stats stats;
    struct reading how = {0};
    assert_int_equal(read_text(&how, text, len, &out, &fault, &stats), code);
    assert_non_null(strstr(buf_str(&fault), why));
    buf_release(&out);
    buf_release(&fault);
}

#define EVENT(uid, lines) "BEGIN:VEVENT\r\nUID:" uid "\r\n" lines "END:VEVENT\r\n"

static const struct reading utc = {0};
static const struct reading berlin = {.zone = "Europe/Berlin"};

static void test_single(void **state)
{
    (void)state;
    expect(&utc, EVENT("a", "DTSTART:20260310T090000Z\r\nDTEND:20260310T093000Z\r\n"),
        "a||2026-03-10T09:00:00Z|2026-03-10T09:30:00Z\n");
    expect(&utc, EVENT("a", "DTSTART:20260310T090000Z\r\nDURATION:PT1H15M\r\n"),
        "a||2026-03-10T09:00:00Z|2026-03-10T10:15:00Z\n");
    expect(&utc, EVENT("a", "DTSTART:20260310T090000Z\r\nSTATUS:TENTATIVE\r\n"),
        "a||2026-03-10T09:00:00Z|2026-03-10T09:00:00Z|tentative\n");
    expect(&utc, EVENT("a", "DTSTART:20260310T090000Z\r\nSTATUS:CANCELLED\r\n"), "");
    expect(&utc, EVENT("a", "DTSTART:20270310T090000Z\r\nDTEND:20270310T093000Z\r\n"), "");
    /* Already running when the window opens; over when it opens. */
    expect(&utc, EVENT("a", "DTSTART:20260228T230000Z\r\nDTEND:20260301T003000Z\r\n"),
        "a||2026-02-28T23:00:00Z|2026-03-01T00:30:00Z\n");
    expect(&utc, EVENT("a", "DTSTART:20260228T230000Z\r\nDTEND:20260301T000000Z\r\n"), "");
    /* A meeting that would end before it starts lasts no time. */
    expect(&utc, EVENT("a", "DTSTART:20260310T090000Z\r\nDURATION:-PT1H\r\n"),
        "a||2026-03-10T09:00:00Z|2026-03-10T09:00:00Z\n");
    expect(&utc, EVENT("a", "DTSTART:20260310T090000Z\r\nDTEND:20260310T080000Z\r\n"),
        "a||2026-03-10T09:00:00Z|2026-03-10T09:00:00Z\n");
    /* Twice under one UID: the higher SEQUENCE counts, wherever it stands. */
    expect(&utc,
        EVENT("a", "SEQUENCE:2\r\nDTSTART:20260310T090000Z\r\n")
            EVENT("a", "SEQUENCE:1\r\nDTSTART:20260311T090000Z\r\n"),
        "a||2026-03-10T09:00:00Z|2026-03-10T09:00:00Z\n");
}

/* What a text may look like, whatever it says: RFC 5545 section 3.1, and what servers do. */
static void test_lines(void **state)
{
    (void)state;
    struct reading titles = {.titles = true};
    /* Folded by a blank or a tab, in the middle of a value and of a character. */
    expect(&titles,
        EVENT("a", "DTSTART:2026\r\n 0310T0900\r\n\t00Z\r\nSUMMARY:Caf\xC3\r\n \xA9 \r\n at 9\r\n"),
        "a||2026-03-10T09:00:00Z|2026-03-10T09:00:00Z|Caf\xC3\xA9 at 9\n");
    expect(&titles,
        EVENT(
            "a", "DTSTART:20260310T090000Z\r\nSUMMARY;LANGUAGE=en:One\\, two\\; three\\nfour\r\n"),
        "a||2026-03-10T09:00:00Z|2026-03-10T09:00:00Z|One, two; three four\n");
    expect(&utc, "begin:vevent\r\nuid:a\r\ndtstart:20260310T090000Z\r\nend:vevent\r\n",
        "a||2026-03-10T09:00:00Z|2026-03-10T09:00:00Z\n");
    static const char marked[] =
        "\xEF\xBB\xBF"
        "BEGIN:VCALENDAR\n\nBEGIN:VEVENT\nUID:a\nDTSTART:20260310T090000Z\n"
        "END:VEVENT\nEND:VCALENDAR";
    struct buf out = BUF_INIT(TEXT_MAX), fault = BUF_INIT(1024);
    struct ics_read_stats stats;
    assert_int_equal(read_text(&utc, marked, strlen(marked), &out, &fault, &stats), 0);
    assert_string_equal(buf_str(&out), "a||2026-03-10T09:00:00Z|2026-03-10T09:00:00Z\n");
    buf_release(&out);
    buf_release(&fault);
}

static void test_zones(void **state)
{
    (void)state;
    expect(&utc, EVENT("a", "DTSTART;TZID=America/New_York:20260310T090000\r\n"),
        "a||2026-03-10T13:00:00Z|2026-03-10T13:00:00Z\n");
    expect(&utc,
        EVENT("a", "DTSTART;TZID=/vendor.example/2005_1/Europe/Berlin:20260310T090000\r\n"),
        "a||2026-03-10T08:00:00Z|2026-03-10T08:00:00Z\n");
    expect(&utc, EVENT("a", "DTSTART;TZID=\"W. Europe Standard Time\":20260330T090000\r\n"),
        "a||2026-03-30T07:00:00Z|2026-03-30T07:00:00Z\n");
    expect(&berlin, EVENT("floating", "DTSTART:20260310T090000\r\n"),
        "floating||2026-03-10T08:00:00Z|2026-03-10T08:00:00Z\n");
    expect(&berlin, EVENT("day", "DTSTART;VALUE=DATE:20260329\r\n"),
        "day||2026-03-28T23:00:00Z|2026-03-29T22:00:00Z|all-day\n");
    expect(&berlin, EVENT("days", "DTSTART;VALUE=DATE:20260328\r\nDTEND;VALUE=DATE:20260331\r\n"),
        "days||2026-03-27T23:00:00Z|2026-03-30T22:00:00Z|all-day\n");
    /* Skipped by the clocks: the offset before; shown twice: the first. */
    expect(&utc, EVENT("gap", "DTSTART;TZID=America/New_York:20260308T023000\r\n"),
        "gap||2026-03-08T07:30:00Z|2026-03-08T07:30:00Z\n");
    struct reading autumn = {.from = "2026-10-20", .until = "2026-11-10"};
    expect(&autumn, EVENT("twice", "DTSTART;TZID=America/New_York:20261101T013000\r\n"),
        "twice||2026-11-01T05:30:00Z|2026-11-01T05:30:00Z\n");
}

#define BERN_ZONE                                                                                  \
    "BEGIN:VTIMEZONE\r\nTZID:Head office\r\n"                                                      \
    "BEGIN:STANDARD\r\nDTSTART:16010101T030000\r\nTZOFFSETFROM:+0200\r\nTZOFFSETTO:+0100\r\n"      \
    "RRULE:FREQ=YEARLY;BYDAY=-1SU;BYMONTH=10\r\nEND:STANDARD\r\n"                                  \
    "BEGIN:DAYLIGHT\r\nDTSTART:16010101T020000\r\nTZOFFSETFROM:+0100\r\nTZOFFSETTO:+0200\r\n"      \
    "RRULE:FREQ=YEARLY;BYDAY=-1SU;BYMONTH=3\r\nEND:DAYLIGHT\r\nEND:VTIMEZONE\r\n"

/* Summer time for the last time in 2025. UNTIL names the last onset, in UTC, to the second. */
#define ENDED_ZONE                                                                                 \
    "BEGIN:VTIMEZONE\r\nTZID:Ended\r\n"                                                            \
    "BEGIN:STANDARD\r\nDTSTART:20001029T030000\r\nTZOFFSETFROM:+0200\r\nTZOFFSETTO:+0100\r\n"      \
    "RRULE:FREQ=YEARLY;BYDAY=-1SU;BYMONTH=10;UNTIL=20251026T010000Z\r\nEND:STANDARD\r\n"           \
    "BEGIN:DAYLIGHT\r\nDTSTART:20000326T020000\r\nTZOFFSETFROM:+0100\r\nTZOFFSETTO:+0200\r\n"      \
    "RRULE:FREQ=YEARLY;BYDAY=-1SU;BYMONTH=3;UNTIL=20250330T010000Z\r\nEND:DAYLIGHT\r\n"            \
    "END:VTIMEZONE\r\n"

static void test_vtimezone(void **state)
{
    (void)state;
    /* The zone may stand after the events that use it. */
    expect(&utc, EVENT("a", "DTSTART;TZID=Head office:20260328T090000\r\n") BERN_ZONE,
        "a||2026-03-28T08:00:00Z|2026-03-28T08:00:00Z\n");
    expect(&utc, BERN_ZONE EVENT("a", "DTSTART;TZID=Head office:20260330T090000\r\n"),
        "a||2026-03-30T07:00:00Z|2026-03-30T07:00:00Z\n");
    expect(&utc, BERN_ZONE EVENT("gap", "DTSTART;TZID=Head office:20260329T023000\r\n"),
        "gap||2026-03-29T01:30:00Z|2026-03-29T01:30:00Z\n");
    struct reading late = {.from = "2044-06-01", .until = "2044-07-01"};
    expect(&late, BERN_ZONE EVENT("a", "DTSTART;TZID=Head office:20440615T090000\r\n"),
        "a||2044-06-15T07:00:00Z|2044-06-15T07:00:00Z\n");
    /* tzdata is right where a VTIMEZONE with a known name is wrong. */
    expect(&utc,
        "BEGIN:VTIMEZONE\r\nTZID:America/"
        "Mexico_City\r\nBEGIN:STANDARD\r\nDTSTART:19700101T000000\r\n"
        "TZOFFSETFROM:-0500\r\nTZOFFSETTO:-0500\r\nEND:STANDARD\r\nEND:VTIMEZONE\r\n" EVENT(
            "a", "DTSTART;TZID=America/Mexico_City:20260401T090000\r\n"),
        "a||2026-04-01T15:00:00Z|2026-04-01T15:00:00Z\n");
    /* A name that has to be quoted. */
    expect(&utc,
        "BEGIN:VTIMEZONE\r\nTZID:(UTC+01:00) Bern\\, Rome: winter\r\nBEGIN:STANDARD\r\n"
        "DTSTART:16010101T000000\r\nTZOFFSETFROM:+0100\r\nTZOFFSETTO:+0100\r\nEND:STANDARD\r\n"
        "END:VTIMEZONE\r\n" EVENT(
            "a", "DTSTART;TZID=\"(UTC+01:00) Bern, Rome: winter\":20260401T090000\r\n"),
        "a||2026-04-01T08:00:00Z|2026-04-01T08:00:00Z\n");
    /* Changes that are listed, and a rule that has ended: the zone stays where it went last. */
    expect(&utc,
        "BEGIN:VTIMEZONE\r\nTZID:Ship\r\nBEGIN:STANDARD\r\nDTSTART:20200101T000000\r\n"
        "TZOFFSETFROM:+0000\r\nTZOFFSETTO:+0300\r\nRDATE:20260310T000000\r\nEND:STANDARD\r\n"
        "BEGIN:STANDARD\r\nDTSTART:20260305T000000\r\nTZOFFSETFROM:+0300\r\nTZOFFSETTO:+0000\r\n"
        "END:STANDARD\r\nEND:VTIMEZONE\r\n" EVENT("a",
            "DTSTART;TZID=Ship:20260304T090000\r\nRDATE;TZID=Ship:20260306T090000\r\n"
            "RDATE;TZID=Ship:20260311T090000\r\n"),
        "a|20260304T060000Z|2026-03-04T06:00:00Z|2026-03-04T06:00:00Z\n"
        "a|20260306T090000Z|2026-03-06T09:00:00Z|2026-03-06T09:00:00Z\n"
        "a|20260311T060000Z|2026-03-11T06:00:00Z|2026-03-11T06:00:00Z\n");
    expect(&utc, ENDED_ZONE EVENT("a", "DTSTART;TZID=Ended:20260330T090000\r\n"),
        "a||2026-03-30T08:00:00Z|2026-03-30T08:00:00Z\n");
    struct reading before = {.from = "2025-03-01", .until = "2025-04-05"};
    expect(&before, ENDED_ZONE EVENT("a", "DTSTART;TZID=Ended:20250331T090000\r\n"),
        "a||2025-03-31T07:00:00Z|2025-03-31T07:00:00Z\n");
    /* Nothing known of it: the calendar's zone, else the user's. */
    expect(&berlin, EVENT("a", "DTSTART;TZID=Nowhere:20260310T090000\r\n"),
        "a||2026-03-10T08:00:00Z|2026-03-10T08:00:00Z\n");
    expect(&berlin,
        "X-WR-TIMEZONE:Asia/Tokyo\r\n" EVENT("a", "DTSTART;TZID=Nowhere:20260310T090000\r\n"),
        "a||2026-03-10T00:00:00Z|2026-03-10T00:00:00Z\n");
}

static void test_recurrence(void **state)
{
    (void)state;
    struct reading week = {.from = "2026-03-05", .until = "2026-03-12"};
    /* 09:00 stays 09:00 across 8 March, when New York's clocks go forward. */
    expect(&week,
        EVENT("w", "DTSTART;TZID=America/New_York:20200106T090000\r\nDURATION:PT30M\r\n"
                   "RRULE:FREQ=WEEKLY;BYDAY=FR,MO\r\n"),
        "w|20260306T140000Z|2026-03-06T14:00:00Z|2026-03-06T14:30:00Z\n"
        "w|20260309T130000Z|2026-03-09T13:00:00Z|2026-03-09T13:30:00Z\n");
    expect(&week, EVENT("c", "DTSTART:20260304T090000Z\r\nRRULE:FREQ=DAILY;COUNT=3\r\n"),
        "c|20260305T090000Z|2026-03-05T09:00:00Z|2026-03-05T09:00:00Z\n"
        "c|20260306T090000Z|2026-03-06T09:00:00Z|2026-03-06T09:00:00Z\n");
    /* UNTIL is an instant, and belongs to the set. */
    expect(&week,
        EVENT("u", "DTSTART;TZID=Asia/"
                   "Tokyo:20260301T010000\r\nRRULE:FREQ=DAILY;UNTIL=20260305T160000Z\r\n"),
        "u|20260305T160000Z|2026-03-05T16:00:00Z|2026-03-05T16:00:00Z\n");
    expect(&week, EVENT("d", "DTSTART:20260305T233000Z\r\nRRULE:FREQ=DAILY;UNTIL=20260306\r\n"),
        "d|20260305T233000Z|2026-03-05T23:30:00Z|2026-03-05T23:30:00Z\n"
        "d|20260306T233000Z|2026-03-06T23:30:00Z|2026-03-06T23:30:00Z\n");
    expect(&week,
        EVENT("x", "DTSTART:20260305T090000Z\r\nRRULE:FREQ=DAILY;UNTIL=20260308T090000Z\r\n"
                   "EXDATE:20260306T090000Z,20260307T090000Z\r\nRDATE:20260311T070000Z\r\n"),
        "x|20260305T090000Z|2026-03-05T09:00:00Z|2026-03-05T09:00:00Z\n"
        "x|20260308T090000Z|2026-03-08T09:00:00Z|2026-03-08T09:00:00Z\n"
        "x|20260311T070000Z|2026-03-11T07:00:00Z|2026-03-11T07:00:00Z\n");
    /* An hourly rule keeps its stride from a start long ago. */
    expect(&(struct reading){.from = "2026-03-05", .until = "2026-03-06"},
        EVENT("h", "DTSTART:19990101T010500Z\r\nRRULE:FREQ=HOURLY;INTERVAL=7\r\n"),
        "h|20260305T040500Z|2026-03-05T04:05:00Z|2026-03-05T04:05:00Z\n"
        "h|20260305T110500Z|2026-03-05T11:05:00Z|2026-03-05T11:05:00Z\n"
        "h|20260305T180500Z|2026-03-05T18:05:00Z|2026-03-05T18:05:00Z\n");
    expect(&week, EVENT("r", "DTSTART:20260305T090000Z\r\nRDATE:20260306T090000Z\r\n"),
        "r|20260305T090000Z|2026-03-05T09:00:00Z|2026-03-05T09:00:00Z\n"
        "r|20260306T090000Z|2026-03-06T09:00:00Z|2026-03-06T09:00:00Z\n");
    struct reading spring = {.zone = "Europe/Berlin", .from = "2026-03-27", .until = "2026-03-31"};
    expect(&spring, EVENT("b", "DTSTART;VALUE=DATE:20260328\r\nRRULE:FREQ=DAILY;COUNT=2\r\n"),
        "b|20260327T230000Z|2026-03-27T23:00:00Z|2026-03-28T23:00:00Z|all-day\n"
        "b|20260328T230000Z|2026-03-28T23:00:00Z|2026-03-29T22:00:00Z|all-day\n");
}

/* Which instances a set has: RFC 5545 sections 3.3.10 and 3.8.5. */
static void test_sets(void **state)
{
    (void)state;
    struct reading week = {.from = "2026-03-05", .until = "2026-03-12"};
    /* An exception by its date takes the instance of that day in the series' zone. */
    expect(&week,
        EVENT("e", "DTSTART;TZID=Asia/Tokyo:20260306T010000\r\nRRULE:FREQ=DAILY;COUNT=3\r\n"
                   "EXDATE;VALUE=DATE:20260307\r\n"),
        "e|20260305T160000Z|2026-03-05T16:00:00Z|2026-03-05T16:00:00Z\n"
        "e|20260307T160000Z|2026-03-07T16:00:00Z|2026-03-07T16:00:00Z\n");
    /* Of a series with an end, as long everywhere; a date that the rule brings too is one. */
    expect(&week,
        EVENT("t",
            "DTSTART;TZID=America/New_York:20260306T090000\r\n"
            "DTEND;TZID=America/New_York:20260306T100000\r\nRRULE:FREQ=DAILY;INTERVAL=3;COUNT=2\r\n"
            "RDATE:20260309T130000Z\r\nRDATE;TZID=Europe/Berlin:20260310T090000\r\n"),
        "t|20260306T140000Z|2026-03-06T14:00:00Z|2026-03-06T15:00:00Z\n"
        "t|20260309T130000Z|2026-03-09T13:00:00Z|2026-03-09T14:00:00Z\n"
        "t|20260310T080000Z|2026-03-10T08:00:00Z|2026-03-10T09:00:00Z\n");
    expect(&week,
        EVENT("p",
            "DTSTART:20260305T090000Z\r\nDURATION:PT30M\r\n"
            "RDATE;VALUE=PERIOD:20260307T090000Z/PT2H,20260308T090000Z/20260308T100000Z\r\n"),
        "p|20260305T090000Z|2026-03-05T09:00:00Z|2026-03-05T09:30:00Z\n"
        "p|20260307T090000Z|2026-03-07T09:00:00Z|2026-03-07T09:30:00Z\n"
        "p|20260308T090000Z|2026-03-08T09:00:00Z|2026-03-08T09:30:00Z\n");
    /* UNTIL without a zone is the series' wall clock. */
    expect(&week,
        EVENT("l", "DTSTART;TZID=America/New_York:20260306T090000\r\n"
                   "RRULE:FREQ=DAILY;UNTIL=20260307T090000\r\n"),
        "l|20260306T140000Z|2026-03-06T14:00:00Z|2026-03-06T14:00:00Z\n"
        "l|20260307T140000Z|2026-03-07T14:00:00Z|2026-03-07T14:00:00Z\n");
    /* The last working day of a month. */
    expect(&utc,
        EVENT("s", "DTSTART:20260130T090000Z\r\n"
                   "RRULE:FREQ=MONTHLY;BYDAY=MO,TU,WE,TH,FR;BYSETPOS=-1\r\n"),
        "s|20260331T090000Z|2026-03-31T09:00:00Z|2026-03-31T09:00:00Z\n");
}

#define DAILY                                                                                      \
    EVENT("s", "DTSTART;TZID=Europe/Berlin:20260305T090000\r\nDURATION:PT30M\r\n"                  \
               "RRULE:FREQ=DAILY;COUNT=3\r\n")

static void test_overrides(void **state)
{
    (void)state;
    expect(&utc,
        DAILY EVENT("s", "RECURRENCE-ID;TZID=Europe/Berlin:20260306T090000\r\n"
                         "DTSTART;TZID=Europe/Berlin:20260306T150000\r\nDURATION:PT30M\r\n"),
        "s|20260305T080000Z|2026-03-05T08:00:00Z|2026-03-05T08:30:00Z\n"
        "s|20260307T080000Z|2026-03-07T08:00:00Z|2026-03-07T08:30:00Z\n"
        "s|20260306T080000Z|2026-03-06T14:00:00Z|2026-03-06T14:30:00Z\n");
    /* From before the clocks go forward to after: known by when it was to start. */
    expect(&(struct reading){.from = "2026-03-22", .until = "2026-04-05"},
        EVENT("w", "DTSTART;TZID=Europe/Berlin:20260306T090000\r\nRRULE:FREQ=WEEKLY;COUNT=5\r\n")
            EVENT("w", "RECURRENCE-ID;TZID=Europe/Berlin:20260327T090000\r\n"
                       "DTSTART;TZID=Europe/Berlin:20260330T090000\r\n"),
        "w|20260403T070000Z|2026-04-03T07:00:00Z|2026-04-03T07:00:00Z\n"
        "w|20260327T080000Z|2026-03-30T07:00:00Z|2026-03-30T07:00:00Z\n");
    /* One instance named in two zones is one. */
    expect(&(struct reading){.from = "2026-03-06", .until = "2026-03-07"},
        DAILY EVENT("s", "RECURRENCE-ID:20260306T080000Z\r\nDTSTART:20260306T100000Z\r\n")
            EVENT("s",
                "RECURRENCE-ID;TZID=Europe/Berlin:20260306T090000\r\nDTSTART:20260306T110000Z\r\n"),
        "s|20260306T080000Z|2026-03-06T11:00:00Z|2026-03-06T11:00:00Z\n");
    /* Out of the window, cancelled, and changed twice. */
    expect(&utc,
        DAILY EVENT("s", "RECURRENCE-ID:20260306T080000Z\r\nDTSTART:20270306T150000Z\r\n")
            EVENT("s", "RECURRENCE-ID:20260307T080000Z\r\nDTSTART:20260307T080000Z\r\n"
                       "STATUS:CANCELLED\r\n") EVENT("s",
                "RECURRENCE-ID:20260305T080000Z\r\nSEQUENCE:2\r\nDTSTART:20260305T100000Z\r\n")
                EVENT("s",
                    "RECURRENCE-ID:20260305T080000Z\r\nSEQUENCE:1\r\nDTSTART:20260305T110000Z\r\n"),
        "s|20260305T080000Z|2026-03-05T10:00:00Z|2026-03-05T10:00:00Z\n");
    /* Invited to one instance only: there is no master. */
    expect(&utc, EVENT("o", "RECURRENCE-ID:20260306T080000Z\r\nDTSTART:20260306T080000Z\r\n"),
        "o|20260306T080000Z|2026-03-06T08:00:00Z|2026-03-06T08:00:00Z\n");
    /* A cancelled series takes its changed instances along. */
    expect(&utc,
        EVENT("s", "DTSTART:20260305T090000Z\r\nRRULE:FREQ=DAILY;COUNT=3\r\nSTATUS:CANCELLED\r\n")
            EVENT("s", "RECURRENCE-ID:20260306T090000Z\r\nDTSTART:20260306T100000Z\r\n"),
        "");
}

static void test_declined(void **state)
{
    (void)state;
    static const char *const me[] = {"second@example.org", "owner@example.org", NULL};
    struct reading how = {.addresses = me};
    expect(&how,
        EVENT("a", "DTSTART:20260310T090000Z\r\n"
                   "ATTENDEE;CN=\"A, very; long\";PARTSTAT=DECLINED:mailto:other@example.org\r\n"
                   "ATTENDEE;PARTSTAT=DECLINED;CN=\r\n  Owner:MAILTO:Owner@Example.org\r\n"),
        "a||2026-03-10T09:00:00Z|2026-03-10T09:00:00Z|declined\n");
    expect(&how,
        EVENT("a",
            "DTSTART:20260310T090000Z\r\nATTENDEE;PARTSTAT=ACCEPTED:mailto:owner@example.org\r\n"
            "ATTENDEE;PARTSTAT=DECLINED:mailto:other@example.org\r\n"),
        "a||2026-03-10T09:00:00Z|2026-03-10T09:00:00Z\n");
}

static void test_unreadable_events_are_kept(void **state)
{
    (void)state;
    static const char good[] = EVENT("ok", "DTSTART:20260310T090000Z\r\n");
    static const char *const bad[] = {
        EVENT("bad", ""),
        EVENT("bad", "DTSTART:yesterday\r\n"),
        EVENT("bad", "DTSTART:20260231T090000Z\r\n"),
        EVENT("bad", "DTSTART:20260310T090000Z\r\nRRULE:FREQ=SOMETIMES\r\n"),
        EVENT("bad", "DTSTART:20260310T090000Z\r\nRRULE:FREQ=SECONDLY\r\n"),
        EVENT("bad", "DTSTART:20260310T090000Z\r\nRRULE:FREQ=DAILY\r\nEXDATE:tomorrow\r\n"),
        EVENT("bad", "DTSTART:20260310T090000Z\r\nRECURRENCE-ID:never\r\n"),
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct buf body = BUF_INIT(TEXT_MAX);
        buf_addf(&body, "%s%s", good, bad[i]);
        expect(&utc, buf_str(&body), "bad|kept\nok||2026-03-10T09:00:00Z|2026-03-10T09:00:00Z\n");
        buf_release(&body);
    }
}

static void test_other_components(void **state)
{
    (void)state;
    expect(&utc,
        "BEGIN:VTODO\r\nUID:t\r\nDTSTART:20260310T090000Z\r\nEND:VTODO\r\n" EVENT("a",
            "DTSTART:20260310T090000Z\r\nDESCRIPTION:BEGIN:VEVENT\\n\r\n END:VEVENT\r\n"
            "BEGIN:VALARM\r\nUID:alarm\r\nTRIGGER:-PT5M\r\nDURATION:PT1H\r\nEND:VALARM\r\n"),
        "a||2026-03-10T09:00:00Z|2026-03-10T09:00:00Z\n");
    expect(&utc, "BEGIN:VEVENT\nUID:lf\nDTSTART:20260310T090000Z\nEND:VEVENT\n",
        "lf||2026-03-10T09:00:00Z|2026-03-10T09:00:00Z\n");
    expect(&utc, "BEGIN:VEVENT\r\nSUMMARY:No uid\r\nDTSTART:20260310T090000Z\r\nEND:VEVENT\r\n",
        "without-uid:202603100900:No uid||2026-03-10T09:00:00Z|2026-03-10T09:00:00Z\n");
}

static void test_refused_texts(void **state)
{
    (void)state;
    static const struct {
        const char *text, *why;
    } cases[] = {
        {"", "line 0: the text is empty"},
        {"<!DOCTYPE html>\n<html>", "line 1: this is no calendar"},
        {"BEGIN:VCALENDAR\r\nBEGIN:VEVENT\r\nUID:a\r\n", "line 3: the text ends within"},
        {"BEGIN:VCALENDAR\r\n", "line 1: the text ends within"},
        {"BEGIN:VCALENDAR\r\nEND:VEVENT\r\n", "line 2: END without its BEGIN"},
        {"BEGIN:VCALENDAR\r\nBEGIN:VEVENT\r\nEND:VCALENDAR\r\n", "line 3: END:VEVENT expected"},
        {"BEGIN:VCALENDAR\r\n" EVENT("a", "DTSTART:x\r\n") "END:VCALENDAR\r\n", "not one event"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        expect_refused(cases[i].text, strlen(cases[i].text), ERR_INVALID, cases[i].why);
    struct buf deep = BUF_INIT(TEXT_MAX);
    buf_add_str(&deep, "BEGIN:VCALENDAR\n");
    for (int i = 0; i < 1000; i++)
        buf_add_str(&deep, "BEGIN:VJOURNAL\n");
    expect_refused(buf_str(&deep), deep.len, ERR_INVALID, "nested too deeply");
    buf_release(&deep);
}

static void test_ceilings(void **state)
{
    (void)state;
    struct ics_read_stats stats;
    struct buf text = BUF_INIT(TEXT_MAX), out = BUF_INIT(TEXT_MAX), fault = BUF_INIT(1024);
    /* Rules that never come, or too often. */
    buf_add_str(&text,
        "BEGIN:VCALENDAR\r\n" EVENT("never", "DTSTART:19000101T000000Z\r\nRRULE:FREQ=HOURLY;"
                                             "BYMONTH=2;BYMONTHDAY=30\r\n") EVENT("counted",
            "DTSTART:20210101T000000Z\r\nRRULE:FREQ=HOURLY;BYMINUTE=0,20,40;COUNT="
            "900000\r\n") EVENT("hourly",
            "DTSTART:20260101T000000Z\r\nRRULE:FREQ=HOURLY;BYMINUTE=0,30\r\n") "END:VCALENDAR\r\n");
    assert_int_equal(read_text(&utc, buf_str(&text), text.len, &out, &fault, &stats), 0);
    assert_int_equal(stats.cut, 2);
    assert_int_equal(stats.broken, 0);
    size_t lines = 0;
    for (const char *c = buf_str(&out); *c; c++)
        lines += *c == '\n';
    assert_int_equal(lines, ICS_INSTANCES_MAX);
    /* A title with every kind of byte, and far too long. */
    buf_reset(&text);
    buf_add_str(
        &text, "BEGIN:VCALENDAR\r\nBEGIN:VEVENT\r\nUID:a\r\nDTSTART:20260310T090000Z\r\nSUMMARY:");
    for (int i = 1; i < 2000; i++)
        buf_add_char(&text, strchr("\r\n", i & 0xff) ? 'x' : (char)(i & 0xff));
    buf_add_str(&text, "\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n");
    buf_reset(&out);
    assert_int_equal(read_text(&utc, buf_str(&text), text.len, &out, &fault, &stats), 0);
    assert_string_equal(buf_str(&out), "a||2026-03-10T09:00:00Z|2026-03-10T09:00:00Z\n");
    buf_release(&text);
    buf_release(&out);
    buf_release(&fault);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_single),
        cmocka_unit_test(test_lines),
        cmocka_unit_test(test_zones),
        cmocka_unit_test(test_vtimezone),
        cmocka_unit_test(test_recurrence),
        cmocka_unit_test(test_sets),
        cmocka_unit_test(test_overrides),
        cmocka_unit_test(test_declined),
        cmocka_unit_test(test_unreadable_events_are_kept),
        cmocka_unit_test(test_other_components),
        cmocka_unit_test(test_refused_texts),
        cmocka_unit_test(test_ceilings),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
