/*
 * The zones of civil_time.h: files found, read once, watched, and asked.
 */
#include "base/civil_time.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"

#define ZONES_DIR      "/usr/share/zoneinfo"
#define ZONE_NAME_MAX  64
#define ZONE_PATH_MAX  4096
#define OFFSET_REACH_S (INT64_C(26) * 3600) /* no offset is larger; see tzif.c */

/* What tells a replaced file from the one that was read. */
struct file_mark {
    dev_t dev;
    ino_t ino;
    off_t size;
    struct timespec changed;
};

struct civil_zone {
    struct civil_zone *next;
    char *path;
    const char *name; /* the end of path */
    struct file_mark mark;
    char *bytes; /* of the file, to see whether a new one says anything new */
    size_t len;
    struct tzif *rules;
};

struct civil_zones {
    char *dir;
    struct civil_zone *first;
};

int civil_zones_new(const char *dir, struct civil_zones **ret_zones)
{
    struct civil_zones *zones = calloc(1, sizeof(*zones));

    if (!zones)
        return ERR_NOMEM;
    if (!dir)
        dir = getenv("TZDIR");
    zones->dir = strdup(dir && *dir ? dir : ZONES_DIR);
    if (!zones->dir) {
        free(zones);
        return ERR_NOMEM;
    }
    *ret_zones = zones;
    return 0;
}

static void zone_free(struct civil_zone *zone)
{
    if (!zone)
        return;
    tzif_free(zone->rules);
    free(zone->bytes);
    free(zone->path);
    free(zone);
}

void civil_zones_free(struct civil_zones *zones)
{
    if (!zones)
        return;
    while (zones->first) {
        struct civil_zone *zone = zones->first;

        zones->first = zone->next;
        zone_free(zone);
    }
    free(zones->dir);
    free(zones);
}

static bool is_name(const char *name)
{
    size_t len = strlen(name);

    if (len == 0 || len > ZONE_NAME_MAX || name[0] == '/' || name[len - 1] == '/')
        return false;
    if (strstr(name, "..") || strstr(name, "//"))
        return false;
    for (size_t i = 0; i < len; i++) {
        char c = name[i];
        bool alnum = (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');

        if (!alnum && !strchr("_+-/.", c))
            return false;
    }
    return true;
}

static struct file_mark mark_of(const struct stat *st)
{
    return (struct file_mark){st->st_dev, st->st_ino, st->st_size, st->st_mtim};
}

static bool same_mark(const struct file_mark *a, const struct file_mark *b)
{
    return a->dev == b->dev && a->ino == b->ino && a->size == b->size &&
           a->changed.tv_sec == b->changed.tv_sec && a->changed.tv_nsec == b->changed.tv_nsec;
}

static void closep(int *fd)
{
    if (*fd >= 0)
        close(*fd);
}

/* Reads a regular file of at most TZIF_SIZE_MAX bytes. The caller frees. */
static int read_whole(
    const char *path, struct file_mark *ret_mark, char **ret_bytes, size_t *ret_len)
{
    _cleanup_(closep) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    _cleanup_(freep) char *bytes = NULL;
    struct stat st;
    size_t len = 0;

    if (fd < 0)
        return errno == ENOENT || errno == ENOTDIR ? ERR_NOT_FOUND : ERR_IO;
    if (fstat(fd, &st) != 0)
        return ERR_IO;
    if (!S_ISREG(st.st_mode) || st.st_size > TZIF_SIZE_MAX)
        return ERR_INVALID;
    bytes = malloc((size_t)st.st_size + 1);
    if (!bytes)
        return ERR_NOMEM;
    while (len < (size_t)st.st_size) {
        ssize_t n = read(fd, bytes + len, (size_t)st.st_size - len);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return ERR_IO;
        if (n == 0)
            break;
        len += (size_t)n;
    }
    *ret_mark = mark_of(&st);
    *ret_len = len;
    *ret_bytes = bytes;
    bytes = NULL;
    return 0;
}

static int zone_load(const char *dir, const char *name, struct civil_zone **ret_zone)
{
    struct civil_zone *zone = calloc(1, sizeof(*zone));
    struct buf path = BUF_INIT(ZONE_PATH_MAX);
    int r;

    if (!zone)
        return ERR_NOMEM;
    buf_addf(&path, "%s/%s", dir, name);
    r = buf_err(&path);
    zone->path = buf_steal(&path);
    if (!zone->path) {
        zone_free(zone);
        return r ? r : ERR_NOMEM;
    }
    zone->name = zone->path + strlen(zone->path) - strlen(name);
    r = read_whole(zone->path, &zone->mark, &zone->bytes, &zone->len);
    if (!r)
        r = tzif_parse(zone->bytes, zone->len, &zone->rules);
    if (r) {
        zone_free(zone);
        return r;
    }
    *ret_zone = zone;
    return 0;
}

int civil_zones_get(struct civil_zones *zones, const char *name, const struct civil_zone **ret_zone)
{
    struct civil_zone *zone;
    int r;

    if (!is_name(name))
        return ERR_INVALID;
    for (zone = zones->first; zone; zone = zone->next) {
        if (strcmp(zone->name, name) == 0) {
            *ret_zone = zone;
            return 0;
        }
    }
    r = zone_load(zones->dir, name, &zone);
    if (r)
        return r;
    zone->next = zones->first;
    zones->first = zone;
    *ret_zone = zone;
    return 0;
}

/* Whether the zone has new rules. */
static bool zone_refresh(struct civil_zone *zone)
{
    struct file_mark mark;
    struct stat st;
    struct tzif *rules;
    char *bytes;
    size_t len;

    if (stat(zone->path, &st) != 0)
        return false;
    mark = mark_of(&st);
    if (same_mark(&mark, &zone->mark) || read_whole(zone->path, &mark, &bytes, &len) != 0)
        return false;
    if (len == zone->len && memcmp(bytes, zone->bytes, len) == 0) {
        zone->mark = mark;
        free(bytes);
        return false;
    }
    if (tzif_parse(bytes, len, &rules) != 0) {
        free(bytes);
        return false;
    }
    tzif_free(zone->rules);
    free(zone->bytes);
    zone->rules = rules;
    zone->bytes = bytes;
    zone->len = len;
    zone->mark = mark;
    return true;
}

size_t civil_zones_refresh(
    struct civil_zones *zones, void (*changed)(void *ctx, const struct civil_zone *zone), void *ctx)
{
    size_t n = 0;

    for (struct civil_zone *zone = zones->first; zone; zone = zone->next) {
        if (!zone_refresh(zone))
            continue;
        n++;
        if (changed)
            changed(ctx, zone);
    }
    return n;
}

const char *civil_zone_name(const struct civil_zone *zone)
{
    return zone->name;
}

void civil_zone_span_at(const struct civil_zone *zone, int64_t utc, struct tzif_span *ret_span)
{
    tzif_span_at(zone->rules, utc, ret_span);
}

int32_t civil_zone_offset(const struct civil_zone *zone, int64_t utc)
{
    struct tzif_span span;

    tzif_span_at(zone->rules, utc, &span);
    return span.offset;
}

struct civil_time civil_time_from_utc(const struct civil_zone *zone, int64_t utc)
{
    return civil_time_from_local(utc + civil_zone_offset(zone, utc));
}

void civil_time_to_utc(const struct civil_zone *zone, int64_t local, struct civil_instants *ret)
{
    struct civil_instants found = {.kind = CIVIL_GAP};
    int64_t at = local - OFFSET_REACH_S;
    struct tzif_span span;
    int n = 0;

    do {
        int64_t utc;

        civil_zone_span_at(zone, at, &span);
        utc = local - span.offset;
        if (utc >= span.start && utc < span.end) {
            if (n++ == 0)
                found.first = utc;
            found.second = utc;
        } else if (n == 0 && utc < span.start && span.wall_high <= local) {
            break;
        }
        at = span.end;
    } while (at <= local + OFFSET_REACH_S);
    if (n == 0) {
        found.first = found.second = span.start;
        found.shift = (int32_t)(span.start + span.offset - span.wall_high);
    } else {
        found.kind = n == 1 ? CIVIL_UNIQUE : CIVIL_OVERLAP;
        found.shift = (int32_t)(found.second - found.first);
    }
    *ret = found;
}
