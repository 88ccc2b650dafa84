#include "worker-calendar/config.h"

#define OFFSET(field) offsetof(struct calendar_config, field)
#define SECOND_MS     INT64_C(1000)
#define MINUTE_MS     (60 * SECOND_MS)
#define HOUR_MS       (60 * MINUTE_MS)
#define DAY_MS        (24 * HOUR_MS)

#define DURATION(name, field, value, least, most, text)                                            \
    {                                                                                              \
        .key = (name), .type = CONFIG_DURATION, .offset = OFFSET(field), .fallback = (value),      \
        .min = (least), .max = (most), .help = (text)                                              \
    }

const struct config_key calendar_config_keys[CALENDAR_CONFIG_N_KEYS] = {
    {.key = "CALENDAR_IN_FLIGHT",
        .type = CONFIG_INT,
        .offset = OFFSET(in_flight),
        .fallback = "64",
        .min = 1,
        .max = 1000,
        .help = "Calendars that this process syncs at a time."},
    DURATION("CALENDAR_SYNC_INTERVAL", interval_ms, "55s", SECOND_MS, DAY_MS,
        "How long after a sync began the next one is due; a little less than the tick's minute."),
    DURATION("CALENDAR_PLAN_HORIZON", horizon_ms, "24h", HOUR_MS, 7 * DAY_MS,
        "How long before its start a meeting becomes an incident."),
    DURATION("CALENDAR_WINDOW", window_ms, "35d", 2 * DAY_MS, 90 * DAY_MS,
        "How far ahead a full sync reads."),
    DURATION("CALENDAR_WINDOW_MIN", window_min_ms, "28d", DAY_MS, 89 * DAY_MS,
        "When less than this is left of the window, the next sync is a full one."),
    {.key = "CALENDAR_MAX_BODY",
        .type = CONFIG_SIZE,
        .offset = OFFSET(max_body),
        .fallback = "10M",
        .min = 65536,
        .max = INT64_C(64) << 20,
        .help = "The largest calendar, or page of one, that is read."},
    DURATION("CALENDAR_CONNECT_TIMEOUT", connect_ms, "5s", 100, MINUTE_MS,
        "How long a connection to a provider may take."),
    DURATION("CALENDAR_FETCH_TIMEOUT", fetch_ms, "20s", 100, 5 * MINUTE_MS,
        "How long one request to a provider may take, redirects and body included."),
    DURATION("CALENDAR_PARSE_TIMEOUT", parse_ms, "20s", 100, 5 * MINUTE_MS,
        "How long the parsing of one calendar may take, in turns with everything else."),
    DURATION("CALENDAR_DB_TIMEOUT", db_ms, "30s", 100, 5 * MINUTE_MS,
        "How long one statement of a sync may take."),
    DURATION("CALENDAR_SYNC_DEADLINE", sync_ms, "5m", SECOND_MS, HOUR_MS,
        "How long a whole sync may take; then its lock is stale and another process may claim it."),
    DURATION("CALENDAR_BACKOFF_FIRST", backoff_first_ms, "60s", SECOND_MS, HOUR_MS,
        "How long a calendar waits after its first failure; doubled by each further one."),
    DURATION("CALENDAR_BACKOFF_MAX", backoff_max_ms, "1h", SECOND_MS, DAY_MS,
        "The longest that a failing calendar waits, and how long one does that cannot pass."),
    DURATION("CALENDAR_FULL_SYNC_SPREAD", full_spread_ms, "30m", 0, DAY_MS,
        "Over how long a full sync of every calendar is spread."),
    {.key = "CALENDAR_ALLOW_PRIVATE",
        .type = CONFIG_BOOL,
        .offset = OFFSET(allow_private),
        .fallback = "false",
        .help =
            "Whether calendars may be fetched from loopback, private and link-local addresses."},
    {.key = "CALENDAR_FILE_DIR",
        .type = CONFIG_STRING,
        .offset = OFFSET(file_dir),
        .help = "The folder below which calendar files may lie; without it no file is read."},
    {.key = "GOOGLE_API_URL",
        .type = CONFIG_URL,
        .offset = OFFSET(google_api_url),
        .fallback = "https://www.googleapis.com/calendar/v3",
        .help = "The base address of the Google Calendar API."},
    {.key = "GOOGLE_TOKEN_URL",
        .type = CONFIG_URL,
        .offset = OFFSET(google_token_url),
        .fallback = "https://oauth2.googleapis.com/token",
        .help = "Where a refresh token is exchanged for an access token."},
};

void calendar_config_check(const void *config, struct buf *faults)
{
    const struct calendar_config *c = config;
    if (c->window_min_ms >= c->window_ms)
        buf_add_str(faults, "CALENDAR_WINDOW_MIN must be below CALENDAR_WINDOW\n");
    if (c->backoff_first_ms > c->backoff_max_ms)
        buf_add_str(faults, "CALENDAR_BACKOFF_FIRST must not be above CALENDAR_BACKOFF_MAX\n");
    if (c->horizon_ms > c->window_min_ms)
        buf_add_str(faults, "CALENDAR_PLAN_HORIZON must not be above CALENDAR_WINDOW_MIN\n");
    if (c->sync_ms < c->fetch_ms + c->db_ms)
        buf_add_str(faults, "CALENDAR_SYNC_DEADLINE must not be below CALENDAR_FETCH_TIMEOUT and "
                            "CALENDAR_DB_TIMEOUT together\n");
    if (c->file_dir && c->file_dir[0] != '/')
        buf_add_str(faults, "CALENDAR_FILE_DIR must be an absolute path\n");
}
