/* A calendar's text in, the events of a window out. Series are in test_ics_series.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/buf.h"
#include "tests/support/ics_text.h"
#include "worker-calendar/ics_read.h"

static const struct ics_reading utc = {0};
static const struct ics_reading berlin = {.zone = "Europe/Berlin"};

static void test_single(void **state)
{
    (void)state;
    ics_text_expect(&utc, ICS_EVENT("a", "DTSTART:20260310T090000Z\r\nDTEND:20260310T093000Z\r\n"),
        "a||2026-03-10T09:00:00Z|2026-03-10T09:30:00Z\n");
    ics_text_expect(&utc, ICS_EVENT("a", "DTSTART:20260310T090000Z\r\nDURATION:PT1H15M\r\n"),
        "a||2026-03-10T09:00:00Z|2026-03-10T10:15:00Z\n");
    ics_text_expect(&utc, ICS_EVENT("a", "DTSTART:20260310T090000Z\r\nSTATUS:TENTATIVE\r\n"),
        "a||2026-03-10T09:00:00Z|2026-03-10T09:00:00Z|tentative\n");
    ics_text_expect(&utc, ICS_EVENT("a", "DTSTART:20260310T090000Z\r\nSTATUS:CANCELLED\r\n"), "");
    ics_text_expect(
        &utc, ICS_EVENT("a", "DTSTART:20270310T090000Z\r\nDTEND:20270310T093000Z\r\n"), "");
    /* Already running when the window opens; over when it opens. */
    ics_text_expect(&utc, ICS_EVENT("a", "DTSTART:20260228T230000Z\r\nDTEND:20260301T003000Z\r\n"),
        "a||2026-02-28T23:00:00Z|2026-03-01T00:30:00Z\n");
    ics_text_expect(
        &utc, ICS_EVENT("a", "DTSTART:20260228T230000Z\r\nDTEND:20260301T000000Z\r\n"), "");
    /* A meeting that would end before it starts lasts no time. */
    ics_text_expect(&utc, ICS_EVENT("a", "DTSTART:20260310T090000Z\r\nDURATION:-PT1H\r\n"),
        "a||2026-03-10T09:00:00Z|2026-03-10T09:00:00Z\n");
    ics_text_expect(&utc, ICS_EVENT("a", "DTSTART:20260310T090000Z\r\nDTEND:20260310T080000Z\r\n"),
        "a||2026-03-10T09:00:00Z|2026-03-10T09:00:00Z\n");
    /* Twice under one UID: the higher SEQUENCE counts, wherever it stands. */
    ics_text_expect(&utc,
        ICS_EVENT("a", "SEQUENCE:2\r\nDTSTART:20260310T090000Z\r\n")
            ICS_EVENT("a", "SEQUENCE:1\r\nDTSTART:20260311T090000Z\r\n"),
        "a||2026-03-10T09:00:00Z|2026-03-10T09:00:00Z\n");
}

/* What a text may look like, whatever it says: RFC 5545 section 3.1, and what servers do. */
static void test_lines(void **state)
{
    (void)state;
    struct ics_reading titles = {.titles = true};
    /* Folded by a blank or a tab, in the middle of a value and of a character. */
    ics_text_expect(&titles,
        ICS_EVENT(
            "a", "DTSTART:2026\r\n 0310T0900\r\n\t00Z\r\nSUMMARY:Caf\xC3\r\n \xA9 \r\n at 9\r\n"),
        "a||2026-03-10T09:00:00Z|2026-03-10T09:00:00Z|Caf\xC3\xA9 at 9\n");
    ics_text_expect(&titles,
        ICS_EVENT(
            "a", "DTSTART:20260310T090000Z\r\nSUMMARY;LANGUAGE=en:One\\, two\\; three\\nfour\r\n"),
        "a||2026-03-10T09:00:00Z|2026-03-10T09:00:00Z|One, two; three four\n");
    ics_text_expect(&utc, "begin:vevent\r\nuid:a\r\ndtstart:20260310T090000Z\r\nend:vevent\r\n",
        "a||2026-03-10T09:00:00Z|2026-03-10T09:00:00Z\n");
    static const char marked[] =
        "\xEF\xBB\xBF"
        "BEGIN:VCALENDAR\n\nBEGIN:VEVENT\nUID:a\nDTSTART:20260310T090000Z\n"
        "END:VEVENT\nEND:VCALENDAR";
    struct buf out = BUF_INIT(ICS_TEXT_MAX), fault = BUF_INIT(1024);
    struct ics_read_stats stats;
    assert_int_equal(ics_text_read(&utc, marked, strlen(marked), &out, &fault, &stats), 0);
    assert_string_equal(buf_str(&out), "a||2026-03-10T09:00:00Z|2026-03-10T09:00:00Z\n");
    buf_release(&out);
    buf_release(&fault);
}

static void test_zones(void **state)
{
    (void)state;
    ics_text_expect(&utc, ICS_EVENT("a", "DTSTART;TZID=America/New_York:20260310T090000\r\n"),
        "a||2026-03-10T13:00:00Z|2026-03-10T13:00:00Z\n");
    ics_text_expect(&utc,
        ICS_EVENT("a", "DTSTART;TZID=/vendor.example/2005_1/Europe/Berlin:20260310T090000\r\n"),
        "a||2026-03-10T08:00:00Z|2026-03-10T08:00:00Z\n");
    ics_text_expect(&utc,
        ICS_EVENT("a", "DTSTART;TZID=\"W. Europe Standard Time\":20260330T090000\r\n"),
        "a||2026-03-30T07:00:00Z|2026-03-30T07:00:00Z\n");
    ics_text_expect(&berlin, ICS_EVENT("floating", "DTSTART:20260310T090000\r\n"),
        "floating||2026-03-10T08:00:00Z|2026-03-10T08:00:00Z\n");
    ics_text_expect(&berlin, ICS_EVENT("day", "DTSTART;VALUE=DATE:20260329\r\n"),
        "day||2026-03-28T23:00:00Z|2026-03-29T22:00:00Z|all-day\n");
    ics_text_expect(&berlin,
        ICS_EVENT("days", "DTSTART;VALUE=DATE:20260328\r\nDTEND;VALUE=DATE:20260331\r\n"),
        "days||2026-03-27T23:00:00Z|2026-03-30T22:00:00Z|all-day\n");
    /* Skipped by the clocks: the offset before; shown twice: the first. */
    ics_text_expect(&utc, ICS_EVENT("gap", "DTSTART;TZID=America/New_York:20260308T023000\r\n"),
        "gap||2026-03-08T07:30:00Z|2026-03-08T07:30:00Z\n");
    struct ics_reading autumn = {.from = "2026-10-20", .until = "2026-11-10"};
    ics_text_expect(&autumn,
        ICS_EVENT("twice", "DTSTART;TZID=America/New_York:20261101T013000\r\n"),
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
    ics_text_expect(&utc, ICS_EVENT("a", "DTSTART;TZID=Head office:20260328T090000\r\n") BERN_ZONE,
        "a||2026-03-28T08:00:00Z|2026-03-28T08:00:00Z\n");
    ics_text_expect(&utc, BERN_ZONE ICS_EVENT("a", "DTSTART;TZID=Head office:20260330T090000\r\n"),
        "a||2026-03-30T07:00:00Z|2026-03-30T07:00:00Z\n");
    ics_text_expect(&utc,
        BERN_ZONE ICS_EVENT("gap", "DTSTART;TZID=Head office:20260329T023000\r\n"),
        "gap||2026-03-29T01:30:00Z|2026-03-29T01:30:00Z\n");
    struct ics_reading late = {.from = "2044-06-01", .until = "2044-07-01"};
    ics_text_expect(&late, BERN_ZONE ICS_EVENT("a", "DTSTART;TZID=Head office:20440615T090000\r\n"),
        "a||2044-06-15T07:00:00Z|2044-06-15T07:00:00Z\n");
    /* tzdata is right where a VTIMEZONE with a known name is wrong. */
    ics_text_expect(&utc,
        "BEGIN:VTIMEZONE\r\nTZID:America/"
        "Mexico_City\r\nBEGIN:STANDARD\r\nDTSTART:19700101T000000\r\n"
        "TZOFFSETFROM:-0500\r\nTZOFFSETTO:-0500\r\nEND:STANDARD\r\nEND:VTIMEZONE\r\n" ICS_EVENT(
            "a", "DTSTART;TZID=America/Mexico_City:20260401T090000\r\n"),
        "a||2026-04-01T15:00:00Z|2026-04-01T15:00:00Z\n");
    /* A name that has to be quoted. */
    ics_text_expect(&utc,
        "BEGIN:VTIMEZONE\r\nTZID:(UTC+01:00) Bern\\, Rome: winter\r\nBEGIN:STANDARD\r\n"
        "DTSTART:16010101T000000\r\nTZOFFSETFROM:+0100\r\nTZOFFSETTO:+0100\r\nEND:STANDARD\r\n"
        "END:VTIMEZONE\r\n" ICS_EVENT(
            "a", "DTSTART;TZID=\"(UTC+01:00) Bern, Rome: winter\":20260401T090000\r\n"),
        "a||2026-04-01T08:00:00Z|2026-04-01T08:00:00Z\n");
    /* Changes that are listed, and a rule that has ended: the zone stays where it went last. */
    ics_text_expect(&utc,
        "BEGIN:VTIMEZONE\r\nTZID:Ship\r\nBEGIN:STANDARD\r\nDTSTART:20200101T000000\r\n"
        "TZOFFSETFROM:+0000\r\nTZOFFSETTO:+0300\r\nRDATE:20260310T000000\r\nEND:STANDARD\r\n"
        "BEGIN:STANDARD\r\nDTSTART:20260305T000000\r\nTZOFFSETFROM:+0300\r\nTZOFFSETTO:+0000\r\n"
        "END:STANDARD\r\nEND:VTIMEZONE\r\n" ICS_EVENT("a",
            "DTSTART;TZID=Ship:20260304T090000\r\nRDATE;TZID=Ship:20260306T090000\r\n"
            "RDATE;TZID=Ship:20260311T090000\r\n"),
        "a|20260304T060000Z|2026-03-04T06:00:00Z|2026-03-04T06:00:00Z\n"
        "a|20260306T090000Z|2026-03-06T09:00:00Z|2026-03-06T09:00:00Z\n"
        "a|20260311T060000Z|2026-03-11T06:00:00Z|2026-03-11T06:00:00Z\n");
    ics_text_expect(&utc, ENDED_ZONE ICS_EVENT("a", "DTSTART;TZID=Ended:20260330T090000\r\n"),
        "a||2026-03-30T08:00:00Z|2026-03-30T08:00:00Z\n");
    struct ics_reading before = {.from = "2025-03-01", .until = "2025-04-05"};
    ics_text_expect(&before, ENDED_ZONE ICS_EVENT("a", "DTSTART;TZID=Ended:20250331T090000\r\n"),
        "a||2025-03-31T07:00:00Z|2025-03-31T07:00:00Z\n");
    /* Nothing known of it: the calendar's zone, else the user's. */
    ics_text_expect(&berlin, ICS_EVENT("a", "DTSTART;TZID=Nowhere:20260310T090000\r\n"),
        "a||2026-03-10T08:00:00Z|2026-03-10T08:00:00Z\n");
    ics_text_expect(&berlin,
        "X-WR-TIMEZONE:Asia/Tokyo\r\n" ICS_EVENT("a", "DTSTART;TZID=Nowhere:20260310T090000\r\n"),
        "a||2026-03-10T00:00:00Z|2026-03-10T00:00:00Z\n");
}

static void test_declined(void **state)
{
    (void)state;
    static const char *const me[] = {"second@example.org", "owner@example.org", NULL};
    struct ics_reading how = {.addresses = me};
    ics_text_expect(&how,
        ICS_EVENT("a",
            "DTSTART:20260310T090000Z\r\n"
            "ATTENDEE;CN=\"A, very; long\";PARTSTAT=DECLINED:mailto:other@example.org\r\n"
            "ATTENDEE;PARTSTAT=DECLINED;CN=\r\n  Owner:MAILTO:Owner@Example.org\r\n"),
        "a||2026-03-10T09:00:00Z|2026-03-10T09:00:00Z|declined\n");
    ics_text_expect(&how,
        ICS_EVENT("a",
            "DTSTART:20260310T090000Z\r\nATTENDEE;PARTSTAT=ACCEPTED:mailto:owner@example.org\r\n"
            "ATTENDEE;PARTSTAT=DECLINED:mailto:other@example.org\r\n"),
        "a||2026-03-10T09:00:00Z|2026-03-10T09:00:00Z\n");
}

static void test_unreadable_events_are_kept(void **state)
{
    (void)state;
    static const char good[] = ICS_EVENT("ok", "DTSTART:20260310T090000Z\r\n");
    static const char *const bad[] = {
        ICS_EVENT("bad", ""),
        ICS_EVENT("bad", "DTSTART:yesterday\r\n"),
        ICS_EVENT("bad", "DTSTART:20260231T090000Z\r\n"),
        ICS_EVENT("bad", "DTSTART:20260310T090000Z\r\nRRULE:FREQ=SOMETIMES\r\n"),
        ICS_EVENT("bad", "DTSTART:20260310T090000Z\r\nRRULE:FREQ=SECONDLY\r\n"),
        ICS_EVENT("bad", "DTSTART:20260310T090000Z\r\nRRULE:FREQ=DAILY\r\nEXDATE:tomorrow\r\n"),
        ICS_EVENT("bad", "DTSTART:20260310T090000Z\r\nRECURRENCE-ID:never\r\n"),
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct buf body = BUF_INIT(ICS_TEXT_MAX);
        buf_addf(&body, "%s%s", good, bad[i]);
        ics_text_expect(
            &utc, buf_str(&body), "bad|kept\nok||2026-03-10T09:00:00Z|2026-03-10T09:00:00Z\n");
        buf_release(&body);
    }
}

static void test_other_components(void **state)
{
    (void)state;
    ics_text_expect(&utc,
        "BEGIN:VTODO\r\nUID:t\r\nDTSTART:20260310T090000Z\r\nEND:VTODO\r\n" ICS_EVENT("a",
            "DTSTART:20260310T090000Z\r\nDESCRIPTION:BEGIN:VEVENT\\n\r\n END:VEVENT\r\n"
            "BEGIN:VALARM\r\nUID:alarm\r\nTRIGGER:-PT5M\r\nDURATION:PT1H\r\nEND:VALARM\r\n"),
        "a||2026-03-10T09:00:00Z|2026-03-10T09:00:00Z\n");
    ics_text_expect(&utc, "BEGIN:VEVENT\nUID:lf\nDTSTART:20260310T090000Z\nEND:VEVENT\n",
        "lf||2026-03-10T09:00:00Z|2026-03-10T09:00:00Z\n");
    ics_text_expect(&utc,
        "BEGIN:VEVENT\r\nSUMMARY:No uid\r\nDTSTART:20260310T090000Z\r\nEND:VEVENT\r\n",
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
        {"BEGIN:VCALENDAR\r\n" ICS_EVENT("a", "DTSTART:x\r\n") "END:VCALENDAR\r\n",
            "not one event"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        ics_text_expect_refused(cases[i].text, strlen(cases[i].text), ERR_INVALID, cases[i].why);
    struct buf deep = BUF_INIT(ICS_TEXT_MAX);
    buf_add_str(&deep, "BEGIN:VCALENDAR\n");
    for (int i = 0; i < 1000; i++)
        buf_add_str(&deep, "BEGIN:VJOURNAL\n");
    ics_text_expect_refused(buf_str(&deep), deep.len, ERR_INVALID, "nested too deeply");
    buf_release(&deep);
}

static void test_ceilings(void **state)
{
    (void)state;
    struct ics_read_stats stats;
    struct buf text = BUF_INIT(ICS_TEXT_MAX), out = BUF_INIT(ICS_TEXT_MAX), fault = BUF_INIT(1024);
    /* Rules that never come, or too often. */
    buf_add_str(&text,
        "BEGIN:VCALENDAR\r\n" ICS_EVENT("never", "DTSTART:19000101T000000Z\r\nRRULE:FREQ=HOURLY;"
                                                 "BYMONTH=2;BYMONTHDAY=30\r\n") ICS_EVENT("counted",
            "DTSTART:20210101T000000Z\r\nRRULE:FREQ=HOURLY;BYMINUTE=0,20,40;COUNT="
            "900000\r\n") ICS_EVENT("hourly",
            "DTSTART:20260101T000000Z\r\nRRULE:FREQ=HOURLY;BYMINUTE=0,30\r\n") "END:VCALENDAR\r\n");
    assert_int_equal(ics_text_read(&utc, buf_str(&text), text.len, &out, &fault, &stats), 0);
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
    assert_int_equal(ics_text_read(&utc, buf_str(&text), text.len, &out, &fault, &stats), 0);
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
        cmocka_unit_test(test_declined),
        cmocka_unit_test(test_unreadable_events_are_kept),
        cmocka_unit_test(test_other_components),
        cmocka_unit_test(test_refused_texts),
        cmocka_unit_test(test_ceilings),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
