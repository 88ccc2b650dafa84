/* Any bytes as a calendar's text: no crash, no endless loop, and well-formed JSON or an error. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "base/buf.h"
#include "base/civil_time.h"
#include "base/cleanup.h"
#include "worker-calendar/event_list.h"
#include "worker-calendar/ics_read.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const addresses[] = {"owner@example.org", NULL};
    static struct civil_zones *civil; /* reading zones is not what is tried */
    struct ics_read *r = NULL;
    struct event_list list;
    struct buf fault = BUF_INIT(1024);
    event_list_init(&list);
    if (!civil && civil_zones_new(NULL, &civil))
        return 0;
    struct ics_read_options options = {
        .window = {INT64_C(1772323200), INT64_C(1775433600)}, /* 2026-03-01 to 2026-04-06 */
        .civil = civil,
        .user_zone = "Europe/Berlin",
        .addresses = addresses,
    };
    if (ics_read_new((const char *)data, size, &options, &list, &r) == 0) {
        int more;
        do
            more = ics_read_step(r, 100000, &fault);
        while (more > 0);
        if (more == 0 && event_list_err(&list) == 0) {
            json_t *events = json_loads(event_list_json(&list), 0, NULL);
            if (!events)
                abort();
            json_decref(events);
        }
    }
    ics_read_free(r);
    event_list_release(&list);
    buf_release(&fault);
    return 0;
}
