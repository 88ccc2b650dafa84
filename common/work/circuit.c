#include "work/circuit.h"

#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/log.h"

/* Between two requests for the same probe. */
#define PROBE_ASK_AGAIN_MS 1000

struct circuit {
    char *name;
    enum circuit_state state;
    int failures;          /* in a row, as far as this process knows */
    int64_t held_until_ms; /* open until then, or the probe's time */
    int64_t asked_until_ms;
    enum circuit_state row_state; /* when it was last read */
    bool probe_granted;           /* the next call is the probe */
    bool used;                    /* since the last report */
    bool news_succeeded;
    int news_failures;
    struct circuit *next;
};

struct circuit_table {
    struct circuit *first;
    size_t n;
};

int circuit_table_new(struct circuit_table **ret_table)
{
    struct circuit_table *t = calloc(1, sizeof *t);

    if (!t)
        return ERR_NOMEM;
    *ret_table = t;
    return 0;
}

void circuit_table_free(struct circuit_table *t)
{
    if (!t)
        return;
    for (struct circuit *c = t->first, *next; c; c = next) {
        next = c->next;
        free(c->name);
        free(c);
    }
    free(t);
}

static struct circuit *circuit_find(const struct circuit_table *t, const char *name)
{
    for (struct circuit *c = t->first; c; c = c->next) {
        if (strcmp(c->name, name) == 0)
            return c;
    }
    return NULL;
}

struct circuit *circuit_get(struct circuit_table *t, const char *name)
{
    struct circuit *c = circuit_find(t, name);

    if (c)
        return c;
    c = calloc(1, sizeof *c);
    if (!c)
        return NULL;
    c->name = strdup(name);
    if (!c->name) {
        free(c);
        return NULL;
    }
    c->next = t->first;
    t->first = c;
    t->n++;
    return c;
}

const char *circuit_name(const struct circuit *c)
{
    return c->name;
}

enum circuit_state circuit_state(const struct circuit *c)
{
    return c->state;
}

enum circuit_answer circuit_allow(struct circuit *c, int64_t now_ms)
{
    c->used = true;
    if (c->state == CIRCUIT_CLOSED)
        return CIRCUIT_PASS;
    if (c->probe_granted && now_ms < c->held_until_ms) {
        c->probe_granted = false;
        return CIRCUIT_PASS;
    }
    if (now_ms < c->held_until_ms || now_ms < c->asked_until_ms)
        return CIRCUIT_REFUSE;
    c->asked_until_ms = now_ms + PROBE_ASK_AGAIN_MS;
    return CIRCUIT_ASK;
}

void circuit_record(struct circuit *c, bool worked, int64_t now_ms)
{
    if (worked) {
        /* A row that counts no failure has nothing to learn from a success. */
        if (c->failures > 0 || c->state != CIRCUIT_CLOSED)
            c->news_succeeded = true;
        c->news_failures = 0;
        if (c->state == CIRCUIT_CLOSED)
            c->failures = 0;
        return;
    }
    c->failures++;
    c->news_failures++;
    if (c->state == CIRCUIT_HALF_OPEN ||
        (c->state == CIRCUIT_CLOSED && c->failures >= CIRCUIT_FAILURES)) {
        c->state = CIRCUIT_OPEN;
        c->held_until_ms = now_ms + CIRCUIT_OPEN_MS;
        c->probe_granted = false;
    }
}

void circuit_correct(struct circuit *c, enum circuit_state state, int failures, int64_t held_ms,
    bool probe_ours, int64_t now_ms)
{
    /* What has not been told yet comes on top of what the row knows. */
    c->failures = c->news_succeeded ? c->news_failures : failures + c->news_failures;
    c->row_state = state;
    if (state == CIRCUIT_CLOSED && c->news_failures > 0 && c->failures >= CIRCUIT_FAILURES)
        return; /* opened here meanwhile: the row hears of it next */
    c->state = state;
    c->held_until_ms = now_ms + (held_ms > 0 ? held_ms : 0);
    c->asked_until_ms = 0;
    if (state != CIRCUIT_HALF_OPEN || !probe_ours)
        c->probe_granted = false;
}

static void add_args(struct db_args *args, int64_t daemon_id, const char *const *names,
    const int64_t *failures, const bool *succeeded, const bool *wants_probe, size_t n)
{
    db_arg_int(args, daemon_id);
    db_arg_strs(args, names, n);
    db_arg_ints(args, failures, n);
    db_arg_bools(args, succeeded, n);
    db_arg_bools(args, wants_probe, n);
}

void circuit_probe_args(const struct circuit *c, int64_t daemon_id, struct db_args *args)
{
    const char *name = c->name;

    add_args(args, daemon_id, &name, &(int64_t){0}, &(bool){false}, &(bool){true}, 1);
}

void circuit_probe_failed(struct circuit *c, int64_t now_ms)
{
    c->asked_until_ms = now_ms + PROBE_ASK_AGAIN_MS;
}

bool circuit_table_has_news(const struct circuit_table *t)
{
    for (const struct circuit *c = t->first; c; c = c->next) {
        if (c->used || c->news_succeeded || c->news_failures > 0)
            return true;
    }
    return false;
}

bool circuit_table_is_urgent(const struct circuit_table *t)
{
    for (const struct circuit *c = t->first; c; c = c->next) {
        if (c->state != CIRCUIT_CLOSED && (c->news_succeeded || c->news_failures > 0))
            return true;
    }
    return false;
}

void circuit_table_tell_args(struct circuit_table *t, int64_t daemon_id, struct db_args *args)
{
    _cleanup_(freep) const char **names = calloc(t->n + 1, sizeof *names);
    _cleanup_(freep) int64_t *failures = calloc(t->n + 1, sizeof *failures);
    _cleanup_(freep) bool *succeeded = calloc(t->n + 1, sizeof *succeeded);
    _cleanup_(freep) bool *wants_probe = calloc(t->n + 1, sizeof *wants_probe);
    size_t n = 0;

    if (!names || !failures || !succeeded || !wants_probe) {
        args->err = ERR_NOMEM;
        return;
    }
    for (struct circuit *c = t->first; c; c = c->next) {
        if (!c->used && !c->news_succeeded && c->news_failures == 0)
            continue;
        names[n] = c->name;
        failures[n] = c->news_failures;
        succeeded[n] = c->news_succeeded;
        n++;
        c->used = false;
        c->news_succeeded = false;
        c->news_failures = 0;
    }
    add_args(args, daemon_id, names, failures, succeeded, wants_probe, n);
}

static enum circuit_state state_of(const char *text)
{
    if (strcmp(text, "open") == 0)
        return CIRCUIT_OPEN;
    if (strcmp(text, "half_open") == 0)
        return CIRCUIT_HALF_OPEN;
    return CIRCUIT_CLOSED;
}

int circuit_table_correct(struct circuit_table *t, const struct db_result *r, int64_t now_ms)
{
    int changed = 0;

    for (int row = 0; row < db_rows(r); row++) {
        struct circuit *c = circuit_find(t, db_text(r, row, "name"));
        enum circuit_state before;
        bool granted = db_bool(r, row, "probe_granted");

        if (!c)
            continue;
        before = c->row_state;
        circuit_correct(c, state_of(db_text(r, row, "state")), (int)db_int(r, row, "failures"),
            db_int(r, row, "held_ms"), db_bool(r, row, "probe_ours"), now_ms);
        if (granted)
            c->probe_granted = true;
        if (c->row_state == before)
            continue;
        changed++;
        log_write(c->row_state == CIRCUIT_CLOSED ? LOG_LEVEL_INFO : LOG_LEVEL_WARN,
            F(F_STR("circuit", c->name)), "circuit %s is %s", c->name, db_text(r, row, "state"));
    }
    return changed;
}

void circuit_learn(struct circuit *c, const struct db_result *r, int row, int64_t now_ms)
{
    const char *state = db_text(r, row, "circuit_state");

    if (state)
        circuit_correct(c, state_of(state), (int)db_int(r, row, "circuit_failures"),
            db_int(r, row, "circuit_held_ms"), db_bool(r, row, "circuit_probe_ours"), now_ms);
}
