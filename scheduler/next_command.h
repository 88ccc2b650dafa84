/*
 * `scheduler --next EXPR [--zone Z] [--from T] [-n N] [--dst-gap P] [--dst-overlap P]
 *  [--window W]`: the next runs of an expression, without a database.
 */
#ifndef TOCSIN_SCHEDULER_NEXT_COMMAND_H
#define TOCSIN_SCHEDULER_NEXT_COMMAND_H

#include "base/buf.h"
#include "scheduler/slot_spec.h"

/* Returns -1 when the arguments do not ask for it, else the exit code: 0, 64 (usage), 78 (a
 * fault of the expression or the zone). Prints `UTC-instant local-time-with-offset
 * [gap|overlap]`, one run a line, on standard output; faults on standard error. */
int next_command(int argc, char **argv);

/* Adds the line that it prints for a slot. */
void next_command_add_slot(struct buf *line, const struct slot *slot);

#endif
