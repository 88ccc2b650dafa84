/*
 * Locals that clean up after themselves: `_cleanup_(freep) char *s = NULL;`.
 * jansson brings json_decrefp() for `_cleanup_(json_decrefp) json_t *j = NULL;`.
 */
#ifndef TOCSIN_BASE_CLEANUP_H
#define TOCSIN_BASE_CLEANUP_H

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/buf.h"

#define _cleanup_(fn) __attribute__((cleanup(fn)))

static inline void freep(void *p)
{
    free(*(void **)p);
}

static inline void fclosep(FILE **f)
{
    if (*f)
        (void)fclose(*f);
}

#endif
