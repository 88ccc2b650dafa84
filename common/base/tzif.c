#include "base/tzif.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/civil_time.h"
#include "base/tz_rule.h"

#define HEADER_BYTES 44
#define TYPE_BYTES   6
/* RFC 8536 section 3.2: what an offset should lie between. */
#define OFFSET_MIN (-89999)
#define OFFSET_MAX 93599
/* zic writes no earlier instant; sums with offsets stay far from overflow. */
#define INSTANT_MIN (-(INT64_C(1) << 59))
#define INSTANT_MAX INT64_C(253402300800) /* the year 10000 */
/* The latest change that a file may list, in the year 5000; what comes later is its rule's. */
#define LISTED_MAX INT64_C(95617584000)
/* The calendar and its weekdays repeat after 400 years. */
#define CYCLE_YEARS 400
#define CYCLE_S     (INT64_C(146097) * CIVIL_DAY_S)
#define RULE_YEARS  (CYCLE_YEARS + 5)
#define RULE_FROM   1900 /* where a file has a rule and no transition */
/* No rule begins earlier: a billion years ago, which still is a year that an int counts. */
#define RULE_EARLIEST (-(INT64_C(1) << 55))

struct step {
    int64_t at;        /* the offset holds from here; INT64_MIN in the first */
    int64_t wall_high; /* see struct tzif_span */
    int32_t offset;
};

struct tzif {
    int64_t repeat_from; /* the steps of the 400 years from here repeat; INT64_MAX: none do */
    size_t n;
    struct step steps[];
};

struct reader {
    const uint8_t *at;
    const uint8_t *end;
};

/* The counts of a header, in the file's order. */
struct counts {
    uint32_t isut, isstd, leap, time, type, chars;
};

/* One data block, as it lies in the file. */
struct block {
    const uint8_t *times;
    const uint8_t *indexes;
    const uint8_t *types;
    struct counts n;
    size_t time_bytes; /* 4 or 8 */
};

static uint64_t big_endian(const uint8_t *p, size_t n)
{
    uint64_t v = 0;

    while (n--)
        v = v << 8 | *p++;
    return v;
}

static int64_t block_time(const struct block *b, size_t i)
{
    const uint8_t *p = b->times + i * b->time_bytes;

    if (b->time_bytes == 4)
        return (int32_t)(uint32_t)big_endian(p, 4);
    return (int64_t)big_endian(p, 8);
}

static int32_t type_offset(const struct block *b, size_t i)
{
    return (int32_t)(uint32_t)big_endian(b->types + i * TYPE_BYTES, 4);
}

/* Reads a header; *ret_version is 0 for the first version. */
static int read_header(struct reader *r, struct counts *ret, uint8_t *ret_version)
{
    const uint8_t *p = r->at;

    if (r->end - r->at < HEADER_BYTES || memcmp(p, "TZif", 4) != 0)
        return ERR_INVALID;
    *ret_version = p[4];
    p += 20;
    *ret = (struct counts){
        .isut = (uint32_t)big_endian(p, 4),
        .isstd = (uint32_t)big_endian(p + 4, 4),
        .leap = (uint32_t)big_endian(p + 8, 4),
        .time = (uint32_t)big_endian(p + 12, 4),
        .type = (uint32_t)big_endian(p + 16, 4),
        .chars = (uint32_t)big_endian(p + 20, 4),
    };
    r->at += HEADER_BYTES;
    return 0;
}

static int read_block(
    struct reader *r, const struct counts *n, size_t time_bytes, struct block *ret)
{
    uint64_t left = (uint64_t)(r->end - r->at);
    uint64_t size = (uint64_t)n->time * (time_bytes + 1) + (uint64_t)n->type * TYPE_BYTES +
                    n->chars + (uint64_t)n->leap * (time_bytes + 4) + n->isstd + n->isut;

    if (size > left)
        return ERR_INVALID;
    ret->n = *n;
    ret->time_bytes = time_bytes;
    ret->times = r->at;
    ret->indexes = ret->times + n->time * time_bytes;
    ret->types = ret->indexes + n->time;
    r->at += size;
    return 0;
}

static int check_block(const struct block *b)
{
    if (b->n.leap > 0 || b->n.type == 0 || b->n.type > 256)
        return ERR_INVALID;
    for (size_t i = 0; i < b->n.type; i++)
        if (type_offset(b, i) < OFFSET_MIN || type_offset(b, i) > OFFSET_MAX)
            return ERR_INVALID;
    for (size_t i = 0; i < b->n.time; i++) {
        int64_t at = block_time(b, i);

        if (at < INSTANT_MIN || at > LISTED_MAX || b->indexes[i] >= b->n.type)
            return ERR_INVALID;
        if (i > 0 && at <= block_time(b, i - 1))
            return ERR_INVALID;
    }
    return 0;
}

/* "\n<TZ string>\n"; an empty string is no rule. */
static int read_footer(struct reader *r, bool *ret_present, struct tz_rule *ret_rule)
{
    const uint8_t *from = r->at + 1, *newline;

    if (r->at == r->end || *r->at != '\n')
        return ERR_INVALID;
    newline = memchr(from, '\n', (size_t)(r->end - from));
    if (!newline)
        return ERR_INVALID;
    *ret_present = newline > from;
    if (!*ret_present)
        return 0;
    return tz_rule_parse((const char *)from, (size_t)(newline - from), ret_rule);
}

/* Appends a step, or leaves it out where it changes nothing. */
static void add_step(struct tzif *tz, int64_t at, int32_t offset)
{
    struct step *last = &tz->steps[tz->n - 1];
    int64_t reached = at + last->offset;

    if (offset == last->offset)
        return;
    tz->steps[tz->n++] = (struct step){
        .at = at,
        .wall_high = reached > last->wall_high ? reached : last->wall_high,
        .offset = offset,
    };
}

static int year_of(int64_t utc)
{
    int year, month, day;

    civil_time_from_days(civil_time_day_of(utc), &year, &month, &day);
    return year;
}

struct change {
    int64_t at;
    int32_t offset;
    bool to_dst;
};

/* Where one year's summer time begins at the instant at which the last one's ends, there is no
 * winter between them. */
static int compare_changes(const void *a, const void *b)
{
    const struct change *x = a, *y = b;

    if (x->at != y->at)
        return x->at < y->at ? -1 : 1;
    return (int)x->to_dst - (int)y->to_dst;
}

/* Unrolls the rule from the last transition of the file. */
static int add_rule(struct tzif *tz, const struct tz_rule *rule, bool any, int64_t last)
{
    int year = any ? year_of(last > RULE_EARLIEST ? last : RULE_EARLIEST) - 1 : RULE_FROM;
    /* Changes may spill over into the neighbouring year by at most eight days. */
    int64_t end = (civil_time_days(year + RULE_YEARS - 1, 1, 1) + 9) * CIVIL_DAY_S;
    size_t n = 0, from = tz->n;
    struct change *changes = calloc(2 * RULE_YEARS, sizeof(*changes));

    if (!changes)
        return ERR_NOMEM;
    for (int i = 0; i < RULE_YEARS; i++) {
        changes[n++] = (struct change){tz_rule_dst_start(rule, year + i), rule->dst_offset, true};
        changes[n++] = (struct change){tz_rule_dst_end(rule, year + i), rule->std_offset, false};
    }
    qsort(changes, n, sizeof(*changes), compare_changes);
    for (size_t i = 0; i < n && changes[i].at < end; i++) {
        if (any && changes[i].at <= last)
            continue;
        if (i + 1 < n && changes[i + 1].at == changes[i].at)
            continue;
        add_step(tz, changes[i].at, changes[i].offset);
    }
    free(changes);
    if (tz->n > from + 1)
        tz->repeat_from = civil_time_days(year + 3, 1, 1) * CIVIL_DAY_S;
    return 0;
}

static int build(const struct block *b, const struct tz_rule *rule, struct tzif **ret_tzif)
{
    size_t room = 1 + b->n.time + (rule ? 2 * RULE_YEARS : 0);
    struct tzif *tz = malloc(sizeof(*tz) + room * sizeof(tz->steps[0]));
    int r = 0;

    if (!tz)
        return ERR_NOMEM;
    tz->repeat_from = INT64_MAX;
    tz->n = 1;
    tz->steps[0] = (struct step){INT64_MIN, INT64_MIN, type_offset(b, 0)};
    for (size_t i = 0; i < b->n.time; i++)
        add_step(tz, block_time(b, i), type_offset(b, b->indexes[i]));
    if (rule && rule->has_dst)
        r = add_rule(tz, rule, b->n.time > 0, b->n.time > 0 ? block_time(b, b->n.time - 1) : 0);
    if (r) {
        free(tz);
        return r;
    }
    *ret_tzif = tz;
    return 0;
}

int tzif_parse(const void *data, size_t len, struct tzif **ret_tzif)
{
    struct reader r = {data, (const uint8_t *)data + len};
    struct counts n;
    struct block block;
    struct tz_rule rule;
    bool has_rule = false;
    uint8_t version;

    if (len > TZIF_SIZE_MAX)
        return ERR_TOO_LARGE;
    if (read_header(&r, &n, &version) || read_block(&r, &n, 4, &block))
        return ERR_INVALID;
    if (version >= '2') {
        if (read_header(&r, &n, &version) || read_block(&r, &n, 8, &block) ||
            read_footer(&r, &has_rule, &rule))
            return ERR_INVALID;
    }
    if (check_block(&block))
        return ERR_INVALID;
    return build(&block, has_rule ? &rule : NULL, ret_tzif);
}

void tzif_free(struct tzif *tz)
{
    free(tz);
}

/* The last step at or before an instant. */
static size_t find_step(const struct tzif *tz, int64_t utc)
{
    size_t low = 0, high = tz->n;

    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;

        if (tz->steps[middle].at <= utc)
            low = middle;
        else
            high = middle;
    }
    return low;
}

void tzif_span_at(const struct tzif *tz, int64_t utc, struct tzif_span *ret_span)
{
    int64_t shift = 0;
    size_t i;

    if (utc > INSTANT_MAX)
        utc = INSTANT_MAX;
    if (utc >= tz->repeat_from)
        shift = (utc - tz->repeat_from) / CYCLE_S * CYCLE_S;
    i = find_step(tz, utc - shift);
    *ret_span = (struct tzif_span){
        .start = i > 0 ? tz->steps[i].at + shift : INT64_MIN,
        .end = i + 1 < tz->n ? tz->steps[i + 1].at + shift : INT64_MAX,
        .offset = tz->steps[i].offset,
        .wall_high = i > 0 ? tz->steps[i].wall_high + shift : INT64_MIN,
    };
}
