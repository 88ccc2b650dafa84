/*
 * A definitions file from outside. What is refused says at least one fault, each with
 * a place inside the text; what is taken compiles again from its stored form.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "scheduler/definitions.h"
#include "scheduler/schedule_plan.h"

#define MAX_LEN 16384
#define NOW     INT64_C(1795377600) /* 2026-11-22T20:00:00Z */
#define DAY_MS  (INT64_C(86400) * 1000)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(int truth)
{
    if (!truth)
        abort();
}

static const char *environment(const char *name)
{
    return strcmp(name, "A") == 0 ? "*" : NULL;
}

/* "f:LINE:COLUMN: …", or "f: line …" for what is no JSON. */
static void check_faults(const char *faults, const char *text)
{
    long lines = 1;

    must(*faults != '\0');
    for (const char *p = text; *p; p++)
        lines += *p == '\n';
    for (const char *end; *faults; faults = end + 1) {
        end = strchr(faults, '\n');
        must(end != NULL);
        if (strncmp(faults, "f:", 2) == 0 && faults[2] != ' ') {
            char *rest;
            long line = strtol(faults + 2, &rest, 10);
            must(line >= 1 && line <= lines && *rest == ':');
            must(strtol(rest + 1, NULL, 10) >= 1);
        }
    }
}

static void check_schedule(const json_t *row, struct civil_zones *zones)
{
    _cleanup_(freep) char *definition = json_dumps(json_object_get(row, "definition"), 0);
    _cleanup_(schedule_rule_freep) struct schedule_rule *rule = NULL;
    struct schedule_plan plan;

    must(definition != NULL);
    must(schedule_rule_from_text(
             json_string_value(json_object_get(row, "key")), definition, zones, NULL, &rule) == 0);
    schedule_plan_make(rule, NOW, NOW * 1000 + 3 * DAY_MS, &plan);
    must(plan.accounted >= NOW && (plan.ends || plan.next.at > plan.accounted));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct civil_zones *zones;
    _cleanup_(buf_release) struct buf faults = BUF_INIT((size_t)1 << 20);
    _cleanup_(definitions_freep) struct definitions *d = NULL;
    struct definitions_source source = {"f", NULL, environment, NOW, false};

    if (size > MAX_LEN)
        return 0;
    if (!zones)
        must(civil_zones_new(NULL, &zones) == 0);
    source.zones = zones;
    _cleanup_(freep) char *text = strndup((const char *)data, size);
    must(text != NULL);
    /* No holiday file is opened: a fuzzer must not read where it likes. */
    if (strstr(text, "holidays"))
        return 0;
    if (definitions_parse(&source, text, strlen(text), &faults, &d) != 0) {
        must(d == NULL);
        check_faults(buf_str(&faults), text);
        return 0;
    }
    for (size_t i = 0; i < json_array_size(d->schedules); i++)
        check_schedule(json_array_get(d->schedules, i), zones);
    return 0;
}
