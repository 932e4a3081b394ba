#include "words.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "failures.h"

enum { GROWTH = 3, FOLDING_ENDS = 0x20000, REPLACEMENT = 0xFFFD }; /* no character beyond folds (tested) */

size_t white_space_at(const uint8_t *at, const uint8_t *end) {
    uint8_t a = at[0];
    if (a < 0x80)
        return a == ' ' || (a >= '\t' && a <= '\r') || (a >= 0x1C && a <= 0x1F);
    if (a == 0xC2)
        return end - at >= 2 && (at[1] == 0x85 || at[1] == 0xA0) ? 2 : 0;
    if (a < 0xE1 || a > 0xE3 || end - at < 3)
        return 0;
    uint8_t b = at[1], c = at[2];
    if (a == 0xE1)
        return b == 0x9A && c == 0x80 ? 3 : 0;
    if (a == 0xE3)
        return b == 0x80 && c == 0x80 ? 3 : 0;
    bool white = b == 0x80 ? (c >= 0x80 && c <= 0x8A) || c == 0xA8 || c == 0xA9 || c == 0xAF : b == 0x81 && c == 0x9F;
    return white ? 3 : 0;
}

static bool is_punctuation(uint8_t byte) {
    return (byte >= '!' && byte <= '/') || (byte >= ':' && byte <= '@') || (byte >= '[' && byte <= '`') ||
           (byte >= '{' && byte <= '~');
}

/* Decode one character; returns its bytes. What is not UTF-8 is one U+FFFD for each longest beginning of a
   sequence, as Python's errors="replace" has it. */
static size_t decode(const uint8_t *at, const uint8_t *end, uint32_t *code) {
    uint8_t lead = at[0];
    *code = lead;
    if (lead < 0x80)
        return 1;
    *code = REPLACEMENT;
    if (lead < 0xC2 || lead > 0xF4)
        return 1;
    size_t size = lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
    uint8_t least = lead == 0xE0 ? 0xA0 : lead == 0xF0 ? 0x90 : 0x80;
    uint8_t most = lead == 0xED ? 0x9F : lead == 0xF4 ? 0x8F : 0xBF;
    uint32_t value = lead & (0x7F >> size);
    for (size_t i = 1; i < size; i++) {
        if (at + i == end || at[i] < least || at[i] > most)
            return i;
        value = value << 6 | (at[i] & 0x3F);
        least = 0x80;
        most = 0xBF;
    }
    *code = value;
    return size;
}

size_t scratch_bytes(const Rules *rules) {
    return GROWTH * rules->longest + 16;
}

/* Give away one piece between white space. */
static void clean(const Rules *rules, Bytes piece, uint64_t count, uint8_t *scratch, TakeWord *take, void *taker) {
    const uint8_t *from = piece.bytes, *end = piece.bytes + piece.size;
    while (from < end && is_punctuation(*from))
        from++;
    while (from < end && is_punctuation(end[-1]))
        end--;
    if (from == end)
        return;
    const uint8_t *word = from;
    size_t size = (size_t)(end - from);
    bool ascii = true;
    for (const uint8_t *at = from; at < end; at++)
        ascii &= *at < 0x80;
    uint64_t characters = size;
    if (!ascii || rules->fold) {
        uint8_t *to = scratch;
        characters = 0;
        for (const uint8_t *at = from; at < end;) {
            uint32_t code;
            size_t used = decode(at, end, &code);
            if (code == REPLACEMENT) {
                memcpy(to, "\xEF\xBF\xBD", 3);
                to += 3;
                characters++;
            } else if (rules->fold && code < FOLDING_ENDS && rules->fold[code]) {
                const uint8_t *form = rules->folded + rules->fold[code];
                memcpy(to, form + 1, form[0]);
                to += form[0];
                for (size_t i = 1; i <= form[0]; i++)
                    characters += (form[i] & 0xC0) != 0x80;
            } else {
                memcpy(to, at, used);
                to += used;
                characters++;
            }
            at += used;
        }
        word = scratch;
        size = (size_t)(to - scratch);
    }
    if (characters < rules->shortest)
        return;
    if (rules->stop_words) {
        Key key = key_of(word, size);
        if (table_has(rules->stop_words, &key))
            return;
    }
    take(taker, word, size, count);
}

uint64_t words_of(const Rules *rules, Bytes token, uint64_t count, uint8_t *scratch, TakeWord *take, void *taker) {
    const uint8_t *end = token.bytes + token.size, *from = token.bytes, *at = token.bytes;
    uint64_t overlong = 0;
    for (;;) {
        size_t white = 0;
        while (at < end && !(white = white_space_at(at, end)))
            at++;
        size_t size = (size_t)(at - from);
        if (size > rules->longest)
            overlong += count;
        else if (size > 0)
            clean(rules, (Bytes){from, size}, count, scratch, take, taker);
        if (at == end)
            return overlong;
        from = at += white;
    }
}

static FILE *open_lines(const char *path) {
    FILE *file = fopen(path, "r");
    if (!file)
        fail(EXIT_INPUT, "cannot read %s: %s", path, strerror(errno));
    return file;
}

/* The next line without its end; its size, or -1 after the last. */
static ssize_t next_line(FILE *file, const char *path, char **line, size_t *capacity) {
    errno = 0;
    ssize_t size = getline(line, capacity, file);
    if (size < 0 && errno != 0)
        fail(EXIT_INPUT, "cannot read %s: %s", path, strerror(errno));
    return size > 0 && (*line)[size - 1] == '\n' ? size - 1 : size;
}

void read_fold(Rules *rules, const char *path) {
    FILE *file = open_lines(path);
    char *line = NULL;
    size_t capacity = 0, used = 1; /* place 0 means: folds to itself */
    rules->fold = allocate(FOLDING_ENDS * sizeof(uint32_t));
    rules->folded = allocate(used);
    for (ssize_t size; (size = next_line(file, path, &line, &capacity)) >= 0;) {
        char *tab = memchr(line, '\t', (size_t)size);
        unsigned long code = tab ? strtoul(line, NULL, 10) : FOLDING_ENDS;
        size_t bytes = tab ? (size_t)(line + size - tab - 1) : 0;
        size_t own = code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
        if (code >= FOLDING_ENDS || bytes == 0 || bytes > GROWTH * own)
            fail(EXIT_INPUT, "%s is not a list of folded characters", path);
        rules->folded = resize(rules->folded, used + 1 + bytes);
        rules->folded[used] = (uint8_t)bytes;
        memcpy(rules->folded + used + 1, tab + 1, bytes);
        rules->fold[code] = (uint32_t)used;
        used += 1 + bytes;
    }
    free(line);
    fclose(file);
}

void read_stop_words(Rules *rules, const char *path) {
    FILE *file = open_lines(path);
    char *line = NULL;
    size_t capacity = 0;
    rules->stop_words = allocate(sizeof(Table));
    *rules->stop_words = table_make(SIZE_MAX / 2);
    for (ssize_t size; (size = next_line(file, path, &line, &capacity)) >= 0;) {
        if (size == 0)
            continue;
        Key key = key_of((const uint8_t *)line, (size_t)size);
        table_add(rules->stop_words, &key, 1);
    }
    free(line);
    fclose(file);
}
