/*
 * Every key that some executable knows, so that one file can configure them all and a slip of the
 * pen in it is still found. A test compares it with the tables.
 */
#include "service/service.h"

const char *const service_known_keys[] = {
    /* worker-calendar */
    "CALENDAR_IN_FLIGHT",
    "CALENDAR_SYNC_INTERVAL",
    "CALENDAR_PLAN_HORIZON",
    "CALENDAR_WINDOW",
    "CALENDAR_WINDOW_MIN",
    "CALENDAR_MAX_BODY",
    "CALENDAR_CONNECT_TIMEOUT",
    "CALENDAR_FETCH_TIMEOUT",
    "CALENDAR_PARSE_TIMEOUT",
    "CALENDAR_DB_TIMEOUT",
    "CALENDAR_SYNC_DEADLINE",
    "CALENDAR_BACKOFF_FIRST",
    "CALENDAR_BACKOFF_MAX",
    "CALENDAR_FULL_SYNC_SPREAD",
    "CALENDAR_ALLOW_PRIVATE",
    "CALENDAR_FILE_DIR",
    "GOOGLE_API_URL",
    "GOOGLE_TOKEN_URL",
    /* worker-cleanup */
    "CLEANUP_WEBHOOK_EVENT_AGE",
    "CLEANUP_WEBHOOK_DELIVERY_AGE",
    "CLEANUP_NOTIFICATION_AGE",
    "CLEANUP_EVENT_AGE",
    "CLEANUP_SLOT_AGE",
    "CLEANUP_DAEMON_AGE",
    "CLEANUP_RUN_AGE",
    "CLEANUP_PARTITION_DAYS",
    "CLEANUP_BATCH",
    /* worker-escalation */
    "TWILIO_API_URL",
    "TWILIO_ACCOUNT_SID",
    "TWILIO_AUTH_TOKEN",
    "TWILIO_FROM",
    "TWILIO_WHATSAPP_FROM",
    "PUBLIC_URL",
    "DEAD_MAN_URL",
    "WEBHOOK_SECRET",
    "WEBHOOK_ALLOW_PRIVATE",
    "HTTP_JOB_ALLOW_PRIVATE",
    "MAX_IN_FLIGHT",
    "SEND_TIMEOUT",
    /* scheduler */
    "SCHEDULES_FILE",
    NULL,
};
