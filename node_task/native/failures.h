/* How the counter ends when it cannot go on: the exit statuses of node_task/failures.py. */
#ifndef FAILURES_H
#define FAILURES_H

#include <stddef.h>

enum { EXIT_ARGUMENTS = 2, EXIT_INPUT = 3, EXIT_DISK_FULL = 6, EXIT_MEMORY = 7 };

/* Say one line on stderr and end the process, whichever thread calls. */
_Noreturn void fail(int status, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The same for what errno tells about a temporary file: a full disk has a status of its own. */
_Noreturn void fail_on_disk(const char *what);

void *allocate(size_t bytes);          /* zeroed; fails with EXIT_MEMORY, never returns NULL */
void *resize(void *old, size_t bytes); /* likewise */

#endif
