/* Sorts the slots of a table by the bytes of their strings, in place. */
#ifndef SORT_H
#define SORT_H

#include "table.h"

/* Each slot's `low` holds the first eight bytes of its string; no two strings are equal. */
void sort_slots(Slot *slots, size_t number, const uint8_t *arena);
int compare_bytes(Bytes a, Bytes b);

#endif
