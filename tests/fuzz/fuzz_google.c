/* Any bytes as answers of Google's: no crash, and well-formed JSON or an error. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "worker-calendar/google_api.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void read_page(const char *text, size_t size)
{
    static struct civil_zones *civil; /* reading zones is not what is tried */
    const struct civil_zone *zone = NULL;
    struct event_list list;
    struct google_page page = {0};
    struct buf fault = BUF_INIT(1024);
    event_list_init(&list);
    if ((civil || civil_zones_new(NULL, &civil) == 0) &&
        civil_zones_get(civil, "Europe/Berlin", &zone) == 0 &&
        google_page_read(text, size, civil, zone, &list, &fault, &page) == 0) {
        json_t *events = json_loads(event_list_json(&list), 0, NULL);
        if (!events)
            abort();
        json_decref(events);
    }
    google_page_release(&page);
    event_list_release(&list);
    buf_release(&fault);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *text = (const char *)data;
    struct buf out = BUF_INIT(1 << 16);
    struct failure f;
    int64_t expires_ms;
    failure_clear(&f);
    read_page(text, size);
    (void)google_events_verdict(403, text, size, true, &f);
    (void)google_token_read(200, text, size, &out, &expires_ms, &f);
    (void)google_token_read(400, text, size, &out, &expires_ms, &f);
    if (google_refresh_body(text, size, &out))
        buf_reset(&out);
    buf_release(&out);
    return 0;
}
