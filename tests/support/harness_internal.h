/*
 * What the parts of the harness share.
 */
#ifndef TOCSIN_TESTS_HARNESS_INTERNAL_H
#define TOCSIN_TESTS_HARNESS_INTERNAL_H

#include <stddef.h>
#include <sys/types.h>

#include "harness.h"

#define HARNESS_CONNS_MAX 64

struct harness_text {
    struct harness_text *next;
    char text[];
};

struct harness_proc {
    struct harness *h;
    struct harness_proc *next;
    char *name;
    pid_t pid;
    int out; /* a file in memory: writing to it never blocks the process */
    bool reaped;
    int code;
    char *log;
};

struct harness {
    char *root;    /* of the checkout */
    char *bin;     /* $BUILD/bin */
    char *server;  /* DSN of the cluster, without database */
    char *name;    /* of the database */
    char *dir;     /* of the test's files */
    char *cluster; /* STATE of a PostgreSQL of its own, or NULL */
    PGconn *maintenance;
    PGconn *conn;
    PGconn *conns[HARNESS_CONNS_MAX];
    struct harness_proc *procs;
    struct harness_text *texts;
    void (*on_wait)(void *arg);
    void *on_wait_arg;
};

/* Prints the logs of every process, then fails the test. */
void harness_fail(struct harness *h, const char *fmt, ...) PRINTF_LIKE(2, 3)
    __attribute__((noreturn));
/* Never NULL. */
char *harness_format(const char *fmt, ...) PRINTF_LIKE(1, 2);
/* Keeps a copy until the test ends. */
const char *harness_keep(struct harness *h, const char *text);
/* One turn of a wait: at most 10 ms. */
void harness_turn(struct harness *h);
/* Ends and reaps every process; how many a sanitizer stopped. */
int harness_procs_release(struct harness *h);

/* The clone: false, with the reason printed, when it cannot be had. */
bool harness_clone(struct harness *h);
void harness_drop(struct harness *h);

#endif
