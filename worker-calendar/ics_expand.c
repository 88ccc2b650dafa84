#include "worker-calendar/ics_expand.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#include "worker-calendar/ics_value.h"

/* "20261231T235959Z" */
#define INSTANCE_TEXT_BYTES 32

struct series {
    struct ics_zones *zones;
    const struct ics_window *window;
    const struct ics_item *master;
    int64_t length_s;  /* of an instance: elapsed, of all-day events days */
    int64_t *excluded; /* starts in UTC, sorted: exceptions and changed instances */
    size_t n_excluded;
    int64_t *starts; /* found, local */
    size_t n_starts;
    struct event_list *list;
    size_t *cut;
};

static int64_t utc_of(struct ics_zones *zones, const struct ics_time *t)
{
    return ics_zones_to_utc(zones, t->zone, t->local);
}

static int64_t end_of(struct ics_zones *zones, const struct ics_item *item)
{
    if (item->has_end)
        return utc_of(zones, &item->end);
    if (item->start.date)
        return ics_zones_to_utc(zones, item->start.zone, item->start.local + item->duration_s);
    return utc_of(zones, &item->start) + item->duration_s;
}

static bool is_within(const struct ics_window *w, int64_t start, int64_t end)
{
    return start < w->end && (end > w->start || (end <= start && start >= w->start));
}

static void emit(struct event_list *list, const struct ics_item *item, int64_t start, int64_t end,
    const int64_t *instance)
{
    char text[INSTANCE_TEXT_BYTES] = "";
    if (instance) {
        struct civil_time t = civil_time_from_local(*instance);
        (void)snprintf(text, sizeof(text), "%04d%02d%02dT%02d%02d%02dZ", t.year % 10000,
            t.month % 100, t.day % 100, t.hour % 100, t.minute % 100, t.second % 100);
    }
    struct calendar_event e = {
        .uid = item->uid,
        .instance = text,
        .title = item->title,
        .starts_at = start,
        .ends_at = end,
        .status = item->tentative ? CALENDAR_EVENT_TENTATIVE : CALENDAR_EVENT_CONFIRMED,
        .all_day = item->start.date,
        .declined = item->declined,
    };
    event_list_add(list, &e);
}

static void emit_single(struct ics_zones *zones, const struct ics_window *window,
    const struct ics_item *item, struct event_list *list)
{
    int64_t start = utc_of(zones, &item->start), end = end_of(zones, item);
    if (item->cancelled || !is_within(window, start, end))
        return;
    if (!item->is_override) {
        emit(list, item, start, end, NULL);
        return;
    }
    int64_t instance = utc_of(zones, &item->recurrence_id);
    emit(list, item, start, end, &instance);
}

static int by_value(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static bool is_excluded(const struct series *s, int64_t start)
{
    return s->n_excluded > 0 &&
           bsearch(&start, s->excluded, s->n_excluded, sizeof(start), by_value) != NULL;
}

/* An exception that is a date, of a series of times, excludes what starts at the series' time
 * of day on that date. */
static int64_t excluded_start(const struct series *s, const struct ics_time *t)
{
    const struct ics_time *start = &s->master->start;
    if (t->date == start->date)
        return utc_of(s->zones, t);
    int64_t time_of_day =
        start->date ? 0 : start->local - civil_time_day_of(start->local) * CIVIL_DAY_S;
    return ics_zones_to_utc(
        s->zones, start->zone, civil_time_day_of(t->local) * CIVIL_DAY_S + time_of_day);
}

static int gather_excluded(struct series *s, const struct ics_item *items, size_t n)
{
    s->excluded = calloc(s->master->n_exdates + n + 1, sizeof(*s->excluded));
    if (!s->excluded)
        return ERR_NOMEM;
    for (size_t i = 0; i < s->master->n_exdates; i++)
        s->excluded[s->n_excluded++] = excluded_start(s, &s->master->exdates[i]);
    for (size_t i = 0; i < n; i++)
        if (items[i].is_override)
            s->excluded[s->n_excluded++] = excluded_start(s, &items[i].recurrence_id);
    qsort(s->excluded, s->n_excluded, sizeof(*s->excluded), by_value);
    return 0;
}

/* Takes one start as the wall clock shows it; false when there is no room for more. */
static bool take(struct series *s, int64_t local)
{
    int64_t start = ics_zones_to_utc(s->zones, s->master->start.zone, local);
    int64_t end = s->master->start.date
                      ? ics_zones_to_utc(s->zones, s->master->start.zone, local + s->length_s)
                      : start + s->length_s;
    if (!is_within(s->window, start, end) || is_excluded(s, start))
        return true;
    if (s->n_starts == ICS_INSTANCES_MAX) {
        (*s->cut)++;
        return false;
    }
    s->starts[s->n_starts++] = local;
    return true;
}

/* Where a rule ends as the wall clock shows it: at UNTIL or past the window. */
static struct icaltimetype last_of_rule(const struct series *s, const struct icaltimetype *until)
{
    const struct ics_time *start = &s->master->start;
    int64_t last = ics_zones_to_local(s->zones, start->zone, s->window->end) + CIVIL_DAY_S;
    if (!icaltime_is_null_time(*until) && ics_value_is_valid(until)) {
        int64_t local = ics_value_local(until);
        if (icaltime_is_utc(*until))
            local = ics_zones_to_local(s->zones, start->zone, local);
        else if (until->is_date)
            local += CIVIL_DAY_S - 1;
        last = local < last ? local : last;
    }
    return ics_value_floating(last, start->date);
}

/* Where to start following a rule: of an hourly one whose start does not matter, shortly before
 * the window. */
static int64_t first_of_rule(const struct series *s, const struct icalrecurrencetype *rule)
{
    const struct ics_time *start = &s->master->start;
    int64_t stride = (int64_t)rule->interval * 3600;
    int64_t near = ics_zones_to_local(s->zones, start->zone, s->window->start) - s->length_s -
                   CIVIL_DAY_S - stride;
    if (rule->freq != ICAL_HOURLY_RECURRENCE || rule->count > 0 || near <= start->local)
        return start->local;
    return start->local + (near - start->local) / stride * stride;
}

static void follow_rule(struct series *s, const struct icalrecurrencetype *original)
{
    struct icalrecurrencetype rule = *original;
    rule.until = last_of_rule(s, &original->until);
    icalrecur_iterator *it = icalrecur_iterator_new(
        rule, ics_value_floating(first_of_rule(s, original), s->master->start.date));
    if (!it)
        return;
    for (int steps = 0;; steps++) {
        if (steps == ICS_STEPS_MAX) {
            (*s->cut)++;
            break;
        }
        struct icaltimetype t = icalrecur_iterator_next(it);
        if (icaltime_is_null_time(t) || !take(s, ics_value_local(&t)))
            break;
    }
    icalrecur_iterator_free(it);
}

static void follow_dates(struct series *s)
{
    for (size_t i = 0; i < s->master->n_rdates; i++) {
        int64_t utc = utc_of(s->zones, &s->master->rdates[i]);
        if (!take(s, ics_zones_to_local(s->zones, s->master->start.zone, utc)))
            return;
    }
    if (s->master->n_rules == 0) /* DTSTART is the first of the set */
        (void)take(s, s->master->start.local);
}

static void emit_series(struct series *s)
{
    qsort(s->starts, s->n_starts, sizeof(*s->starts), by_value);
    for (size_t i = 0; i < s->n_starts; i++) {
        if (i > 0 && s->starts[i] == s->starts[i - 1])
            continue;
        int zone = s->master->start.zone;
        int64_t start = ics_zones_to_utc(s->zones, zone, s->starts[i]);
        int64_t end = s->master->start.date
                          ? ics_zones_to_utc(s->zones, zone, s->starts[i] + s->length_s)
                          : start + s->length_s;
        emit(s->list, s->master, start, end, &start);
    }
}

static int expand_series(struct series *s, const struct ics_item *items, size_t n)
{
    const struct ics_item *m = s->master;
    s->length_s = m->duration_s;
    if (m->has_end)
        s->length_s = m->start.date ? m->end.local - m->start.local
                                    : utc_of(s->zones, &m->end) - utc_of(s->zones, &m->start);
    if (s->length_s < 0)
        s->length_s = 0;
    int err = gather_excluded(s, items, n);
    if (!err && !(s->starts = calloc(ICS_INSTANCES_MAX, sizeof(*s->starts))))
        err = ERR_NOMEM;
    if (!err) {
        for (size_t i = 0; i < m->n_rules; i++)
            follow_rule(s, &m->rules[i]);
        follow_dates(s);
        emit_series(s);
    }
    free(s->excluded);
    free(s->starts);
    return err;
}

static bool is_newer(const struct ics_item *a, const struct ics_item *b)
{
    return a->sequence != b->sequence ? a->sequence > b->sequence : a->ordinal > b->ordinal;
}

static const struct ics_item *find_master(const struct ics_item *items, size_t n)
{
    const struct ics_item *master = NULL;
    for (size_t i = 0; i < n; i++)
        if (!items[i].is_override && (!master || is_newer(&items[i], master)))
            master = &items[i];
    return master;
}

struct change {
    int64_t instance; /* which it changes: its start in UTC */
    const struct ics_item *item;
};

/* By instance, the newest change of each first. */
static int by_instance(const void *a, const void *b)
{
    const struct change *x = a, *y = b;
    if (x->instance != y->instance)
        return x->instance > y->instance ? 1 : -1;
    return is_newer(x->item, y->item) ? -1 : is_newer(y->item, x->item);
}

static int emit_changed(struct ics_zones *zones, const struct ics_window *window,
    const struct ics_item *items, size_t n, struct event_list *list)
{
    struct change *changes = calloc(n, sizeof(*changes));
    size_t n_changes = 0;
    if (!changes)
        return ERR_NOMEM;
    for (size_t i = 0; i < n; i++)
        if (items[i].is_override)
            changes[n_changes++] =
                (struct change){utc_of(zones, &items[i].recurrence_id), &items[i]};
    qsort(changes, n_changes, sizeof(*changes), by_instance);
    for (size_t i = 0; i < n_changes; i++)
        if (i == 0 || changes[i].instance != changes[i - 1].instance)
            emit_single(zones, window, changes[i].item, list);
    free(changes);
    return 0;
}

int ics_expand(struct ics_zones *zones, const struct ics_window *window,
    const struct ics_item *items, size_t n, struct event_list *list, size_t *cut)
{
    for (size_t i = 0; i < n; i++) {
        if (!items[i].broken)
            continue;
        event_list_keep(list, items[i].uid);
        return 0;
    }
    const struct ics_item *master = find_master(items, n);
    if (master && master->cancelled)
        return 0;
    if (master && !ics_item_recurs(master)) {
        emit_single(zones, window, master, list);
    } else if (master) {
        struct series s = {
            .zones = zones, .window = window, .master = master, .list = list, .cut = cut};
        int err = expand_series(&s, items, n);
        if (err)
            return err;
    }
    return emit_changed(zones, window, items, n, list);
}
