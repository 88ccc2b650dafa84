#include "scheduler/fire_log.h"

#include <string.h>

#include "base/buf.h"
#include "base/civil_time.h"
#include "base/cleanup.h"
#include "base/log.h"

/* With more entries than this in one answer, each is a line at debug level, and one tells their
 * sum. */
#define LINES_MAX     100
#define STUCK_LINE_MS 60000

static const char *reason_text(const char *reason)
{
    static const char *const texts[][2] = {
        {"late", "later than its grace allows"},
        {"flag", "its feature flag is off"},
        {"overlap", "the run before it is not finished"},
        {"no_jobs", "its target names no job"},
        {"duplicate", "its runs were there already"},
    };

    for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++)
        if (strcmp(texts[i][0], reason) == 0)
            return texts[i][1];
    return reason;
}

static void log_fired(const struct db_result *r, int row, enum log_level level)
{
    _cleanup_(buf_release) struct buf slot = BUF_INIT(64);
    const char *key = db_text(r, row, "key");
    int64_t runs = db_int(r, row, "runs");

    civil_time_add_utc(&slot, db_int(r, row, "slot_s"));
    log_write(level, F(F_STR("schedule", key), F_STR("slot", buf_str(&slot)), F_INT("runs", runs)),
        "Fired %s for %s: %lld %s", key, buf_str(&slot), (long long)runs,
        runs == 1 ? "run" : "runs");
}

static void log_skipped(const struct db_result *r, int row, enum log_level level)
{
    _cleanup_(buf_release) struct buf when = BUF_INIT(128);
    const char *key = db_text(r, row, "key");
    const char *reason = db_text(r, row, "reason");
    int64_t slots = db_int(r, row, "slots");

    civil_time_add_utc(&when, db_int(r, row, "slot_s"));
    if (slots > 1) {
        buf_add_str(&when, " to ");
        civil_time_add_utc(&when, db_int(r, row, "last_slot_s"));
    }
    log_write(level,
        F(F_STR("schedule", key), F_INT("slots", slots), F_STR("reason", reason),
            F_INT("skipped_runs", db_int(r, row, "skipped_runs"))),
        "Skipped %lld %s of %s, %s: %s", (long long)slots, slots == 1 ? "slot" : "slots", key,
        buf_str(&when), reason_text(reason));
}

void fire_log_rescues(struct service *service, const struct db_result *r)
{
    int64_t rescued = 0;

    for (int row = 0; row < db_rows(r); row++) {
        if (db_is_null(r, row, "former_daemon"))
            continue;
        const char *key = db_text(r, row, "key");
        int64_t daemon_id = db_int(r, row, "former_daemon"), rescues = db_int(r, row, "rescues");
        log_write(++rescued > LINES_MAX ? LOG_LEVEL_DEBUG : LOG_LEVEL_WARN,
            F(F_STR("schedule", key), F_INT("former_daemon", daemon_id), F_INT("rescues", rescues)),
            "Claim of %s taken over from daemon %lld, which did not finish it", key,
            (long long)daemon_id);
    }
    if (rescued > LINES_MAX)
        log_warn(F(F_INT("schedules", rescued)),
            "Claims of %lld schedules taken over, of which %d are told one by one",
            (long long)rescued, LINES_MAX);
    service_metric_add(service, "claims_rescued", rescued);
}

/* Schedules that stay due, as what they need is held, or will not do. */
static void log_stuck(const struct db_result *r, int row, int64_t stuck, struct log_rate *rate)
{
    const char *key = db_text(r, row, "key");
    uint64_t held;

    if (log_rate_allow(rate, STUCK_LINE_MS, &held))
        log_warn(
            F(F_STR("schedule", key), F_INT("schedules", stuck), F_INT("held_back", (int64_t)held)),
            "%s could not be fired and is tried again: %s", key, db_text(r, row, "reason"));
}

int64_t fire_log_slots(
    struct service *service, const struct db_result *r, int64_t claimed, struct log_rate *rate)
{
    int64_t moved = 0, fired = 0, skipped = 0, runs = 0, stuck = 0;
    int last_stuck = 0;
    bool many = db_rows(r) > LINES_MAX;

    for (int row = 0; row < db_rows(r); row++) {
        if (db_is_null(r, row, "key")) {
            moved += db_int(r, row, "slots");
        } else if (db_int(r, row, "slots") == 0) {
            stuck++;
            last_stuck = row;
        } else if (db_is_null(r, row, "reason")) {
            fired++;
            runs += db_int(r, row, "runs");
            log_fired(r, row, many ? LOG_LEVEL_DEBUG : LOG_LEVEL_INFO);
        } else {
            skipped += db_int(r, row, "slots");
            log_skipped(r, row, many ? LOG_LEVEL_DEBUG : LOG_LEVEL_WARN);
        }
    }
    if (many)
        log_write(skipped ? LOG_LEVEL_WARN : LOG_LEVEL_INFO,
            F(F_INT("fired", fired), F_INT("skipped", skipped), F_INT("runs", runs)),
            "Fired %lld slots and skipped %lld: %lld runs", (long long)fired, (long long)skipped,
            (long long)runs);
    service_metric_add(service, "slots_fired", fired);
    service_metric_add(service, "slots_skipped", skipped);
    service_metric_add(service, "runs_made", runs);
    service_metric_add(service, "claims_lost", claimed - moved - stuck);
    if (stuck)
        log_stuck(r, last_stuck, stuck, rate);
    return stuck;
}

int fire_log_changes(const struct db_result *r)
{
    int waits = 0;

    for (int row = 0; row < db_rows(r); row++) {
        const char *kind = db_text(r, row, "kind");
        const char *key = db_text(r, row, "key");
        const char *change = db_text(r, row, "change");
        const char *detail = db_text(r, row, "detail");
        if (strcmp(change, "waits") == 0)
            waits++;
        else
            log_info(F(F_STR(kind, key), F_STR("change", change)), "Definition of %s %s: %s%s%s",
                kind, key, change, detail ? ": " : "", detail ? detail : "");
    }
    return waits;
}

void fire_log_zones(const struct db_result *r)
{
    for (int row = 0; row < db_rows(r); row++)
        log_warn(F(F_STR("zone", db_text(r, row, "name"))),
            "The rules of %s have changed: its schedules are computed again",
            db_text(r, row, "name"));
}
