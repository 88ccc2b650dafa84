/*
 * The configuration of worker-escalation: which providers it may use, and how hard.
 */
#ifndef TOCSIN_WORKER_ESCALATION_CONFIG_H
#define TOCSIN_WORKER_ESCALATION_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/config.h"

struct reach_config {
    char *twilio_url;
    char *twilio_account_sid;
    char *twilio_auth_token;
    char *twilio_from;
    char *twilio_whatsapp_from;
    char *slack_url;
    char *slack_token;
    char *vapi_url;
    char *vapi_api_key;
    char *vapi_assistant_id;
    char *vapi_phone_number_id;
    char *smtp_url;
    char *smtp_user;
    char *smtp_password;
    char *smtp_from;
    char *smtp_ca_file;
    bool smtp_allow_plain;
    char *public_url;
    char *link_secret;
    char *dead_man_url;
    char *webhook_secret;
    bool bundle_messages;
    bool health_watch;
    bool webhook_allow_private;
    bool http_job_allow_private;
    int64_t max_in_flight;
    int64_t send_timeout_ms;
};

#define REACH_CONFIG_N_KEYS 27
extern const struct config_key reach_config_keys[REACH_CONFIG_N_KEYS];

/* What single keys cannot say: names that must be set together. One line a fault. */
void reach_config_check(const void *config, struct buf *faults);

#endif
