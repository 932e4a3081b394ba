#include "failures.h"

#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static pthread_mutex_t speaking = PTHREAD_MUTEX_INITIALIZER; /* never unlocked: the first failure is the cause */

void fail(int status, const char *format, ...) {
    pthread_mutex_lock(&speaking);
    va_list arguments;
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
    fflush(stderr);
    _exit(status);
}

void fail_on_disk(const char *what) {
    int error = errno;
    if (error == ENOSPC || error == EDQUOT || error == EFBIG)
        fail(EXIT_DISK_FULL, "the disk is full: %s: %s", what, strerror(error));
    fail(EXIT_FAILURE, "%s: %s", what, strerror(error));
}

void *allocate(size_t bytes) {
    void *made = calloc(1, bytes ? bytes : 1);
    if (!made)
        fail(EXIT_MEMORY, "out of memory: %zu bytes more were not given", bytes);
    return made;
}

void *resize(void *old, size_t bytes) {
    void *made = realloc(old, bytes ? bytes : 1);
    if (!made)
        fail(EXIT_MEMORY, "out of memory: %zu bytes were not given", bytes);
    return made;
}
