/*
 * What a cron expression says of one minute, item by item of its text.
 */
#ifndef TOCSIN_TESTS_CRON_ORACLE_H
#define TOCSIN_TESTS_CRON_ORACLE_H

#include <stdbool.h>
#include <stdint.h>

#define CRON_ORACLE_FIELDS  6
#define CRON_ORACLE_ITEMS   64
#define CRON_ORACLE_MINUTES 1440 /* of a day */

struct cron_oracle {
    char *text; /* the items lie in it */
    const char *items[CRON_ORACLE_FIELDS][CRON_ORACLE_ITEMS];
    int n_items[CRON_ORACLE_FIELDS];
    bool star[CRON_ORACLE_FIELDS]; /* begins with * or ? */
    bool fixed;                    /* neither hours nor minutes are wild */
    bool seconds[60];
    bool minutes[CRON_ORACLE_MINUTES];
    int64_t day; /* asked for last */
    bool day_named;
};

/* Fails the test where it cannot read it. */
void cron_oracle_init(struct cron_oracle *o, const char *cron);
void cron_oracle_release(struct cron_oracle *o);

/* Whether the minute that begins with a local second matches; `o->seconds` says which of its
 * seconds do. */
bool cron_oracle_names(struct cron_oracle *o, int64_t local);

/* 0 Sunday … 6 by the name that *at begins with, which is passed over. */
int cron_oracle_take_weekday(const char **at);

#endif
