/*
 * docs/RUNBOOK.md and docs/ladders.md are true: every block of SQL in them runs as it stands.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "tests/support/harness.h"

/* What the examples of the page name: the schedule 'calendar-sync' and the number 42. */
static const char world[] =
    "INSERT INTO users (id, name) OVERRIDING SYSTEM VALUE VALUES (42, 'owner'), (43, 'second');"
    "INSERT INTO contact_method (user_id, channel, modes, address, verified_at) "
    "SELECT u, 'console', '{message,call}', 'console', now() FROM unnest(ARRAY[42, 43]) AS u;"
    "INSERT INTO incident (id, kind, user_id, starts_at, title, ladder_id) OVERRIDING SYSTEM VALUE "
    "VALUES (42, 'meeting', 42, now() + interval '1 hour', 'Stand-up', "
    "(SELECT id FROM ladder WHERE key = 'default'));"
    "SELECT incident_plan('{42}');"
    "INSERT INTO job (key, handler, queue) VALUES ('calendar_sync', 'calendar_sync', "
    "'worker-calendar');"
    "INSERT INTO job_run_quarantine (id, org_id, queue, priority, run_at, handler, payload, "
    "trigger, "
    "attempt, max_attempts, backoff_ms, timeout_ms, rescues, waits_for, has_dependents, exclusive, "
    "created_at, reason, quarantined_at) VALUES (42, 1, 'worker-calendar', 5, now(), "
    "'calendar_sync', "
    "'{}', 'api', 3, 3, '{1000}', 1000, 0, 0, false, false, now(), 'last attempt failed', now());";

static int run_blocks(struct harness *h, FILE *page)
{
    _cleanup_(freep) char *line = NULL;
    size_t cap = 0;
    struct buf block = BUF_INIT(65536);
    bool inside = false;
    int blocks = 0;

    while (getline(&line, &cap, page) >= 0) {
        const char *text = line + strspn(line, " ");
        if (!inside && strcmp(text, "```sql\n") == 0) {
            inside = true;
            buf_reset(&block);
        } else if (inside && strcmp(text, "```\n") == 0) {
            inside = false;
            blocks++;
            harness_execf(h, "%s", buf_str(&block));
        } else if (inside) {
            buf_add_str(&block, text);
        }
    }
    assert_false(inside);
    buf_release(&block);
    return blocks;
}

/* Runs what stands in a page; how many blocks that were. */
static int run_page(struct harness *h, const char *name)
{
    struct buf path = BUF_INIT(4096);

    buf_addf(&path, "%s/docs/%s", harness_root(h), name);
    _cleanup_(fclosep) FILE *page = fopen(buf_str(&path), "r");
    buf_release(&path);
    assert_non_null(page);
    return run_blocks(h, page);
}

static void test_every_block_of_the_runbook_runs(void **state)
{
    struct harness *h = *state;

    harness_exec(h, world);
    harness_exec(h, "INSERT INTO job_schedule (key, definition, target_kind, target) "
                    "VALUES ('calendar-sync', '{}', 'job', 'calendar_sync')");
    assert_true(run_page(h, "RUNBOOK.md") >= 12);
    assert_string_equal(
        harness_rows(h, "SELECT status, acknowledged_by FROM incident"), "acknowledged|owner");
    assert_int_equal(harness_int(h, "SELECT count(*) FROM job_run_quarantine"), 0);
}

static void test_every_block_about_ladders_runs(void **state)
{
    struct harness *h = *state;

    assert_true(run_page(h, "ladders.md") >= 14);
    assert_string_equal(harness_rows(h, "SELECT title, status, resumed_position, revision"
                                        " FROM incident ORDER BY id"),
        "The shop is down|open||1\nStock taking|open|1|2");
    /* What the page says of the rotation and its override. */
    assert_string_equal(
        harness_rows(h, "SELECT rotation_on_call(70, '2026-01-05 08:59 Europe/Berlin'),"
                        " rotation_on_call(70, '2026-01-05 09:00 Europe/Berlin'),"
                        " rotation_on_call(70, '2026-03-30 08:59 Europe/Berlin'),"
                        " rotation_on_call(70, '2026-03-30 09:00 Europe/Berlin'),"
                        " rotation_on_call(70, now())"),
        "|71|73|71|73");
    assert_string_equal(harness_rows(h, "SELECT DISTINCT position, person FROM ladder_plan(2)"
                                        " WHERE state = 'scheduled' ORDER BY 1, 2"),
        "1|ada\n2|ada\n3|ada\n4|cem\n5|ben\n5|cem");
    assert_string_equal(
        harness_rows(h, "SELECT at_most FROM throttle_rule WHERE channel ="
                        " 'twilio_sms' AND class = 'alert' ORDER BY within LIMIT 1"),
        "10");
    assert_int_equal(harness_int(h, "SELECT count(*) FROM feature_flag WHERE NOT enabled"), 0);
    assert_int_equal(
        harness_int(h, "SELECT count(*) FROM feature_flag WHERE name = 'escalation'"), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(
            test_every_block_of_the_runbook_runs, harness_setup, harness_teardown),
        cmocka_unit_test_setup_teardown(
            test_every_block_about_ladders_runs, harness_setup, harness_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
