/* The most frequent of the words that come by, and how many come by. */
#ifndef TOP_H
#define TOP_H

#include "runs.h"

typedef struct {
    uint8_t *bytes;
    size_t size, room;
    uint64_t count;
} TopWord;

typedef struct {
    TopWord *words; /* a heap: the first is the one to go next */
    size_t used, wanted, room;
    uint64_t total, distinct;
    Writer *table; /* where all words go; NULL: nowhere */
} Top;

Top top_make(size_t wanted);
void top_add(void *top, const uint8_t *word, size_t size, uint64_t count); /* a TakeRow */
void top_join(Top *top, const Top *other);                                 /* of other words */
void top_sort(Top *top); /* by count descending, then word */

#endif
