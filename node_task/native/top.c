#include "top.h"

#include <stdlib.h>

#include "failures.h"
#include "sort.h"

Top top_make(size_t wanted) {
    return (Top){.wanted = wanted};
}

/* Below 0: a stands before b in the result. */
static int order(const void *one, const void *other) {
    const TopWord *a = one, *b = other;
    if (a->count != b->count)
        return a->count > b->count ? -1 : 1;
    return compare_bytes((Bytes){a->bytes, a->size}, (Bytes){b->bytes, b->size});
}

static void swap(TopWord *a, TopWord *b) {
    TopWord kept = *a;
    *a = *b;
    *b = kept;
}

static void set(TopWord *place, const uint8_t *word, size_t size, uint64_t count) {
    if (size > place->room)
        place->bytes = resize(place->bytes, place->room = size);
    memcpy(place->bytes, word, size);
    place->size = size;
    place->count = count;
}

static void offer(Top *top, const uint8_t *word, size_t size, uint64_t count) {
    TopWord *words = top->words;
    if (top->used < top->wanted) {
        if (top->used == top->room) {
            size_t room = top->room ? 2 * top->room : 64;
            words = top->words = resize(words, room * sizeof *words);
            memset(words + top->room, 0, (room - top->room) * sizeof *words);
            top->room = room;
        }
        size_t at = top->used++;
        set(&words[at], word, size, count);
        for (; at > 0 && order(&words[(at - 1) / 2], &words[at]) < 0; at = (at - 1) / 2)
            swap(&words[(at - 1) / 2], &words[at]);
        return;
    }
    if (top->wanted == 0 || count < words[0].count)
        return;
    if (count == words[0].count && compare_bytes((Bytes){word, size}, (Bytes){words[0].bytes, words[0].size}) > 0)
        return;
    set(&words[0], word, size, count);
    for (size_t root = 0, child; (child = 2 * root + 1) < top->used; root = child) {
        if (child + 1 < top->used && order(&words[child], &words[child + 1]) < 0)
            child++;
        if (order(&words[child], &words[root]) <= 0)
            return;
        swap(&words[root], &words[child]);
    }
}

void top_add(void *taker, const uint8_t *word, size_t size, uint64_t count) {
    Top *top = taker;
    top->total += count;
    top->distinct++;
    if (top->table)
        write_row(top->table, word, size, count);
    offer(top, word, size, count);
}

void top_join(Top *top, const Top *other) {
    top->total += other->total;
    top->distinct += other->distinct;
    for (size_t i = 0; i < other->used; i++)
        offer(top, other->words[i].bytes, other->words[i].size, other->words[i].count);
}

void top_sort(Top *top) {
    if (top->used)
        qsort(top->words, top->used, sizeof *top->words, order);
}
