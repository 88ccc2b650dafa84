#include "worker-escalation/gates.h"

#include "service/service.h"

size_t gates_on(unsigned flags, const char *ret_gates[GATES_MAX])
{
    size_t n = 0;

    if (flags & SERVICE_FLAG_ALERTS)
        ret_gates[n++] = "alerts";
    if (flags & SERVICE_FLAG_CHECKIN)
        ret_gates[n++] = "checkin";
    if (flags & SERVICE_FLAG_ESCALATION)
        ret_gates[n++] = "escalation";
    return n;
}
