/* Cuts a file, a part of it, or a pipe into tokens. */
#ifndef INPUT_H
#define INPUT_H

#include <stdint.h>

#include "worker.h"

typedef struct {
    int file;
    const char *name;
    bool seekable;      /* a regular file: several threads may read their own parts */
    size_t block_bytes; /* read at once */
} Input;

/* Count the tokens that begin in the part [start, end) of the input. Each byte of the file is in one part. */
void count_part(Worker *worker, const Input *input, uint64_t start, uint64_t end);
/* Add rows "word TAB count NEWLINE"; a row "TAB times NEWLINE" says how often to count those that follow. */
void add_rows(Worker *worker, const Input *input);

#endif
