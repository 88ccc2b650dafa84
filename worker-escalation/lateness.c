#include "worker-escalation/lateness.h"

#include <inttypes.h>
#include <stddef.h>

#include "base/buf.h"
#include "service/service.h"

static const int64_t bounds_ms[] = {
    10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10000, 30000, 60000, 300000};

static void count(struct lateness *l, const char *what, const char *channel, int64_t delta)
{
    struct buf name = BUF_INIT(256);

    buf_addf(&name, "lateness_ms_%s.%s", what, channel);
    if (buf_err(&name) == 0)
        service_metric_add(l->service, buf_str(&name), delta);
    buf_release(&name);
}

void lateness_add(struct lateness *l, const char *channel, int64_t lateness_ms)
{
    if (!l->service)
        return;
    for (size_t i = 0; i < sizeof bounds_ms / sizeof bounds_ms[0]; i++) {
        struct buf bound = BUF_INIT(64);

        if (lateness_ms > bounds_ms[i])
            continue;
        buf_addf(&bound, "le_%" PRId64, bounds_ms[i]);
        if (buf_err(&bound) == 0)
            count(l, buf_str(&bound), channel, 1);
        buf_release(&bound);
    }
    count(l, "sum", channel, lateness_ms);
    count(l, "count", channel, 1);
}
