/*
 * docs/RUNBOOK.md is true: every block of SQL in it runs as it stands.
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

static void test_every_block_runs(void **state)
{
    struct harness *h = *state;
    struct buf path = BUF_INIT(4096);

    harness_exec(h, world);
    harness_exec(h, "INSERT INTO job_schedule (key, definition, target_kind, target) "
                    "VALUES ('calendar-sync', '{}', 'job', 'calendar_sync')");
    buf_addf(&path, "%s/docs/RUNBOOK.md", harness_root(h));
    _cleanup_(fclosep) FILE *page = fopen(buf_str(&path), "r");
    buf_release(&path);
    assert_non_null(page);
    assert_true(run_blocks(h, page) >= 12);
    assert_string_equal(
        harness_rows(h, "SELECT status, acknowledged_by FROM incident"), "acknowledged|owner");
    assert_int_equal(harness_int(h, "SELECT count(*) FROM job_run_quarantine"), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_every_block_runs, harness_setup, harness_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
