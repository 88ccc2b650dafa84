#include "scheduler/schedule_rule.h"

#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/json_read.h"

#define DAY_MS               (INT64_C(86400) * 1000)
#define GRACE_MS_MAX         (7 * DAY_MS)
#define WINDOW_MS_MAX        (366 * DAY_MS)
#define DATE_LEN             10
#define SLOT_FAULT_MAX       65536
#define DEFINITION_BYTES_MAX ((size_t)1 << 20)

const char *const schedule_rule_keys[] = {"cron", "every", "anchor", "timezone", "dst_gap",
    "dst_overlap", "window", "blackout", "jitter", "catch_up", "grace", "catch_up_window",
    "catch_up_cap", NULL};

static const char *const catch_up_words[] = {[CATCH_UP_SKIP] = "skip",
    [CATCH_UP_RUN_ONCE] = "run_once",
    [CATCH_UP_RUN_ALL] = "run_all",
    NULL};

int schedule_rule_parse_dates(const char *text, struct slot_dates *ret_dates)
{
    const char *dots = strstr(text, "..");
    _cleanup_(freep) char *first = strndup(text, dots ? (size_t)(dots - text) : strlen(text));
    struct slot_dates dates;

    if (!first)
        return ERR_NOMEM;
    if (civil_time_parse_date(first, &dates.first) < 0)
        return ERR_INVALID;
    dates.last = dates.first;
    if (dots && civil_time_parse_date(dots + 2, &dates.last) < 0)
        return ERR_INVALID;
    if (dates.last < dates.first)
        return ERR_INVALID;
    *ret_dates = dates;
    return 0;
}

/* The dates of `blackout`; faulty ones are told of and left out. A list's name that is still
 * there is of no list, and has been told of. */
static int read_blackout(
    const struct definitions_object *o, struct slot_dates **ret_dates, size_t *ret_n)
{
    const json_t *list = json_object_get(o->json, "blackout");
    struct json_at at = JSON_AT_KEY(o->at, "blackout");
    size_t n = json_array_size(list);
    struct slot_dates *dates = calloc(n ? n : 1, sizeof(*dates));

    *ret_dates = dates;
    *ret_n = 0;
    if (!dates)
        return ERR_NOMEM;
    if (list && !json_is_array(list))
        definitions_fault(o->faults, &at, "must be a list of dates, ranges and holiday lists");
    for (size_t i = 0; i < n; i++) {
        struct json_at item = JSON_AT_INDEX(&at, i);
        const char *text = json_string_value(json_array_get(list, i));
        if (text && schedule_rule_parse_dates(text, &dates[*ret_n]) == 0)
            (*ret_n)++;
        else if (!text || strncmp(text, SCHEDULE_HOLIDAYS, strlen(SCHEDULE_HOLIDAYS)) != 0)
            definitions_fault(o->faults, &item,
                "write a date (2026-12-24), a range (2026-12-24..2027-01-02) or a list "
                "(holidays:NAME)");
    }
    return 0;
}

/* Lines "field: reason" of the slot code, each told at the place of its key; what is said of a
 * part of the cron expression at that of the expression. */
static void tell_slot_faults(const struct definitions_object *o, const char *lines)
{
    while (*lines) {
        size_t len = strcspn(lines, "\n");
        size_t field = strcspn(lines, ":\n");
        size_t said = field + strspn(lines + field, ": ");
        struct buf key = BUF_INIT(SLOT_FAULT_MAX);
        struct json_at at;

        buf_add(&key, lines, field);
        at = JSON_AT_KEY(o->at, buf_str(&key));
        if (!json_object_get(o->json, at.key)) {
            at.key = "cron";
            said = 0;
        }
        definitions_fault(o->faults, json_object_get(o->json, at.key) ? &at : o->at, "%.*s",
            (int)(len - said), lines + said);
        buf_release(&key);
        lines += len + (lines[len] == '\n');
    }
}

static int read_slots(const struct definitions_object *o, const char *key,
    struct civil_zones *zones, struct slot_spec **ret_slots)
{
    _cleanup_(freep) struct slot_dates *dates = NULL;
    _cleanup_(buf_release) struct buf faults = BUF_INIT(SLOT_FAULT_MAX);
    struct slot_options options = {
        .cron = definitions_str(o, "cron", NULL),
        .every = definitions_str(o, "every", NULL),
        .anchor = definitions_str(o, "anchor", NULL),
        .zone = definitions_str(o, "timezone", NULL),
        .dst_gap = definitions_str(o, "dst_gap", NULL),
        .dst_overlap = definitions_str(o, "dst_overlap", NULL),
        .window = definitions_str(o, "window", NULL),
        .jitter = definitions_str(o, "jitter", NULL),
        .key = key,
    };
    int err = read_blackout(o, &dates, &options.n_blackout);

    if (err < 0)
        return err;
    options.blackout = dates;
    if (!options.cron == !options.every) {
        definitions_fault(o->faults, o->at, "say when: exactly one of \"cron\" and \"every\"");
        return ERR_INVALID;
    }
    err = slot_spec_new(&options, zones, &faults, ret_slots);
    tell_slot_faults(o, buf_str(&faults));
    return err;
}

static void read_catch_up(const struct definitions_object *o, struct schedule_rule *rule)
{
    const char *word = definitions_choice(o, "catch_up", catch_up_words, "skip");
    struct json_at window = JSON_AT_KEY(o->at, "catch_up_window");

    rule->grace_ms = definitions_duration(o, "grace", 0, GRACE_MS_MAX, SCHEDULE_GRACE_MS_DEFAULT);
    rule->window_ms = definitions_duration(o, "catch_up_window", 0, WINDOW_MS_MAX, -1);
    rule->cap = definitions_int(o, "catch_up_cap", 1, SCHEDULE_CATCH_UP_CAP_MAX, -1);
    while (word && strcmp(catch_up_words[rule->catch_up], word) != 0)
        rule->catch_up++;
    if (rule->catch_up == CATCH_UP_RUN_ALL) {
        if (rule->window_ms < 0 || rule->cap < 0)
            definitions_fault(o->faults, o->at,
                "catch_up run_all needs bounds: add \"catch_up_window\" (such as \"24h\") and "
                "\"catch_up_cap\" (such as 100)");
        return;
    }
    if (rule->cap >= 0)
        definitions_fault(o->faults, o->at, "\"catch_up_cap\" belongs to catch_up run_all");
    if (rule->window_ms >= 0 && rule->catch_up == CATCH_UP_SKIP)
        definitions_fault(o->faults, &window, "belongs to catch_up run_once or run_all");
    if (rule->window_ms < 0)
        rule->window_ms = INT64_MAX;
    rule->cap = rule->catch_up == CATCH_UP_RUN_ONCE ? 1 : 0;
}

int schedule_rule_new(const struct definitions_object *o, const char *key,
    struct civil_zones *zones, struct schedule_rule **ret_rule)
{
    _cleanup_(schedule_rule_freep) struct schedule_rule *rule = calloc(1, sizeof(*rule));
    int faults_before = o->faults->count;
    int err;

    if (!rule)
        return ERR_NOMEM;
    read_catch_up(o, rule);
    err = read_slots(o, key, zones, &rule->slots);
    if (err < 0)
        return err;
    if (o->faults->count > faults_before)
        return ERR_INVALID;
    *ret_rule = rule;
    rule = NULL;
    return 0;
}

int schedule_rule_from_text(const char *key, const char *definition, struct civil_zones *zones,
    struct buf *faults, struct schedule_rule **ret_rule)
{
    _cleanup_(json_decrefp) json_t *json = NULL;
    _cleanup_(buf_release) struct buf unheard = BUF_INIT(SLOT_FAULT_MAX);
    struct definitions_faults told = {.out = faults ? faults : &unheard};
    struct json_at root = JSON_AT_ROOT;
    struct definitions_object o = {.at = &root, .faults = &told};
    int err = json_read(definition, strlen(definition), DEFINITION_BYTES_MAX, told.out, &json);

    if (err < 0)
        return err;
    o.json = json;
    return schedule_rule_new(&o, key, zones, ret_rule);
}

void schedule_rule_free(struct schedule_rule *rule)
{
    if (!rule)
        return;
    slot_spec_free(rule->slots);
    free(rule);
}
