/*
 * Environment variables in the strings of the definitions: ${NAME} and
 * ${NAME:-default}; `$$` stands for one `$`. A variable that is empty counts as
 * not set. What it stands for is text, never JSON, and is not looked into again.
 */
#ifndef TOCSIN_SCHEDULER_DEFINITIONS_ENV_H
#define TOCSIN_SCHEDULER_DEFINITIONS_ENV_H

#include "base/buf.h"
#include "base/err.h"

/* The value of a variable, or NULL. */
typedef const char *definitions_env_fn(const char *name);

/* Appends `text` with its variables put in. ERR_INVALID with a reason in `fault`:
 * a variable that is not set and has no default, or a `${` that is not closed. */
MUST_CHECK int definitions_env_expand(
    const char *text, definitions_env_fn *env, struct buf *out, struct buf *fault);

#endif
