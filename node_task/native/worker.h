/* One thread's counting: raw tokens, the words they come to, and the runs that memory had no room for. */
#ifndef WORKER_H
#define WORKER_H

#include "runs.h"
#include "table.h"
#include "words.h"

enum { WAITING = 32 }; /* tokens whose slots are being fetched from memory while the next ones are read */

typedef struct {
    const Rules *rules;
    const char *directory; /* for temporary files */
    size_t partitions;     /* of the words, by hash: as many as threads, so that these merge side by side */
    Table raw;             /* tokens between ASCII white space */
    Table *words;          /* one by partition */
    Run *runs;
    size_t runs_used;
    uint64_t spilled; /* bytes */
    uint64_t bytes, overlong;
    uint8_t *scratch;
    Key waiting[WAITING];
    size_t waiting_used;
} Worker;

/* The limits are for the raw tokens and, all partitions together, for the words. */
void worker_make(Worker *worker, const Rules *rules, size_t partitions, size_t raw_bytes, size_t words_bytes,
                 const char *directory);
/* Count a token that lies in a buffer which can be read 16 bytes on; the bytes must stay until count_waiting. */
void count_token(Worker *worker, const uint8_t *bytes, size_t size);
void count_waiting(Worker *worker);
void add_word(void *worker, const uint8_t *word, size_t size, uint64_t count); /* a TakeWord */
/* Turn all raw tokens into words, and give their memory back. */
void finish_tokens(Worker *worker);

#endif
