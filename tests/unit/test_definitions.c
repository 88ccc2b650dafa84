/*
 * The definitions file: what is refused and where, what it becomes, and that the
 * JSON Schema beside it says the same as the code.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "scheduler/definitions.h"
#include "scheduler/definitions_holidays.h"
#include "scheduler/definitions_job.h"
#include "scheduler/definitions_schedule.h"
#include "scheduler/schedule_rule.h"

#define NOW INT64_C(1795377600) /* 2026-11-22T20:00:00Z */

static const char *no_env(const char *name)
{
    return strcmp(name, "SET") == 0 ? "7 * * * *" : NULL;
}

static int parse(const char *text, struct buf *faults, struct definitions **ret)
{
    _cleanup_(civil_zones_freep) struct civil_zones *zones = NULL;
    struct definitions_source source = {"f.json", NULL, no_env, NOW, false};

    assert_int_equal(civil_zones_new(NULL, &zones), 0);
    source.zones = zones;
    return definitions_parse(&source, text, strlen(text), faults, ret);
}

#define JOBS "{\"jobs\":{\"a\":{\"handler\":\"h\",\"queue\":\"worker-cleanup\",\"group\":\"g\"}},\n"

struct refused {
    const char *text;
    const char *faults; /* all of them, NULL-free */
};

static const struct refused refused[] = {
    {"{", "f.json: line 1, column 1: the document ends too early\n"},
    {"[]", "f.json:1:1: the file must be an object with jobs and schedules\n"},
    {"{\"jobs\":[],\n \"job\":{}}", "f.json:2:2: job: no such key; known are $schema, description, "
                                    "holidays, jobs or schedules\n"
                                    "f.json:1:2: jobs: must be an object: {\"key\": {…}}\n"},
    {"{\"jobs\":{\"a\":{\"handler\":\"h\"},\"A\":{\"handler\":\"\",\"queue\":\"q\"}}}",
        "f.json:1:10: jobs.a: \"queue\" is missing\n"
        "f.json:1:30: jobs.A: a key is of lower-case letters, digits, - and _, starts with a "
        "letter "
        "and has at most 63 characters\n"
        "f.json:1:35: jobs.A.handler: is empty; leave the key out, or say what it is\n"
        "f.json:1:48: jobs.A.queue: \"q\" is not known; write worker-calendar, worker-escalation "
        "or "
        "worker-cleanup\n"},
    {JOBS "\"schedules\":{\n  \"s\": {\"cron\": \"61 * * * *\", \"job\": \"b\"},\n"
          "  \"t\": {\"job\": \"a\"}}}",
        "f.json:3:31: schedules.s.job: there is no job \"b\"\n"
        "f.json:3:9: schedules.s.cron: minute: 61 is above 59, at column 1\n"
        "f.json:4:3: schedules.t: say when: exactly one of \"cron\" and \"every\"\n"},
    {JOBS "\"schedules\":{\"s\":{\"every\":\"5m\",\"catch_up\":\"run_all\",\"all\":true},"
          "\"u\":{\"every\":\"5m\",\"group\":\"x\",\"max_batch\":2,\"grace\":\"x\"}}}",
        "f.json:2:14: schedules.s: catch_up run_all needs bounds: add \"catch_up_window\" (such as "
        "\"24h\") and \"catch_up_cap\" (such as 100)\n"
        "f.json:2:83: schedules.u.group: no job is in the group \"x\"\n"
        "f.json:2:95: schedules.u.max_batch: needs \"stagger\": the time between two batches\n"
        "f.json:2:109: schedules.u.grace: \"x\" is not a duration; write 500ms, 90s, 5m, 24h or "
        "7d\n"},
    {JOBS "\"schedules\":{\"s\":{\"cron\":\"0 3 * * *\",\"window\":\"Mon-Fri "
          "09:00-17:00\",\"job\":\"a\"}}}",
        "f.json:2:14: schedules.s: window: no slot of the next 50 years is left by it\n"},
    {JOBS "\"schedules\":{\"é\":{},\"s\":{\"cron\":\"${UNSET}\",\"job\":\"a\"}}}",
        "f.json:2:26: schedules.s.cron: the environment variable UNSET is not set; set it, or "
        "write "
        "${UNSET:-default}\n"
        "f.json:2:14: schedules.é: a key is of lower-case letters, digits, - and _, starts with a "
        "letter and has at most 63 characters\n"
        "f.json:2:14: schedules.é: say what: exactly one of \"job\", \"group\" and \"all\": true\n"
        "f.json:2:14: schedules.é: say when: exactly one of \"cron\" and \"every\"\n"
        "f.json:2:26: schedules.s.cron: is empty; leave the key out, or say what it is\n"
        "f.json:2:21: schedules.s: say when: exactly one of \"cron\" and \"every\"\n"},
    {JOBS "\"schedules\":{\"s\":{\"cron\":\"@daily\",\"job\":\"a\",\"blackout\":[\"2026-12-24\","
          "\"2026-02-30\",\"holidays:x\"]}}}",
        "f.json:2:83: schedules.s.blackout[2]: there is no list \"x\" with dates under "
        "\"holidays\"\n"
        "f.json:2:70: schedules.s.blackout[1]: write a date (2026-12-24), a range "
        "(2026-12-24..2027-01-02) or a list (holidays:NAME)\n"},
};

static void test_every_fault_is_told_with_its_place(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(refused) / sizeof(*refused); i++) {
        _cleanup_(buf_release) struct buf faults = BUF_INIT(65536);
        struct definitions *d = NULL;

        assert_int_equal(parse(refused[i].text, &faults, &d), ERR_INVALID);
        assert_null(d);
        assert_string_equal(buf_str(&faults), refused[i].faults);
    }
}

static void test_cycles_are_named(void **state)
{
    static const char text[] =
        "{\"jobs\":{"
        "\"a\":{\"handler\":\"h\",\"queue\":\"worker-cleanup\",\"depends_on\":[\"b\"]},\n"
        "\"b\":{\"handler\":\"h\",\"queue\":\"worker-cleanup\",\"depends_on\":[\"c\"]},\n"
        "\"c\":{\"handler\":\"h\",\"queue\":\"worker-cleanup\",\"depends_on\":[\"b\",\"none\"]}}}";
    _cleanup_(buf_release) struct buf faults = BUF_INIT(65536);
    struct definitions *d = NULL;

    (void)state;
    assert_int_equal(parse(text, &faults, &d), ERR_INVALID);
    assert_string_equal(buf_str(&faults),
        "f.json:2:45: jobs.b.depends_on: depends on itself: b → c → b; take one of them out\n"
        "f.json:3:63: jobs.c.depends_on[1]: there is no job \"none\"\n");
}

static const json_t *member(const json_t *rows, size_t i, const char *key)
{
    return json_object_get(json_array_get(rows, i), key);
}

static void test_http_jobs(void **state)
{
    static const char good[] =
        "{\"jobs\":{\"a\":{\"handler\":\"http\",\"queue\":\"worker-escalation\",\"payload\":{"
        "\"url\":\"https://example.org/x\",\"method\":\"PUT\",\"headers\":{\"X\":\"y\"},"
        "\"body\":\"b\",\"expect\":[200]}}}}";
    static const char bad[] =
        "{\"jobs\":{\"a\":{\"handler\":\"http\",\"queue\":\"worker-calendar\",\"payload\":{\n"
        "\"url\":\"ftp://"
        "x\",\n\"method\":\"get\",\n\"headers\":{\"X\":\"a\\nb\"},\n\"expect\":[20],\n"
        "\"uri\":1}},\"b\":{\"handler\":\"http\",\"queue\":\"worker-escalation\"}}}";
    _cleanup_(buf_release) struct buf faults = BUF_INIT(65536);
    _cleanup_(definitions_freep) struct definitions *d = NULL;

    (void)state;
    assert_int_equal(parse(good, &faults, &d), 0);
    assert_string_equal(buf_str(&faults), "");
    definitions_free(d);
    d = NULL;
    assert_int_equal(parse(bad, &faults, &d), ERR_INVALID);
    assert_string_equal(buf_str(&faults),
        "f.json:1:32: jobs.a.queue: the handler http is of the queue worker-escalation\n"
        "f.json:6:1: jobs.a.payload.uri: no such key; known are url, method, headers, body or "
        "expect\n"
        "f.json:2:1: jobs.a.payload.url: must begin with http:// or https://\n"
        "f.json:3:1: jobs.a.payload.method: \"get\" is not known; write GET, POST, PUT, PATCH, "
        "DELETE or HEAD\n"
        "f.json:4:12: jobs.a.payload.headers.X: must be a string of one line\n"
        "f.json:5:11: jobs.a.payload.expect[0]: must be a status from 100 to 599\n"
        "f.json:6:11: jobs.b: \"payload\" is missing: {\"url\": \"https://…\"}\n");
}

static void test_rows(void **state)
{
    static const char text[] =
        "{\"jobs\":{\"a\":{\"handler\":\"h\",\"queue\":\"worker-cleanup\",\"backoff\":"
        "{\"first\":\"1s\",\"max\":\"5s\"},\"timeout\":\"2m\"}},"
        "\"schedules\":{\"s\":{\"cron\":\"${SET:-* * * * *}\",\"job\":\"a\",\"description\":\"5 "
        "$$\"},"
        "\"t\":{\"every\":\"${UNSET:-90s}\",\"all\":true,\"stagger\":\"2s\",\"max_batch\":3,"
        "\"grace\":\"5m\"}}}";
    _cleanup_(buf_release) struct buf faults = BUF_INIT(65536);
    _cleanup_(definitions_freep) struct definitions *d = NULL;
    _cleanup_(freep) char *backoff = NULL;

    (void)state;
    assert_int_equal(parse(text, &faults, &d), 0);
    assert_string_equal(buf_str(&faults), "");
    backoff = json_dumps(member(d->jobs, 0, "backoff_ms"), JSON_COMPACT);
    assert_string_equal(backoff, "[1000,2000,4000,5000]");
    assert_int_equal(json_integer_value(member(d->jobs, 0, "timeout_ms")), 120000);
    assert_true(json_is_null(member(d->jobs, 0, "group_name")));
    const json_t *s = member(d->schedules, 0, "definition");
    assert_string_equal(json_string_value(json_object_get(s, "cron")), "7 * * * *");
    assert_string_equal(json_string_value(json_object_get(s, "description")), "5 $");
    const json_t *t = definitions_schedule(d, "t");
    assert_non_null(t);
    assert_string_equal(
        json_string_value(json_object_get(json_object_get(t, "definition"), "every")), "90s");
    assert_string_equal(json_string_value(json_object_get(t, "target_kind")), "all");
    assert_int_equal(json_integer_value(json_object_get(t, "stagger_ms")), 2000);
    assert_int_equal(json_integer_value(json_object_get(t, "max_batch")), 3);
    assert_int_equal(json_integer_value(json_object_get(t, "grace_ms")), 300000);
    assert_null(definitions_schedule(d, "none"));
}

static void test_holidays(void **state)
{
    static const struct {
        const char *text, *dates;
    } good[] = {
        {"# ours\n2026-12-25\n\n 2026-12-30..2027-01-02 # turn of the year\r\n",
            "[\"2026-12-25\",\"2026-12-30..2027-01-02\"]"},
        {"BEGIN:VCALENDAR\r\nBEGIN:VEVENT\r\nDTSTART;VALUE=DATE:20261225\r\nDTEND;VALUE=DATE:"
         "20261227"
         "\r\nEND:VEVENT\r\nBEGIN:VEVENT\r\nDTSTART;VALUE=DATE:20200101\r\n"
         "RRULE:FREQ=YEARLY;UNTIL=20280101\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n",
            "[\"2026-12-25..2026-12-26\",\"2025-01-01\",\"2026-01-01\",\"2027-01-01\",\"2028-01-"
            "01\"]"},
    };
    _cleanup_(buf_release) struct buf fault = BUF_INIT(4096);
    json_t *dates = NULL;

    (void)state;
    for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++) {
        assert_int_equal(definitions_holidays_parse(good[i].text, NOW, &fault, &dates), 0);
        _cleanup_(freep) char *text = json_dumps(dates, JSON_COMPACT);
        assert_string_equal(text, good[i].dates);
        json_decref(dates);
    }
    assert_int_equal(
        definitions_holidays_parse("2026-12-25\n25.12.2026\n", NOW, &fault, &dates), ERR_INVALID);
    assert_string_equal(
        buf_str(&fault), "line 2: write a date (2026-12-24) or a range (2026-12-24..2027-01-02)");
}

/* --- the files that are shipped --------------------------------------------------------------- */

static void test_shipped_file_is_sound(void **state)
{
    static const char *const keys[] = {
        "calendar-sync", "daily-full-sync", "occasions-plan", "delivery-audit", "cleanup"};
    _cleanup_(civil_zones_freep) struct civil_zones *zones = NULL;
    _cleanup_(definitions_freep) struct definitions *d = NULL;
    _cleanup_(buf_release) struct buf faults = BUF_INIT(65536);
    struct definitions_source source = {"deploy/schedules.json", NULL, no_env, NOW, false};

    (void)state;
    assert_int_equal(civil_zones_new(NULL, &zones), 0);
    source.zones = zones;
    assert_int_equal(definitions_load(&source, &faults, &d), 0);
    assert_string_equal(buf_str(&faults), "");
    assert_int_equal(json_array_size(d->schedules), sizeof(keys) / sizeof(*keys));
    for (size_t i = 0; i < sizeof(keys) / sizeof(*keys); i++)
        assert_non_null(definitions_schedule(d, keys[i]));
}

/* The keys of an object of the schema are those that the code knows: no more, no fewer. */
static void assert_same_keys(
    const json_t *properties, const char *const *keys, const char *const *more)
{
    size_t n = 0;

    assert_true(json_is_object(properties));
    for (const char *const *k = keys; *k; k++, n++)
        assert_non_null(json_object_get(properties, *k));
    for (const char *const *k = more; k && *k; k++, n++)
        assert_non_null(json_object_get(properties, *k));
    assert_int_equal(json_object_size(properties), n);
}

static void test_schema_agrees(void **state)
{
    _cleanup_(json_decrefp) json_t *schema =
        json_load_file("deploy/schedules.schema.json", 0, NULL);

    (void)state;
    assert_non_null(schema);
    const json_t *defs = json_object_get(schema, "$defs");
    const json_t *job = json_object_get(json_object_get(defs, "job"), "properties");
    const json_t *schedule = json_object_get(json_object_get(defs, "schedule"), "properties");
    assert_same_keys(json_object_get(schema, "properties"), definitions_top_keys, NULL);
    assert_same_keys(job, definitions_job_keys, NULL);
    assert_same_keys(schedule, definitions_schedule_keys, schedule_rule_keys);
}

/* Each word of an enum of the schema is taken by the code, and a word beside them is not. */
static void assert_words(const json_t *property, const char *format)
{
    const json_t *words = json_object_get(property, "enum");
    size_t n = json_array_size(words);

    assert_true(n > 0);
    for (size_t i = 0; i <= n; i++) {
        _cleanup_(buf_release) struct buf text = BUF_INIT(65536), faults = BUF_INIT(65536);
        _cleanup_(definitions_freep) struct definitions *d = NULL;
        const char *word = i < n ? json_string_value(json_array_get(words, i)) : "other";
        const char *at = strchr(format, '?');

        buf_add(&text, format, (size_t)(at - format));
        buf_add_str(&text, word);
        buf_add_str(&text, at + 1);
        assert_int_equal(parse(buf_str(&text), &faults, &d), i < n ? 0 : ERR_INVALID);
    }
}

static void test_schema_words_agree(void **state)
{
    _cleanup_(json_decrefp) json_t *schema =
        json_load_file("deploy/schedules.schema.json", 0, NULL);

    (void)state;
    const json_t *defs = json_object_get(schema, "$defs");
    const json_t *job = json_object_get(json_object_get(defs, "job"), "properties");
    const json_t *schedule = json_object_get(json_object_get(defs, "schedule"), "properties");
#define A_JOB(more) "{\"jobs\":{\"a\":{\"handler\":\"h\"," more "}}}"
#define A_SCHEDULE(more)                                                                           \
    JOBS "\"schedules\":{\"s\":{\"cron\":\"0 0 * * *\",\"job\":\"a\"," more "}}}"
    assert_words(json_object_get(job, "queue"), A_JOB("\"queue\":\"?\""));
    assert_words(json_object_get(job, "on_dependency_failure"),
        A_JOB("\"queue\":\"worker-cleanup\",\"on_dependency_failure\":\"?\""));
    assert_words(
        json_object_get(job, "overlap"), A_JOB("\"queue\":\"worker-cleanup\",\"overlap\":\"?\""));
    assert_words(json_object_get(schedule, "dst_gap"), A_SCHEDULE("\"dst_gap\":\"?\""));
    assert_words(json_object_get(schedule, "dst_overlap"), A_SCHEDULE("\"dst_overlap\":\"?\""));
    assert_words(json_object_get(schedule, "overlap"), A_SCHEDULE("\"overlap\":\"?\""));
    assert_words(json_object_get(schedule, "flag"), A_SCHEDULE("\"flag\":\"?\""));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_fault_is_told_with_its_place),
        cmocka_unit_test(test_cycles_are_named),
        cmocka_unit_test(test_http_jobs),
        cmocka_unit_test(test_rows),
        cmocka_unit_test(test_holidays),
        cmocka_unit_test(test_shipped_file_is_sound),
        cmocka_unit_test(test_schema_agrees),
        cmocka_unit_test(test_schema_words_agree),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
