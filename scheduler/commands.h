/*
 * What `scheduler` does for a person and then ends: --check, --preview, --diff and
 * --next.
 */
#ifndef TOCSIN_SCHEDULER_COMMANDS_H
#define TOCSIN_SCHEDULER_COMMANDS_H

/* Lines for --help. */
extern const char commands_usage[];

/* Returns -1 when the arguments ask for none of them, else the exit code: 0, 64 (usage), 70, 75
 * (--diff: no database), 78 (faults; each is told of on standard error). */
int commands_run(int argc, char **argv);

#endif
