/*
 * The scripted provider as a program, for benches and for tests of real processes.
 *
 *   fake-provider [--port N] [--twilio SID:TOKEN] [--slack TOKEN] [--vapi TOKEN]
 *                 [--webhook PATH]… [--delay-ms N]
 *
 * Prints its address on stdout. SIGTERM or SIGINT ends it: it then prints every delivery
 * as one JSON line, and last {"requests":…,"deliveries":…,"unexpected":…}. Times are of
 * CLOCK_MONOTONIC, which all processes of a host share. Exit code 1 when anything
 * unexpected came, which stderr then tells.
 */
#include <getopt.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>

#include <jansson.h>

#include "base/config.h"
#include "tests/fake/fake_provider.h"

#define FAULTS_MAX ((size_t)1 << 20)

enum option_id { OPT_PORT = 1, OPT_TWILIO, OPT_SLACK, OPT_VAPI, OPT_WEBHOOK, OPT_DELAY };

static const struct option options[] = {
    {"port", required_argument, NULL, OPT_PORT},
    {"twilio", required_argument, NULL, OPT_TWILIO},
    {"slack", required_argument, NULL, OPT_SLACK},
    {"vapi", required_argument, NULL, OPT_VAPI},
    {"webhook", required_argument, NULL, OPT_WEBHOOK},
    {"delay-ms", required_argument, NULL, OPT_DELAY},
    {NULL, 0, NULL, 0},
};

/* "SID:TOKEN" */
static int play_twilio(struct fake_provider *p, const char *text)
{
    const char *colon = strchr(text, ':');

    if (!colon)
        return ERR_INVALID;
    char *sid = strndup(text, (size_t)(colon - text));
    int err = sid ? fake_twilio(p, sid, colon + 1) : ERR_NOMEM;
    free(sid);
    return err;
}

static int delay(struct fake_provider *p, const char *text)
{
    int64_t ms;
    int err = config_parse_int(text, &ms);

    if (err < 0)
        return err;
    return fake_expect(p, &(struct fake_rule){.accept = true, .delay_ms = ms});
}

static int apply(struct fake_provider *p, int option, const char *value)
{
    switch ((enum option_id)option) {
    case OPT_PORT: /* read before there is a provider */
        return 0;
    case OPT_TWILIO:
        return play_twilio(p, value);
    case OPT_SLACK:
        return fake_slack(p, value);
    case OPT_VAPI:
        return fake_vapi(p, value);
    case OPT_WEBHOOK:
        return fake_webhook(p, value);
    case OPT_DELAY:
        return delay(p, value);
    }
    return ERR_INVALID;
}

static int start(int argc, char **argv, struct fake_provider **ret_provider)
{
    int64_t port = 0;
    int option, err = 0;

    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1)
        if (option == '?' || (option == OPT_PORT && config_parse_int(optarg, &port) < 0))
            return ERR_INVALID;
    if (optind != argc || port < 0 || port > 65535)
        return ERR_INVALID;
    err = fake_provider_new((int)port, ret_provider);
    optind = 1;
    while (err == 0 && (option = getopt_long(argc, argv, "", options, NULL)) != -1)
        err = apply(*ret_provider, option, optarg);
    return err;
}

static void print_json(json_t *json)
{
    char *text = json ? json_dumps(json, JSON_COMPACT) : NULL;

    if (text)
        puts(text);
    free(text);
    json_decref(json);
}

static void print_all(struct fake_provider *p)
{
    size_t n = fake_delivery_count(p), requests = fake_request_count(p), unexpected = 0;

    for (size_t i = 0; i < n; i++) {
        const struct fake_delivery *d = fake_delivery_at(p, i);
        print_json(json_pack("{s:s, s:s, s:s, s:s, s:s, s:I}", "kind", d->kind, "id", d->id, "to",
            d->to, "text", d->text, "callback", d->callback, "at_ms", (json_int_t)d->at_ms));
    }
    for (size_t i = 0; i < requests; i++)
        unexpected += fake_request_at(p, i)->expected ? 0 : 1;
    print_json(json_pack("{s:I, s:I, s:I}", "requests", (json_int_t)requests, "deliveries",
        (json_int_t)n, "unexpected", (json_int_t)unexpected));
}

int main(int argc, char **argv)
{
    struct fake_provider *p = NULL;
    struct buf faults = BUF_INIT(FAULTS_MAX);
    sigset_t ends;
    int signal_number;

    /* Before the provider's thread is there, which inherits the mask. */
    sigemptyset(&ends);
    sigaddset(&ends, SIGTERM);
    sigaddset(&ends, SIGINT);
    pthread_sigmask(SIG_BLOCK, &ends, NULL);

    int err = start(argc, argv, &p);
    if (err < 0) {
        fprintf(stderr, "fake-provider: %s\n", err_name(err));
        fake_provider_free(p);
        return 2;
    }
    puts(fake_provider_url(p));
    fflush(stdout);
    sigwait(&ends, &signal_number);
    print_all(p);
    bool fine = fake_provider_verify(p, &faults);
    if (!fine)
        fputs(buf_str(&faults), stderr);
    buf_release(&faults);
    fake_provider_free(p);
    return fine ? 0 : 1;
}
