#include "table.h"

#include <fcntl.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "failures.h"
#include "sort.h"

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "slots keep their strings in the byte order of x86_64 and aarch64"
#endif

enum { FIRST_CAPACITY = 1024 };

uint64_t seeds[3];

void seed_hashes(void) {
    int random = open("/dev/urandom", O_RDONLY | O_CLOEXEC);
    ssize_t got = random < 0 ? -1 : read(random, seeds, sizeof seeds);
    if (random >= 0)
        close(random);
    if (got == (ssize_t)sizeof seeds)
        return;
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    uint64_t state = (uint64_t)now.tv_nsec ^ ((uint64_t)now.tv_sec << 30) ^ ((uint64_t)getpid() << 48);
    for (size_t i = 0; i < 3; i++)
        seeds[i] = state = mixed(state ^ 0x9E3779B97F4A7C15u, 0xD1B54A32D192ED03u) + i;
}

uint64_t hash_of_long(const uint8_t *bytes, size_t size) {
    uint64_t hash = seeds[2] ^ size;
    for (size_t at = 0; at + 16 < size; at += 16)
        hash = mixed(load(bytes + at) ^ seeds[0], load(bytes + at + 8) ^ hash);
    return mixed(load(bytes + size - 16) ^ seeds[1], load(bytes + size - 8) ^ hash);
}

Key key_of(const uint8_t *bytes, size_t size) {
    if (size > SHORT_BYTES)
        return key_in_buffer(bytes, size);
    uint8_t padded[SHORT_BYTES + 1] = {0};
    memcpy(padded, bytes, size);
    Key key = key_in_buffer(padded, size);
    key.bytes = bytes;
    return key;
}

Table table_make(size_t limit_bytes) {
    Table table = {.capacity = FIRST_CAPACITY, .limit_bytes = limit_bytes};
    table.slots = allocate(FIRST_CAPACITY * sizeof(Slot));
    return table;
}

void table_free(Table *table) {
    free(table->slots);
    free(table->arena);
    *table = (Table){0};
}

void table_clear(Table *table) {
    memset(table->slots, 0, table->capacity * sizeof(Slot));
    table->used = table->arena_used = 0;
}

Bytes slot_bytes(const Slot *slot, const uint8_t *arena) {
    if (slot->high < LONG)
        return (Bytes){(const uint8_t *)slot, slot->high >> 56};
    const uint8_t *place = arena + (slot->high - LONG);
    uint32_t size;
    memcpy(&size, place, sizeof size);
    return (Bytes){place + sizeof size, size};
}

static bool is_key(const Table *table, const Slot *slot, const Key *key) {
    if (slot->low != key->low)
        return false;
    if (key->high < LONG || slot->high < LONG)
        return slot->high == key->high;
    Bytes kept = slot_bytes(slot, table->arena);
    return kept.size == key->size && memcmp(kept.bytes, key->bytes, key->size) == 0;
}

static Slot *find(const Table *table, const Key *key) {
    size_t mask = table->capacity - 1;
    for (size_t at = key->hash & mask;; at = (at + 1) & mask) {
        Slot *slot = &table->slots[at];
        if (slot->high == 0 || is_key(table, slot, key))
            return slot;
    }
}

static bool grow(Table *table) {
    size_t bytes = table->capacity * sizeof(Slot);
    if (3 * bytes + table->arena_used > table->limit_bytes) /* old and new live at the same time */
        return false;
    Slot *old = table->slots;
    size_t mask = 2 * table->capacity - 1;
    table->slots = allocate(2 * bytes);
    for (size_t i = 0; i < table->capacity; i++) {
        if (old[i].high == 0)
            continue;
        uint64_t hash = old[i].high < LONG ? mixed(old[i].low ^ seeds[0], old[i].high ^ seeds[1]) : old[i].low;
        size_t at = hash & mask;
        while (table->slots[at].high != 0)
            at = (at + 1) & mask;
        table->slots[at] = old[i];
    }
    free(old);
    table->capacity *= 2;
    return true;
}

/* Keep a long string in the arena; its place. */
static uint64_t keep(Table *table, const Key *key) {
    uint32_t size = (uint32_t)key->size;
    size_t place = table->arena_used, end = place + sizeof size + key->size;
    if (end > table->arena_size) {
        table->arena_size = end + table->arena_size / 2 + 4096;
        table->arena = resize(table->arena, table->arena_size);
    }
    memcpy(table->arena + place, &size, sizeof size);
    memcpy(table->arena + place + sizeof size, key->bytes, key->size);
    table->arena_used = end;
    return place;
}

bool table_add(Table *table, const Key *key, uint64_t count) {
    Slot *slot = find(table, key);
    if (slot->high != 0) {
        slot->count += count;
        return true;
    }
    if (4 * (table->used + 1) > 3 * table->capacity) {
        if (!grow(table))
            return false;
        slot = find(table, key);
    }
    if (key->high < LONG) {
        *slot = (Slot){key->low, key->high, count};
    } else {
        size_t needed = table->capacity * sizeof(Slot) + table->arena_used + sizeof(uint32_t) + key->size;
        if (needed > table->limit_bytes && table->used > 0)
            return false;
        *slot = (Slot){key->low, LONG | keep(table, key), count};
    }
    table->used++;
    return true;
}

bool table_has(const Table *table, const Key *key) {
    return find(table, key)->high != 0;
}

void table_sort(Table *table) {
    size_t used = 0;
    for (size_t i = 0; i < table->capacity; i++)
        if (table->slots[i].high != 0)
            table->slots[used++] = table->slots[i];
    for (size_t i = 0; i < used; i++)
        if (table->slots[i].high >= LONG) /* the hash has served: sorting looks at the first eight bytes there */
            table->slots[i].low = load(slot_bytes(&table->slots[i], table->arena).bytes);
    memset(table->slots + used, 0, (table->capacity - used) * sizeof(Slot));
    sort_slots(table->slots, used, table->arena);
}
