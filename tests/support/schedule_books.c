#include "schedule_books.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "scheduler/schedule_plan.h"
#include "tests/support/tick_oracle.h"

#define SLOTS_MAX 400000

/* The keys would hide a second firing: here they may not help. `moved` has every step of every
 * schedule, `ran` every run that was ever made. */
#define WITHOUT_NET                                                                                \
    "DROP INDEX job_run_slot;"                                                                     \
    "CREATE INDEX job_run_slot ON job_run (schedule_key, slot) WHERE slot IS NOT NULL;"            \
    "CREATE TABLE moved (id bigserial, schedule_id bigint, claimed_at timestamptz,"                \
    " was timestamptz, next_run_at timestamptz, since timestamptz, until timestamptz);"            \
    "GRANT INSERT ON moved TO tocsin_scheduler; GRANT USAGE ON moved_id_seq TO tocsin_scheduler;"  \
    "CREATE FUNCTION log_move() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"                      \
    " INSERT INTO moved (schedule_id, claimed_at, was, next_run_at, since, until) VALUES"          \
    " (NEW.id, OLD.locked_at, OLD.next_run_at, NEW.next_run_at, OLD.accounted_until,"              \
    " NEW.accounted_until); RETURN NULL; END $$;"                                                  \
    "CREATE TRIGGER log_move AFTER UPDATE OF next_run_at ON job_schedule FOR EACH ROW"             \
    " WHEN (NEW.next_run_at IS NOT NULL) EXECUTE FUNCTION log_move();"                             \
    "CREATE TABLE begun (schedule_id bigint, accounted_until timestamptz);"                        \
    "CREATE TABLE finished (id bigint, schedule_key text, slot timestamptz, job_key text);"        \
    "CREATE VIEW ran AS SELECT id, schedule_key, slot, job_key FROM job_run"                       \
    " UNION ALL SELECT id, schedule_key, slot, job_key FROM finished;"

/* The schedule of a row `l` of the ledger may be held back. */
#define FLAGGED                                                                                    \
    "EXISTS (SELECT FROM job_schedule s WHERE s.id = l.schedule_id AND s.flag IS NOT NULL)"
#define OVERLAPS                                                                                   \
    "EXISTS (SELECT FROM job_schedule s WHERE s.id = l.schedule_id"                                \
    " AND (s.overlap = 'forbid' OR s.target = 'solo'))"
/* Of the session: the key of the schedule whose books are read. */
#define LOOKED_AT "current_setting('test.key')"

void schedule_books_open(struct harness *h)
{
    harness_exec(h, WITHOUT_NET);
}

void schedule_books_begin(struct harness *h)
{
    harness_exec(h, "UPDATE job_schedule SET enabled = true;"
                    "INSERT INTO begun SELECT id, accounted_until FROM job_schedule");
}

void schedule_books_finish_runs(struct harness *h)
{
    harness_exec(h, "WITH gone AS (DELETE FROM job_run RETURNING id, schedule_key, slot, job_key)"
                    " INSERT INTO finished SELECT id, schedule_key, slot, job_key FROM gone");
}

/* --- one schedule ----------------------------------------------------------------------------- */

enum outcome { NONE, FIRED, LATE, HELD };

struct books {
    struct harness *h;
    const struct booked_schedule *s;
    int64_t *slots;
    int64_t *run_ms;   /* when the runs of each leave */
    uint8_t *outcomes; /* enum outcome */
    size_t n;
    size_t at; /* the slot that is looked at */
};

static void require(const struct books *b, bool holds, const char *what)
{
    if (!holds)
        fail_msg("%s: %s\n  {%s}%s%s\n  at slot %lld, number %zu of %zu", b->s->key, what,
            b->s->members, b->s->forbids ? ", forbids overlap" : "",
            b->s->may_be_held ? ", may be held back" : "",
            (long long)(b->at < b->n ? b->slots[b->at] : -1), b->at, b->n);
}

/* Each row of a query as numbers, parted by '|'. */
static const char *next_row(const char *rows, int64_t *numbers, int n)
{
    char *end;

    if (!*rows)
        return NULL;
    for (int i = 0; i < n; i++) {
        numbers[i] = strtoll(rows, &end, 10);
        assert_true(end != rows && (*end == '|' || *end == '\n' || !*end));
        rows = *end ? end + 1 : end;
    }
    return rows;
}

/* The oracle's slots between the begin and the end of the accounts, and when their runs leave. */
static void list_slots(struct books *b, struct civil_zones *zones)
{
    _cleanup_(buf_release) struct buf braced = BUF_INIT(8192);
    _cleanup_(schedule_rule_freep) struct schedule_rule *rule = NULL;
    int64_t span[2];

    (void)next_row(harness_rows(b->h,
                       "SELECT floor(extract(epoch FROM b.accounted_until))::bigint,"
                       " floor(extract(epoch FROM s.accounted_until))::bigint FROM job_schedule s"
                       " JOIN begun b ON b.schedule_id = s.id WHERE s.key = " LOOKED_AT),
        span, 2);
    b->n = slot_oracle_list(b->s->oracle, span[0], span[1], b->slots, SLOTS_MAX);
    require(b, b->n < SLOTS_MAX, "more slots than there is room for");
    require(b, b->n == 0 || b->slots[b->n - 1] == span[1], "the accounts do not end with a slot");
    buf_addf(&braced, "{%s}", b->s->members);
    assert_int_equal(schedule_rule_from_text(b->s->key, buf_str(&braced), zones, NULL, &rule), 0);
    for (b->at = 0; b->at < b->n; b->at++) {
        struct slot slot = {.at = b->slots[b->at]};

        if (slot_oracle_policy(b->s->oracle)->jitter_ms > 0)
            require(b, slot_next(rule->slots, slot.at - 1, &slot) == 0, "not a slot");
        b->run_ms[b->at] = schedule_plan_run_ms(&slot);
    }
}

static size_t index_of(struct books *b, int64_t slot)
{
    const int64_t *slots = b->slots;
    size_t low = 0, high = b->n;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (slots[middle] < slot)
            low = middle + 1;
        else
            high = middle;
    }
    require(b, low < b->n && slots[low] == slot, "a slot in the ledger that is none");
    return low;
}

/* What fired by the ledger, which has a row for each. */
static void read_fired(struct books *b)
{
    int64_t row[3];
    const char *rows =
        harness_rows(b->h, "SELECT extract(epoch FROM l.slot)::bigint, l.runs,"
                           " floor(extract(epoch FROM l.recorded_at) * 1000)::bigint"
                           " FROM schedule_slot l WHERE l.schedule_id = schedule_id(" LOOKED_AT ")"
                           " AND l.outcome = 'fired' AND l.slots = 1 AND l.slot = l.last_slot");

    memset(b->outcomes, NONE, b->n);
    while ((rows = next_row(rows, row, 3))) {
        b->at = index_of(b, row[0]);
        require(b, b->outcomes[b->at] == NONE, "fired twice by the ledger");
        require(
            b, row[1] >= b->s->runs_least && row[1] <= b->s->runs_most, "fired with other runs");
        require(b, b->run_ms[b->at] <= row[2], "fired before its time");
        b->outcomes[b->at] = FIRED;
    }
}

/* Each step that the schedule took: from where the one before had ended, over the slots that were
 * due when it was claimed, with an outcome for each that its definition allows. */
static void follow_moves(struct books *b)
{
    const struct slot_policy *p = slot_oracle_policy(b->s->oracle);
    int64_t row[3];
    const char *rows = harness_rows(b->h,
        "SELECT floor(extract(epoch FROM m.since))::bigint, floor(extract(epoch FROM "
        "m.until))::bigint,"
        " greatest(floor(extract(epoch FROM m.claimed_at) * 1000), ceil(extract(epoch FROM m.was) *"
        " 1000))::bigint FROM moved m WHERE m.schedule_id = schedule_id(" LOOKED_AT
        ") ORDER BY m.id");

    require(b, tick_oracle_orderly(p, b->slots, b->n), "its runs leave in another order");
    for (b->at = 0; (rows = next_row(rows, row, 3));) {
        struct tick_verdict v = tick_oracle_verdict(p, b->run_ms + b->at, b->n - b->at, row[2]);
        size_t due = b->at + v.skipped, end = due + v.fired, fired = 0;

        require(b, b->at == 0 || row[0] == b->slots[b->at - 1], "a step from somewhere else");
        for (; b->at < due; b->at++) {
            require(b, b->outcomes[b->at] == NONE, "fired, and too late for it");
            b->outcomes[b->at] = LATE;
        }
        for (; b->at < end; b->at++) {
            require(b, b->outcomes[b->at] == FIRED || b->s->may_be_held, "due, and not fired");
            fired += b->outcomes[b->at] == FIRED;
            if (b->outcomes[b->at] == NONE)
                b->outcomes[b->at] = HELD;
        }
        require(b, !b->s->forbids || fired <= 1, "fired twice at once, and forbids it");
        require(b, b->at == 0 || row[1] == b->slots[b->at - 1], "a step to somewhere else");
    }
    require(b, b->at == b->n, "a step is missing");
}

/* The gaps of the ledger have as many slots for each reason as the steps left out. */
static void compare_gaps(struct books *b)
{
    int64_t row[5], total[HELD + 1] = {0}, skipped_runs;
    const char *rows = harness_rows(b->h,
        "SELECT extract(epoch FROM l.slot)::bigint, extract(epoch FROM l.last_slot)::bigint, "
        "l.slots,"
        " (l.reason = 'late')::int, floor(extract(epoch FROM l.recorded_at) * 1000)::bigint"
        " FROM schedule_slot l WHERE l.schedule_id = schedule_id(" LOOKED_AT
        ") AND l.outcome = 'skipped'"
        " AND (l.reason = 'late' OR l.reason = 'flag' AND " FLAGGED
        " OR l.reason = 'overlap' AND " OVERLAPS ")");

    while ((rows = next_row(rows, row, 5))) {
        enum outcome outcome = row[3] ? LATE : HELD;
        size_t first = index_of(b, row[0]), last = index_of(b, row[1]);

        b->at = last;
        require(b, b->outcomes[first] == outcome && b->outcomes[last] == outcome,
            "a gap for another reason");
        require(b, row[2] == (int64_t)(last - first + 1), "a gap of another length");
        require(b,
            b->run_ms[last] + (row[3] ? slot_oracle_policy(b->s->oracle)->grace_ms : -1) < row[4],
            "passed over before it was late");
        total[outcome] += row[2];
    }
    for (size_t i = 0; i < b->n; i++)
        total[b->outcomes[i]] -= b->outcomes[i] != FIRED;
    b->at = 0;
    require(b, total[LATE] == 0, "the gaps have another number of late slots");
    require(b, total[HELD] == 0, "the gaps have another number of slots that were held back");
    skipped_runs =
        harness_int(b->h, "SELECT skipped_runs FROM job_schedule WHERE key = " LOOKED_AT);
    for (size_t i = 0; i < b->n; i++)
        skipped_runs -= b->outcomes[i] != FIRED;
    require(b, skipped_runs == 0, "skipped_runs is another number");
}

void schedule_books_compare(
    struct harness *h, struct civil_zones *zones, const struct booked_schedule *s)
{
    struct books b = {.h = h, .s = s};

    b.slots = calloc(SLOTS_MAX, sizeof(*b.slots));
    b.run_ms = calloc(SLOTS_MAX, sizeof(*b.run_ms));
    b.outcomes = calloc(SLOTS_MAX, sizeof(*b.outcomes));
    assert_true(b.slots && b.run_ms && b.outcomes);
    harness_execf(h, "SET test.key = '%s'", s->key);
    list_slots(&b, zones);
    read_fired(&b);
    follow_moves(&b);
    compare_gaps(&b);
    free(b.slots);
    free(b.run_ms);
    free(b.outcomes);
}

/* --- all of them ------------------------------------------------------------------------------ */

static void assert_none(struct harness *h, const char *what, const char *sql)
{
    const char *rows = harness_rows(h, sql);

    if (*rows)
        fail_msg("%s:\n%s", what, rows);
}

void schedule_books_compare_runs(struct harness *h)
{
    harness_exec(h,
        "CREATE TABLE books AS SELECT id, schedule_key, slot, job_key FROM ran;"
        "CREATE INDEX ON books (schedule_key, slot); ANALYZE books, job_run_dependency");
    assert_none(h, "a job has two runs of one slot",
        "SELECT schedule_key, slot, job_key FROM books GROUP BY 1, 2, 3 HAVING count(*) > 1 LIMIT "
        "9");
    assert_none(h, "a row of the ledger lies within the span of another",
        "SELECT schedule_id, before, slot FROM (SELECT schedule_id, slot, lag(last_slot) OVER"
        " (PARTITION BY schedule_id ORDER BY slot) AS before FROM schedule_slot) AS l"
        " WHERE before >= slot LIMIT 9");
    assert_none(h, "the ledger and the runs differ",
        "SELECT key, slot, f.runs, r.runs FROM (SELECT s.key, l.slot, l.runs FROM schedule_slot l"
        " JOIN job_schedule s ON s.id = l.schedule_id WHERE l.outcome = 'fired') AS f"
        " FULL JOIN (SELECT schedule_key AS key, slot, count(*) AS runs FROM books GROUP BY 1, 2)"
        " AS r USING (key, slot) WHERE f.runs IS DISTINCT FROM r.runs LIMIT 9");
    assert_none(h, "a run waits for others than those that its job depends on",
        "SELECT r.schedule_key, r.slot, r.job_key FROM books r"
        " JOIN job_schedule s ON s.key = r.schedule_key AND s.target_kind <> 'job'"
        " JOIN job j ON j.key = r.job_key"
        " LEFT JOIN job_run_dependency d ON d.run_id = r.id"
        " LEFT JOIN books o ON o.id = d.depends_on_run_id AND o.schedule_key = r.schedule_key"
        " AND o.slot = r.slot AND o.job_key = ANY (j.depends_on)"
        " GROUP BY r.id, r.schedule_key, r.slot, r.job_key, j.depends_on"
        " HAVING count(o.id) <> cardinality(j.depends_on) OR count(d.run_id) <> count(o.id) LIMIT "
        "9");
    assert_none(h, "next_run_at does not increase",
        "SELECT schedule_id, before, next_run_at FROM (SELECT schedule_id, next_run_at,"
        " lag(next_run_at) OVER (PARTITION BY schedule_id ORDER BY id) AS before FROM moved) AS m"
        " WHERE before >= next_run_at AND next_run_at < 'infinity' LIMIT 9");
}

/* --- schedules that SQL can count ------------------------------------------------------------- */

#define INTERVAL "substr(s.key, 2)::int"

void schedule_books_balance(struct harness *h)
{
    static const char *const faults[] = {
        /* A job that ran twice for a slot. */
        "SELECT schedule_key, slot, job_key, count(*) FROM job_run GROUP BY 1, 2, 3"
        " HAVING count(*) > 1",
        /* Sums of the ledger against arithmetic. */
        "SELECT s.key, e.expected, l.slots FROM job_schedule s JOIN begun b ON b.schedule_id = s.id"
        " CROSS JOIN LATERAL (SELECT floor(extract(epoch FROM s.accounted_until) / " INTERVAL ")"
        " - floor(extract(epoch FROM b.accounted_until) / " INTERVAL ") AS expected) AS e"
        " CROSS JOIN LATERAL (SELECT coalesce(sum(x.slots), 0) AS slots FROM schedule_slot x"
        " WHERE x.schedule_id = s.id) AS l WHERE e.expected <> l.slots",
        /* Rows of the ledger that overlap. */
        "SELECT schedule_id, slot, before FROM (SELECT schedule_id, slot, lag(last_slot) OVER"
        " (PARTITION BY schedule_id ORDER BY slot) AS before FROM schedule_slot) AS l"
        " WHERE before >= slot",
        "SELECT s.key, s.skipped_runs, l.slots FROM job_schedule s CROSS JOIN LATERAL (SELECT"
        " coalesce(sum(x.slots), 0) AS slots FROM schedule_slot x WHERE x.schedule_id = s.id"
        " AND x.outcome = 'skipped') AS l WHERE s.skipped_runs <> l.slots",
        "SELECT key, slot, runs FROM (SELECT s.key, l.slot, l.runs FROM schedule_slot l"
        " JOIN job_schedule s ON s.id = l.schedule_id WHERE l.outcome = 'fired') AS f"
        " FULL JOIN (SELECT schedule_key AS key, slot, count(*)::int AS runs FROM job_run"
        " GROUP BY 1, 2) AS r USING (key, slot, runs) WHERE f IS NULL OR r IS NULL",
        "SELECT schedule_id, before, next_run_at FROM (SELECT schedule_id, next_run_at,"
        " lag(next_run_at) OVER (PARTITION BY schedule_id ORDER BY id) AS before FROM moved) AS m"
        " WHERE before >= next_run_at",
    };

    for (size_t i = 0; i < sizeof(faults) / sizeof(*faults); i++)
        assert_string_equal(harness_rows(h, faults[i]), "");
}
