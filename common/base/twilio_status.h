/*
 * What Twilio says of a message or a call, in its answers and in its callbacks.
 */
#ifndef TOCSIN_BASE_TWILIO_STATUS_H
#define TOCSIN_BASE_TWILIO_STATUS_H

#include <stdbool.h>

enum twilio_resource { TWILIO_MESSAGE, TWILIO_CALL };

/* What a status comes to, as notification_report() takes it: "waiting", "delivered", "undelivered",
 * "answered", "unanswered"; NULL for a status that is not Twilio's. Source: message_enum_status and
 * call_enum_status of Twilio's OpenAPI description (github.com/twilio/twilio-oai). */
const char *twilio_status_report(enum twilio_resource resource, const char *status);

/* Whether AnsweredBy (NULL: not said) names a voice mail or a fax: "machine_start",
 * "machine_end_beep", …, in older calls "machine". Source: docs/voice/answering-machine-detection.
 */
bool twilio_is_machine(const char *answered_by);

#endif
