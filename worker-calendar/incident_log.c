#include "worker-calendar/incident_log.h"

#include "base/cleanup.h"
#include "base/json_read.h"
#include "base/log.h"

void incident_log(const struct db_result *r)
{
    const char *text = db_text(r, 0, "incidents");
    _cleanup_(json_decrefp) json_t *incidents = text ? json_loads(text, 0, NULL) : NULL;
    size_t named = json_array_size(incidents);

    for (size_t i = 0; i < named; i++) {
        const json_t *incident = json_array_get(incidents, i);
        const char *title = json_read_str(incident, "title");
        const char *starts_at = json_read_str(incident, "starts_at");
        int64_t id = json_read_int(incident, "id", 0);
        log_info(
            F(F_INT("incident_id", id), F_INT("user_id", json_read_int(incident, "user_id", 0))),
            "Incident %lld opened: \"%s\" at %s", (long long)id, title ? title : "",
            starts_at ? starts_at : "");
    }
    if (db_int(r, 0, "opened") > (int64_t)named)
        log_info(F_NONE, "%lld more incidents opened",
            (long long)db_int(r, 0, "opened") - (long long)named);
}
