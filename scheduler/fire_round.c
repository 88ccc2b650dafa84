#include "scheduler/fire_round.h"

#include <stdlib.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "scheduler/fire_log.h"
#include "scheduler/schedule_preview.h"
#include "scheduler/zone_rules.h"
#include "sql/scheduler.h"

/* A round begins so long before the next run: less than claim_schedules looks ahead. */
#define AHEAD_MS 200
/* The workers of a queue are woken at most so often. */
#define HINT_INTERVAL_MS 100
/* What could not be done for somebody else's lock is tried again so much later. */
#define REFUSED_AGAIN_MS 5000
#define STUCK_AGAIN_MS   1000
#define REFUSED_LINE_MS  60000

static struct fire_round *round_of(struct job *job)
{
    return (struct fire_round *)job;
}

/* Sends a statement whose parameters were built with `err`. */
static enum step send_query(
    struct job *job, const struct db_stmt *stmt, int err, struct db_args *args, unsigned flags)
{
    if (err < 0)
        return job_fail(job, err, "%s: %s", stmt->name, err_name(err));
    return job_query(job, stmt, args, flags);
}

/* Whether an event is an answer that can be read; otherwise *ret_step fails the job. */
static bool answered(
    struct job *job, const struct event *ev, const struct db_stmt *stmt, enum step *ret_step)
{
    if (ev->kind == EVENT_DB && ev->db->err == 0)
        return true;
    *ret_step = ev->kind == EVENT_DB ? job_fail_db(job, stmt, ev->db)
                                     : job_fail(job, ERR_CANCELLED, "%s was given up", stmt->name);
    return false;
}

/* --- definitions and zones -------------------------------------------------------------------- */

/* Whether the database refused a statement without which what is due can fire all the same; it is
 * tried again later. */
static bool refused(struct fire_round *r, const struct event *ev, const struct db_stmt *stmt)
{
    struct failure f;
    uint64_t held;

    if (ev->kind != EVENT_DB || ev->db->err != ERR_DB)
        return false;
    r->refused_until_ms = clock_ms() + REFUSED_AGAIN_MS;
    db_failure(ev->db, stmt, &f);
    if (log_rate_allow(&r->refusals, REFUSED_LINE_MS, &held))
        log_failure(LOG_LEVEL_WARN, &f, F(F_INT("held_back", (int64_t)held)),
            "the definitions are not in force yet, and are tried again");
    return true;
}

static enum step round_sync(struct job *job, const struct event *ev)
{
    struct fire_round *r = round_of(job);
    enum step step;

    if (ev->kind == EVENT_ENTER) {
        if (!r->sync_owed || clock_ms() < r->refused_until_ms)
            return job_next(job, ROUND_ZONES);
        _cleanup_(freep) char *jobs = json_dumps(r->definitions->jobs, JSON_COMPACT);
        _cleanup_(freep) char *schedules = json_dumps(r->definitions->schedules, JSON_COMPACT);
        struct db_args args;
        db_args_init(&args);
        db_arg_str(&args, jobs);
        db_arg_str(&args, schedules);
        db_arg_int(&args, service_daemon_id(r->service));
        return send_query(
            job, &SQL_sync_definitions, jobs && schedules ? 0 : ERR_NOMEM, &args, DB_RETRY);
    }
    if (refused(r, ev, &SQL_sync_definitions))
        return job_next(job, ROUND_ZONES);
    if (!answered(job, ev, &SQL_sync_definitions, &step))
        return step;
    r->sync_owed = fire_log_changes(ev->db) > 0;
    return job_next(job, ROUND_ZONES);
}

static enum step round_zones(struct job *job, const struct event *ev)
{
    struct fire_round *r = round_of(job);
    enum step step;

    if (ev->kind == EVENT_ENTER) {
        struct db_args args;
        if (!r->zones_owed || clock_ms() < r->refused_until_ms)
            return job_next(job, ROUND_CLAIM);
        return send_query(job, &SQL_recompute_zones,
            zone_rules_args(r->zones, r->definitions->schedules, &args), &args, DB_RETRY);
    }
    if (refused(r, ev, &SQL_recompute_zones))
        return job_next(job, ROUND_CLAIM);
    if (!answered(job, ev, &SQL_recompute_zones, &step))
        return step;
    r->zones_owed = false;
    fire_log_zones(ev->db);
    return job_next(job, ROUND_CLAIM);
}

/* --- what is due ------------------------------------------------------------------------------ */

/* What the database's clock shows, or a little less: nothing fires before its slot. */
static int64_t db_now_ms(const struct fire_round *r)
{
    return clock_ms() + r->offset_ms;
}

/* The database read its clock after we asked and before it answered, which bounds how far it is
 * ahead of ours. Of all claims the highest of the lower bounds is nearest, until an upper one shows
 * that the clock was set back. */
static void learn_offset(struct fire_round *r, int64_t now_ms)
{
    int64_t least = now_ms - clock_ms(), most = now_ms + 1 - r->asked_ms;

    if (!r->offset_known || least > r->offset_ms || most < r->offset_ms)
        r->offset_ms = least;
    r->offset_known = true;
}

int64_t fire_round_wait_ms(const struct fire_round *r)
{
    int64_t next = r->next_ms == INT64_MAX ? INT64_MAX : r->next_ms - AHEAD_MS;
    int64_t first = next < r->lapse_ms ? next : r->lapse_ms;
    int64_t wait = first == INT64_MAX ? INT64_MAX : first - db_now_ms(r);

    return r->full || wait < 0 ? 0 : wait;
}

/* Where a round goes when nothing more is due. */
static enum step after_firing(struct job *job)
{
    struct fire_round *r = round_of(job);

    if (r->full)
        return job_next(job, ROUND_CLAIM);
    if (r->hint_owed)
        return job_next(job, ROUND_HINT);
    return r->previews_wanted ? job_next(job, ROUND_READ_PREVIEWS) : STEP_DONE;
}

/* The batch of a claim's answer. */
static int read_claim(struct fire_round *r, const struct db_result *claimed)
{
    int64_t now_ms = db_int(claimed, 0, "now_ms");
    int err = 0;

    fire_batch_reset(r->batch);
    learn_offset(r, now_ms);
    fire_log_rescues(r->service, claimed);
    r->previews_wanted = db_bool(claimed, 0, "previews_wanted");
    r->full = !db_is_null(claimed, 0, "wait_ms") && db_int(claimed, 0, "wait_ms") == 0;
    r->next_ms =
        db_is_null(claimed, 0, "wait_ms") ? INT64_MAX : now_ms + db_int(claimed, 0, "wait_ms") + 1;
    r->lapse_ms =
        db_is_null(claimed, 0, "held_ms") ? INT64_MAX : now_ms + db_int(claimed, 0, "held_ms") + 1;
    for (int row = 0; row < db_rows(claimed) && err == 0; row++)
        if (!db_is_null(claimed, row, "id"))
            err = fire_batch_add(r->batch, claimed, row);
    if (fire_batch_next_ms(r->batch) < r->next_ms)
        r->next_ms = fire_batch_next_ms(r->batch);
    return err;
}

static enum step round_claim(struct job *job, const struct event *ev)
{
    struct fire_round *r = round_of(job);
    enum step step;

    if (ev->kind == EVENT_ENTER) {
        struct db_args args;
        r->asked_ms = clock_ms();
        db_args_init(&args);
        db_arg_int(&args, service_daemon_id(r->service));
        db_arg_int(&args, r->claim_max);
        return send_query(job, &SQL_claim_schedules, 0, &args, 0);
    }
    if (!answered(job, ev, &SQL_claim_schedules, &step))
        return step;
    int err = read_claim(r, ev->db);
    if (err < 0)
        return job_fail(job, err, "a claim of %d schedules: %s", db_rows(ev->db), err_name(err));
    return fire_batch_count(r->batch) > 0 ? job_next(job, ROUND_FIRE) : after_firing(job);
}

static enum step send_fire(struct job *job)
{
    struct fire_round *r = round_of(job);
    bool hint = clock_ms() - r->hinted_at_ms > HINT_INTERVAL_MS;
    struct db_args args;

    r->hints = hint && fire_batch_fires(r->batch) > 0;
    if (fire_batch_fires(r->batch) > 0)
        r->hint_owed = !hint;
    fire_batch_args(r->batch, service_daemon_id(r->service), hint, &args);
    return send_query(job, &SQL_fire_slots, 0, &args, 0);
}

static enum step round_fire(struct job *job, const struct event *ev)
{
    struct fire_round *r = round_of(job);
    enum step step;

    if (ev->kind == EVENT_ENTER) {
        /* The clock is read in whole milliseconds, rounded down: one more is never too early. */
        int64_t wait = fire_batch_due_ms(r->batch) + 1 - db_now_ms(r);
        return wait > 0 ? job_pause(job, wait) : send_fire(job);
    }
    if (ev->kind == EVENT_PAUSE_OVER)
        return send_fire(job);
    if (!answered(job, ev, &SQL_fire_slots, &step)) {
        if (ev->kind == EVENT_DB && ev->db->err == ERR_DB)
            r->claim_max = 1 + (int64_t)fire_batch_count(r->batch) / 4;
        return step;
    }
    r->claim_max =
        2 * r->claim_max < FIRE_ROUND_CLAIM_MAX ? 2 * r->claim_max : FIRE_ROUND_CLAIM_MAX;
    /* The database counts from within the statement, so from its end is never too soon. */
    if (r->hints)
        r->hinted_at_ms = clock_ms();
    int64_t claimed = (int64_t)fire_batch_count(r->batch);
    int64_t stuck = fire_log_slots(r->service, ev->db, claimed, &r->stuck);
    if (stuck > 0) {
        int64_t again_ms = db_now_ms(r) + AHEAD_MS + STUCK_AGAIN_MS;
        r->next_ms = again_ms < r->next_ms ? again_ms : r->next_ms;
        r->full = r->full && stuck < claimed;
    }
    return after_firing(job);
}

/* The hint that came too soon after another. */
static enum step round_hint(struct job *job, const struct event *ev)
{
    struct fire_round *r = round_of(job);
    enum step step;

    if (ev->kind == EVENT_ENTER)
        return job_pause(job, r->hinted_at_ms + HINT_INTERVAL_MS + 1 - clock_ms());
    if (ev->kind == EVENT_PAUSE_OVER)
        return job_query(job, &SQL_hint_queues, NULL, DB_RETRY);
    if (!answered(job, ev, &SQL_hint_queues, &step))
        return step;
    r->hint_owed = false;
    r->hinted_at_ms = clock_ms();
    return r->previews_wanted ? job_next(job, ROUND_READ_PREVIEWS) : STEP_DONE;
}

/* --- slots to come ---------------------------------------------------------------------------- */

static enum step round_read_previews(struct job *job, const struct event *ev)
{
    struct fire_round *r = round_of(job);
    struct db_args args;
    enum step step;

    if (ev->kind == EVENT_ENTER) {
        db_args_init(&args);
        db_arg_int(&args, PREVIEW_SCHEDULES_MAX);
        return send_query(job, &SQL_read_previews, 0, &args, DB_RETRY);
    }
    if (!answered(job, ev, &SQL_read_previews, &step))
        return step;
    r->previews_wanted = db_rows(ev->db) == PREVIEW_SCHEDULES_MAX;
    db_args_release(&r->previews);
    int err = schedule_preview_args(r->zones, ev->db, &r->previews);
    if (err < 0)
        return job_fail(job, err, "slots to come: %s", err_name(err));
    return job_next(job, ROUND_STORE_PREVIEWS);
}

static enum step round_store_previews(struct job *job, const struct event *ev)
{
    struct fire_round *r = round_of(job);
    enum step step;

    if (ev->kind == EVENT_ENTER)
        return job_query(job, &SQL_store_previews, &r->previews, DB_RETRY);
    if (!answered(job, ev, &SQL_store_previews, &step))
        return step;
    /* With more of them to come, look first whether something has fallen due. */
    return r->previews_wanted || fire_round_wait_ms(r) == 0 ? job_next(job, ROUND_CLAIM)
                                                            : STEP_DONE;
}

const struct job_state fire_round_states[FIRE_ROUND_N_STATES] = {
    [ROUND_SYNC] = {"sync", round_sync, 0},
    [ROUND_ZONES] = {"zones", round_zones, 0},
    [ROUND_CLAIM] = {"claim", round_claim, 0},
    [ROUND_FIRE] = {"fire", round_fire, 0},
    [ROUND_READ_PREVIEWS] = {"read_previews", round_read_previews, 0},
    [ROUND_STORE_PREVIEWS] = {"store_previews", round_store_previews, 0},
    [ROUND_HINT] = {"hint", round_hint, 0},
};
