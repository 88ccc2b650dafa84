#include "base/twilio_status.h"

#include <stddef.h>
#include <string.h>

struct status {
    const char *name;
    const char *report;
};

static const struct status messages[] = {
    {"accepted", "waiting"},
    {"scheduled", "waiting"},
    {"queued", "waiting"},
    {"sending", "waiting"},
    {"sent", "waiting"},
    {"delivered", "delivered"},
    {"read", "delivered"},
    {"partially_delivered", "delivered"},
    {"undelivered", "undelivered"},
    {"failed", "undelivered"},
    {"canceled", "undelivered"},
    {NULL, NULL},
};

static const struct status calls[] = {
    {"queued", "waiting"},
    {"initiated", "waiting"}, /* of callbacks alone */
    {"ringing", "waiting"},
    {"in-progress", "waiting"},
    {"completed", "answered"},
    {"busy", "unanswered"},
    {"no-answer", "unanswered"},
    {"failed", "unanswered"},
    {"canceled", "unanswered"},
    {NULL, NULL},
};

const char *twilio_status_report(enum twilio_resource resource, const char *status)
{
    const struct status *at = resource == TWILIO_MESSAGE ? messages : calls;

    while (at->name && strcmp(at->name, status) != 0)
        at++;
    return at->report;
}

bool twilio_is_machine(const char *answered_by)
{
    return answered_by && (strncmp(answered_by, "machine", strlen("machine")) == 0 ||
                              strcmp(answered_by, "fax") == 0);
}
