/* How often each of many byte strings occurs: a hash table that keeps strings of up to 15 bytes in its slots. */
#ifndef TABLE_H
#define TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* A string of up to 15 bytes lies in `low` and `high`, padded with zeros, its size in the last byte: one cache line
   tells all. A longer one has its hash in `low`, and LONG and its place in the arena in `high`. high == 0: empty. */
typedef struct {
    uint64_t low, high, count;
} Slot;

#define SHORT_BYTES 15
#define LONG ((uint64_t)0xFF << 56)

typedef struct {
    Slot *slots;
    size_t capacity; /* a power of two */
    size_t used;
    uint8_t *arena;
    size_t arena_used, arena_size;
    size_t limit_bytes; /* of slots and arena together */
} Table;

typedef struct {
    uint64_t low, high, hash;
    const uint8_t *bytes;
    size_t size;
} Key;

typedef struct {
    const uint8_t *bytes;
    size_t size;
} Bytes;

extern uint64_t seeds[3]; /* random in each process: nobody can write a file whose tokens all collide */

void seed_hashes(void);
Table table_make(size_t limit_bytes);
void table_free(Table *table);
void table_clear(Table *table);
/* Add to a string's count; false when that would need more than the table's limit. */
bool table_add(Table *table, const Key *key, uint64_t count);
bool table_has(const Table *table, const Key *key);
/* Move the entries to the front and sort them by their bytes. Only reading them and table_clear may follow. */
void table_sort(Table *table);
Bytes slot_bytes(const Slot *slot, const uint8_t *arena);
Key key_of(const uint8_t *bytes, size_t size);
uint64_t hash_of_long(const uint8_t *bytes, size_t size);

static inline uint64_t load(const uint8_t *bytes) {
    uint64_t word;
    memcpy(&word, bytes, sizeof word);
    return word;
}

static inline uint64_t mixed(uint64_t a, uint64_t b) {
    __extension__ unsigned __int128 product = (unsigned __int128)a * b;
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

/* The key of a token inside a buffer that can be read for 16 bytes from anywhere. */
static inline Key key_in_buffer(const uint8_t *bytes, size_t size) {
    if (size > SHORT_BYTES) {
        uint64_t hash = hash_of_long(bytes, size);
        return (Key){hash, LONG, hash, bytes, size};
    }
    uint64_t low = load(bytes), high = 0;
    if (size < 8)
        low &= ((uint64_t)1 << (8 * size)) - 1;
    else
        high = load(bytes + 8) & (((uint64_t)1 << (8 * (size - 8))) - 1);
    high |= (uint64_t)size << 56;
    return (Key){low, high, mixed(low ^ seeds[0], high ^ seeds[1]), bytes, size};
}

#endif
