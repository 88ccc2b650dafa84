/*
 * One role an executable, and no right beyond what it needs: rules over all that the schema holds,
 * so that what is added later is held to them too.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "tests/support/harness.h"

#define ROLES                                                                                      \
    "unnest('{tocsin_scheduler,tocsin_worker_calendar,tocsin_worker_escalation,"                   \
    "tocsin_worker_cleanup,tocsin_gateway,tocsin_probe}'::name[]) AS role"
/* Tables and views of ours; the clock is the harness's. */
#define TABLES                                                                                     \
    "(SELECT c.oid, c.relname FROM pg_class c JOIN pg_namespace s ON s.oid = c.relnamespace"       \
    " WHERE s.nspname = 'public' AND c.relkind IN ('r', 'p', 'v') AND c.relname <> 'test_clock') " \
    "AS t"
/* What was migrated: the clone of it that a test works in takes no right of a database along. */
#define MIGRATED "(SELECT max(oid) FROM pg_database WHERE datname ~ '^tocsin_template_[^_]+$')"

struct rule {
    const char *name;
    const char *violations; /* rows that must not be */
};

static const struct rule rules[] = {
    {"only those that use a credential read one",
        "SELECT role FROM " ROLES " WHERE role NOT IN ('tocsin_worker_calendar')"
        " AND (has_any_column_privilege(role, 'calendar_credentials', 'SELECT')"
        " OR has_any_column_privilege(role, 'calendar_credentials', 'UPDATE'))"
        " AND has_column_privilege(role, 'calendar_credentials', 'sealed', 'SELECT')"},
    {"the scheduler knows nobody's address",
        "SELECT 'contact_method' WHERE has_column_privilege('tocsin_scheduler', 'contact_method',"
        " 'address', 'SELECT')"},
    {"the scheduler touches neither incidents nor notifications",
        "SELECT relname FROM " TABLES " WHERE relname IN ('incident', 'notification', 'attempt',"
        " 'calendar_event', 'users') AND (has_any_column_privilege('tocsin_scheduler', t.oid, "
        "'SELECT')"
        " OR has_any_column_privilege('tocsin_scheduler', t.oid, 'UPDATE'))"},
    {"worker-cleanup writes its own run and process, nothing else",
        "SELECT relname FROM " TABLES " WHERE relname NOT IN ('daemon', 'job_run', 'job_run_done',"
        " 'job_run_quarantine', 'job_run_dependency')"
        " AND (has_any_column_privilege('tocsin_worker_cleanup', t.oid, 'INSERT')"
        " OR has_any_column_privilege('tocsin_worker_cleanup', t.oid, 'UPDATE')"
        " OR has_table_privilege('tocsin_worker_cleanup', t.oid, 'DELETE'))"},
    {"the probe writes nothing", "SELECT relname FROM " TABLES
                                 " WHERE has_any_column_privilege('tocsin_probe', t.oid, 'INSERT')"
                                 " OR has_any_column_privilege('tocsin_probe', t.oid, 'UPDATE')"
                                 " OR has_table_privilege('tocsin_probe', t.oid, 'DELETE')"},
    {"the probe reads views, and of them what is no person's data",
        "SELECT relname FROM " TABLES " WHERE relname NOT IN ('health', 'schedules', 'jobschedule',"
        " 'jobrun', 'schema_migration')"
        " AND has_any_column_privilege('tocsin_probe', t.oid, 'SELECT')"},
    {"the gateway writes its own process, and all else through functions",
        "SELECT relname FROM " TABLES " WHERE relname <> 'daemon'"
        " AND (has_any_column_privilege('tocsin_gateway', t.oid, 'INSERT')"
        " OR has_any_column_privilege('tocsin_gateway', t.oid, 'UPDATE')"
        " OR has_table_privilege('tocsin_gateway', t.oid, 'DELETE'))"},
    {"the gateway knows nobody's address, and no secret of a provider",
        "SELECT relname FROM " TABLES " WHERE relname IN ('contact_method', 'calendar_credentials',"
        " 'contact_verification', 'users', 'notification', 'heard')"
        " AND has_any_column_privilege('tocsin_gateway', t.oid, 'SELECT')"},
    {"worker-calendar does not send",
        "SELECT 'attempt' WHERE has_any_column_privilege('tocsin_worker_calendar', 'attempt', "
        "'INSERT')"},
    {"nobody truncates or adds triggers", "SELECT role, relname FROM " ROLES ", " TABLES
                                          " WHERE has_table_privilege(role, t.oid, 'TRUNCATE')"
                                          " OR has_table_privilege(role, t.oid, 'TRIGGER')"
                                          " OR has_table_privilege(role, t.oid, 'REFERENCES')"},
    {"nobody creates objects, not even temporary ones, that stand before ours",
        "SELECT role FROM " ROLES " WHERE has_schema_privilege(role, 'public', 'CREATE')"
        " OR has_database_privilege(role, " MIGRATED ", 'TEMPORARY, CREATE')"},
    {"nobody is more than a login",
        "SELECT rolname FROM pg_roles JOIN " ROLES
        " ON role = rolname WHERE rolsuper OR rolcreaterole"
        " OR rolcreatedb OR rolreplication OR rolbypassrls OR NOT rolcanlogin"},
    {"what runs as its owner is for whom it was granted",
        "SELECT p.oid::regprocedure FROM pg_proc p JOIN pg_namespace s ON s.oid = p.pronamespace"
        " WHERE s.nspname = 'public' AND p.prosecdef AND p.prorettype <> 'trigger'::regtype"
        " AND (p.proacl IS NULL OR EXISTS (SELECT FROM aclexplode(p.proacl) a WHERE a.grantee = "
        "0))"},
    {"what runs as its owner looks for names where nobody else puts them",
        "SELECT p.oid::regprocedure FROM pg_proc p JOIN pg_namespace s ON s.oid = p.pronamespace"
        " WHERE s.nspname = 'public' AND p.prosecdef AND NOT coalesce(p.proconfig, '{}')"
        " @> '{\"search_path=public, pg_catalog, pg_temp\"}'"},
    {"what is everybody's is the schema's number alone",
        "SELECT t.relname FROM " TABLES " JOIN pg_class c ON c.oid = t.oid,"
        " LATERAL aclexplode(c.relacl) AS a WHERE a.grantee = 0"
        " AND NOT (t.relname = 'schema_migration' AND a.privilege_type = 'SELECT')"},
};

static void test_rules(void **state)
{
    struct harness *h = *state;

    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++) {
        const char *found = harness_rows(h, rules[i].violations);

        if (found[0])
            fail_msg("%s, but: %s", rules[i].name, found);
    }
}

static void test_credentials_are_refused(void **state)
{
    struct harness *h = *state;
    static const char *const strangers[] = {
        "tocsin_scheduler", "tocsin_worker_cleanup", "tocsin_gateway", "tocsin_probe"};

    for (size_t i = 0; i < sizeof strangers / sizeof *strangers; i++)
        harness_refused(h, strangers[i], "42501", "SELECT sealed FROM calendar_credentials");
}

/* The rules see a right that should not be. */
static void test_rules_can_fail(void **state)
{
    struct harness *h = *state;

    harness_exec(h, "GRANT SELECT ON calendar_credentials TO tocsin_gateway;"
                    "GRANT DELETE ON incident TO tocsin_worker_cleanup");
    assert_string_equal(harness_rows(h, rules[0].violations), "tocsin_gateway");
    assert_string_equal(harness_rows(h, rules[3].violations), "incident");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, harness_setup, harness_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_rules),
        TEST(test_credentials_are_refused),
        TEST(test_rules_can_fail),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
