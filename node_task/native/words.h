/* What a word is, beyond ASCII white space: the definition of node_task/words.py, in C. */
#ifndef WORDS_H
#define WORDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "table.h"

enum { CUT_WHITE_SPACE_BYTES = 2 }; /* how much of white space, which is three bytes at most, a block may end with */

/* How words are told apart, the same for all threads. */
typedef struct {
    size_t longest;        /* bytes of a word; what is longer is counted as overlong */
    uint64_t shortest;     /* characters */
    uint32_t *fold;        /* by code point: 0 or the place of its folded form in `folded`; NULL: keep case */
    uint8_t *folded;       /* forms: a byte of size, then the UTF-8 */
    Table *stop_words;     /* NULL: none */
} Rules;

void read_fold(Rules *rules, const char *path);       /* lines "CODE POINT<TAB>UTF-8", in ascending order */
void read_stop_words(Rules *rules, const char *path); /* lines of one word, as it would be counted */

/* How many of the bytes at `at` are one Unicode white space character, in ASCII or not; 0: it is none. */
size_t white_space_at(const uint8_t *at, const uint8_t *end);

typedef void TakeWord(void *taker, const uint8_t *word, size_t size, uint64_t count);

/* Split a token on Unicode white space and give away what is left of each piece after cleaning; `scratch` has
   scratch_bytes(rules). Returns how many of its pieces are overlong. */
uint64_t words_of(const Rules *rules, Bytes token, uint64_t count, uint8_t *scratch, TakeWord *take, void *taker);
size_t scratch_bytes(const Rules *rules);

#endif
