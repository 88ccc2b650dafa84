#include "tests/support/ics_text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/civil_time.h"
#include "base/cleanup.h"
#include "worker-calendar/event_list.h"

static int64_t instant(const char *text)
{
    int64_t utc;
    assert_int_equal(civil_time_parse_instant(text, &utc), 0);
    return utc;
}

int ics_text_read(const struct ics_reading *how, const char *text, size_t len, struct buf *out,
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

void ics_text_expect(const struct ics_reading *how, const char *body, const char *expected)
{
    struct buf text = BUF_INIT(ICS_TEXT_MAX), out = BUF_INIT(ICS_TEXT_MAX), fault = BUF_INIT(1024);
    struct ics_read_stats stats;
    buf_addf(&text, "BEGIN:VCALENDAR\r\nVERSION:2.0\r\n%sEND:VCALENDAR\r\n", body);
    assert_int_equal(ics_text_read(how, buf_str(&text), text.len, &out, &fault, &stats), 0);
    assert_string_equal(buf_str(&out), expected);
    buf_release(&text);
    buf_release(&out);
    buf_release(&fault);
}

void ics_text_expect_refused(const char *text, size_t len, int code, const char *why)
{
    struct buf out = BUF_INIT(ICS_TEXT_MAX), fault = BUF_INIT(1024);
    struct ics_read_stats stats;
    struct ics_reading how = {0};
    assert_int_equal(ics_text_read(&how, text, len, &out, &fault, &stats), code);
    assert_non_null(strstr(buf_str(&fault), why));
    buf_release(&out);
    buf_release(&fault);
}
