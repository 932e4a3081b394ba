#include "sort.h"

enum { FEW = 16 };

int compare_bytes(Bytes a, Bytes b) {
    int order = memcmp(a.bytes, b.bytes, a.size < b.size ? a.size : b.size);
    return order ? order : (a.size > b.size) - (a.size < b.size);
}

static bool before(const Slot *a, const Slot *b, const uint8_t *arena) {
    if (a->low != b->low)
        return __builtin_bswap64(a->low) < __builtin_bswap64(b->low);
    return compare_bytes(slot_bytes(a, arena), slot_bytes(b, arena)) < 0;
}

static void swap(Slot *a, Slot *b) {
    Slot kept = *a;
    *a = *b;
    *b = kept;
}

static void insertion_sort(Slot *slots, size_t number, const uint8_t *arena) {
    for (size_t i = 1; i < number; i++)
        for (size_t j = i; j > 0 && before(&slots[j], &slots[j - 1], arena); j--)
            swap(&slots[j], &slots[j - 1]);
}

static void sift_down(Slot *slots, size_t root, size_t number, const uint8_t *arena) {
    for (size_t child; (child = 2 * root + 1) < number; root = child) {
        if (child + 1 < number && before(&slots[child], &slots[child + 1], arena))
            child++;
        if (!before(&slots[root], &slots[child], arena))
            return;
        swap(&slots[root], &slots[child]);
    }
}

static void heap_sort(Slot *slots, size_t number, const uint8_t *arena) {
    for (size_t root = number / 2; root-- > 0;)
        sift_down(slots, root, number, arena);
    for (size_t end = number; end-- > 1;) {
        swap(&slots[0], &slots[end]);
        sift_down(slots, 0, end, arena);
    }
}

/* Order the first, middle and last slot; the middle one is the pivot. */
static Slot median(Slot *slots, size_t number, const uint8_t *arena) {
    Slot *first = slots, *middle = slots + number / 2, *last = slots + number - 1;
    if (before(middle, first, arena))
        swap(middle, first);
    if (before(last, middle, arena)) {
        swap(last, middle);
        if (before(middle, first, arena))
            swap(middle, first);
    }
    return *middle;
}

/* Quicksort that gives up for heapsort after `splits` bad or good splits: n log n for any input. It recurses into
   the smaller side only, so the stack stays below log2(n) frames. */
static void sort_within(Slot *slots, size_t number, const uint8_t *arena, unsigned splits) {
    while (number > FEW) {
        if (splits-- == 0) {
            heap_sort(slots, number, arena);
            return;
        }
        Slot pivot = median(slots, number, arena);
        size_t left = 0, right = number - 1;
        for (;;) {
            while (before(&slots[left], &pivot, arena))
                left++;
            while (before(&pivot, &slots[right], arena))
                right--;
            if (left >= right)
                break;
            swap(&slots[left++], &slots[right--]);
        }
        size_t lower = right + 1; /* slots[0..right] are not above the pivot, the rest not below it */
        if (lower < number - lower) {
            sort_within(slots, lower, arena, splits);
            slots += lower;
            number -= lower;
        } else {
            sort_within(slots + lower, number - lower, arena, splits);
            number = lower;
        }
    }
    insertion_sort(slots, number, arena);
}

void sort_slots(Slot *slots, size_t number, const uint8_t *arena) {
    unsigned splits = 2;
    for (size_t rest = number; rest > 1; rest /= 2)
        splits += 2;
    sort_within(slots, number, arena, splits);
}
