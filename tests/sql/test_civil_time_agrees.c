/*
 * Every zone of the system against PostgreSQL: all changes of the clocks between
 * 1970 and 2100, a second before and after, and random instants, both ways.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/civil_time.h"
#include "tests/support/harness.h"

#define RANDOM_INSTANTS 200
#define ARRAY_MAX       (1u << 20)
#define ZONES_AT_LEAST  300

/* In the session's zone: AT TIME ZONE would take CET or EST for an abbreviation. */
static const char instants_sql[] =
    "SELECT u, o, extract(epoch FROM to_timestamp(u)::timestamp)::bigint - u "
    "FROM unnest($1::bigint[], $2::bigint[]) AS t (u, o) "
    "WHERE extract(epoch FROM to_timestamp(u)::timestamp)::bigint - u <> o "
    "ORDER BY u LIMIT 1";

static const char locals_sql[] =
    "SELECT l, u, extract(epoch FROM (timestamp '1970-01-01' + make_interval(secs => l))"
    "::timestamptz)::bigint "
    "FROM unnest($1::bigint[], $2::bigint[]) AS t (l, u) "
    "WHERE extract(epoch FROM (timestamp '1970-01-01' + make_interval(secs => l))"
    "::timestamptz)::bigint <> u "
    "ORDER BY l LIMIT 1";

/* Two columns as the text of PostgreSQL arrays: what is asked, what is ours. */
struct pairs {
    struct buf asked;
    struct buf ours;
    int64_t n;
};

static void pairs_init(struct pairs *p)
{
    *p = (struct pairs){.asked = BUF_INIT(ARRAY_MAX), .ours = BUF_INIT(ARRAY_MAX)};
}

static void pairs_add(struct pairs *p, int64_t asked, int64_t ours)
{
    const char *before = p->n++ ? "," : "{";

    buf_addf(&p->asked, "%s%lld", before, (long long)asked);
    buf_addf(&p->ours, "%s%lld", before, (long long)ours);
}

/* PostgreSQL must have no other answer to any of them. */
static void pairs_check(struct pairs *p, PGconn *conn, const char *sql, const char *zone)
{
    const char *values[2];
    PGresult *result;

    buf_add_char(&p->asked, '}');
    buf_add_char(&p->ours, '}');
    assert_int_equal(buf_err(&p->asked), 0);
    assert_int_equal(buf_err(&p->ours), 0);
    values[0] = buf_str(&p->asked);
    values[1] = buf_str(&p->ours);
    result = PQexecParams(conn, sql, 2, NULL, values, NULL, NULL, 0);
    if (PQresultStatus(result) != PGRES_TUPLES_OK)
        fail_msg("%s: %s", zone, PQerrorMessage(conn));
    if (PQntuples(result) > 0)
        fail_msg("%s at %s: ours is %s, PostgreSQL's %s", zone, PQgetvalue(result, 0, 0),
            PQgetvalue(result, 0, 1), PQgetvalue(result, 0, 2));
    PQclear(result);
    buf_release(&p->asked);
    buf_release(&p->ours);
}

static uint64_t next_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

static int64_t instant_of(const char *text)
{
    int64_t at = 0;

    assert_int_equal(civil_time_parse_instant(text, &at), 0);
    return at;
}

/* PostgreSQL reads a skipped time with the offset before the gap, and of a repeated one it takes
 * the later instant. */
static void add_local(struct pairs *locals, const struct civil_zone *zone, int64_t local)
{
    struct civil_instants found;
    int64_t expected;

    civil_time_to_utc(zone, local, &found);
    expected = found.second;
    if (found.kind == CIVIL_GAP)
        expected = local - civil_zone_offset(zone, found.first - 1);
    pairs_add(locals, local, expected);
}

static int64_t add_changes(
    struct pairs *instants, struct pairs *locals, const struct civil_zone *zone)
{
    int64_t from = instant_of("1970-01-01"), to = instant_of("2100-01-01"), n = 0;
    struct tzif_span span;

    for (int64_t at = from; at < to; at = span.end) {
        int64_t before, after;

        civil_zone_span_at(zone, at, &span);
        if (span.end >= to)
            break;
        n++;
        before = span.end + civil_zone_offset(zone, span.end - 1);
        after = span.end + civil_zone_offset(zone, span.end);
        for (int64_t d = -1; d <= 1; d++) {
            pairs_add(instants, span.end + d, civil_zone_offset(zone, span.end + d));
            add_local(locals, zone, before + d);
            add_local(locals, zone, after + d);
            add_local(locals, zone, (before + after) / 2 + d);
        }
    }
    return n;
}

static void set_zone(PGconn *conn, const char *name)
{
    PGresult *result = PQexecParams(conn, "SELECT set_config('TimeZone', $1, false)", 1, NULL,
        (const char *const[]){name}, NULL, NULL, 0);

    if (PQresultStatus(result) != PGRES_TUPLES_OK)
        fail_msg("%s: %s", name, PQerrorMessage(conn));
    PQclear(result);
}

static int64_t check_zone(
    PGconn *conn, const struct civil_zone *zone, const char *name, uint64_t *random)
{
    int64_t from = instant_of("1970-01-01"), to = instant_of("2100-01-01"), changes;
    struct pairs instants, locals;

    pairs_init(&instants);
    pairs_init(&locals);
    set_zone(conn, name);
    changes = add_changes(&instants, &locals, zone);
    for (int i = 0; i < RANDOM_INSTANTS; i++) {
        int64_t at = from + (int64_t)(next_random(random) % (uint64_t)(to - from));

        pairs_add(&instants, at, civil_zone_offset(zone, at));
        add_local(&locals, zone, at);
    }
    pairs_check(&instants, conn, instants_sql, name);
    pairs_check(&locals, conn, locals_sql, name);
    return changes;
}

static void test_every_zone_agrees(void **state)
{
    PGconn *conn = harness_connect(*state, NULL);
    PGresult *names = PQexec(conn, "SELECT name FROM pg_catalog.pg_timezone_names "
                                   "WHERE name NOT LIKE 'posix/%' ORDER BY name");
    struct civil_zones *zones = NULL;
    uint64_t random = UINT64_C(0x9e3779b97f4a7c15);
    int64_t changes = 0;

    assert_int_equal(PQresultStatus(names), PGRES_TUPLES_OK);
    assert_true(PQntuples(names) >= ZONES_AT_LEAST);
    assert_int_equal(civil_zones_new(NULL, &zones), 0);
    for (int i = 0; i < PQntuples(names); i++) {
        const struct civil_zone *zone = NULL;

        if (civil_zones_get(zones, PQgetvalue(names, i, 0), &zone) != 0)
            fail_msg("%s does not load", PQgetvalue(names, i, 0));
        changes += check_zone(conn, zone, PQgetvalue(names, i, 0), &random);
    }
    print_message("%d zones, %lld changes of the clocks\n", PQntuples(names), (long long)changes);
    PQclear(names);
    civil_zones_free(zones);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_every_zone_agrees, harness_setup, harness_teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
