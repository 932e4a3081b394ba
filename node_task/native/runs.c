#include "runs.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "failures.h"
#include "sort.h"

enum { WRITER_BYTES = 256 * 1024, LONGEST_NUMBER = 24 };

Writer writer_make(int file, const char *name) {
    return (Writer){.file = file, .name = name, .buffer = allocate(WRITER_BYTES)};
}

static void flush(Writer *writer) {
    for (size_t done = 0; done < writer->used;) {
        ssize_t wrote = write(writer->file, writer->buffer + done, writer->used - done);
        if (wrote < 0 && errno == EINTR)
            continue;
        if (wrote < 0)
            fail_on_disk(writer->name);
        done += (size_t)wrote;
    }
    writer->used = 0;
}

static void put(Writer *writer, const void *bytes, size_t size) {
    writer->written += size;
    while (size > 0) {
        if (writer->used == WRITER_BYTES)
            flush(writer);
        size_t now = WRITER_BYTES - writer->used < size ? WRITER_BYTES - writer->used : size;
        memcpy(writer->buffer + writer->used, bytes, now);
        writer->used += now;
        bytes = (const char *)bytes + now;
        size -= now;
    }
}

void write_row(void *taker, const uint8_t *word, size_t size, uint64_t count) {
    Writer *writer = taker;
    char number[LONGEST_NUMBER], *from = number + sizeof number;
    *--from = '\n';
    do
        *--from = (char)('0' + count % 10);
    while (count /= 10);
    *--from = '\t';
    put(writer, word, size);
    put(writer, from, (size_t)(number + sizeof number - from));
}

void writer_finish(Writer *writer) {
    flush(writer);
    free(writer->buffer);
    writer->buffer = NULL;
}

int temporary_file(const char *directory) {
    char path[4096];
    if (snprintf(path, sizeof path, "%s/topn-run-XXXXXX", directory) >= (int)sizeof path)
        fail(EXIT_ARGUMENTS, "the name of the directory for temporary files is too long");
    int file = mkstemp(path);
    if (file < 0 && (errno == EMFILE || errno == ENFILE))
        fail(EXIT_MEMORY, "too many sorted runs are open: %s", strerror(errno));
    if (file < 0)
        fail_on_disk("cannot make a temporary file");
    unlink(path); /* whatever ends this process, its disk space is free again */
    return file;
}

Source source_of_table(const Table *sorted) {
    return (Source){.table = sorted};
}

Source source_of_run(const Run *run, size_t section, size_t buffer_bytes) {
    Source source = {.file = run->file, .at = section ? run->ends[section - 1] : 0, .end = run->ends[section]};
    source.size = buffer_bytes;
    source.buffer = allocate(buffer_bytes);
    return source;
}

/* Read more of a run behind what is in the buffer; false at its end. */
static bool refill(Source *source) {
    if (source->at == source->end)
        return false;
    memmove(source->buffer, source->buffer + source->from, source->filled - source->from);
    source->filled -= source->from;
    source->from = 0;
    if (source->filled == source->size)
        source->buffer = resize(source->buffer, source->size *= 2); /* for a row that is longer */
    uint64_t rest = source->end - source->at;
    size_t room = source->size - source->filled;
    ssize_t got;
    do
        got = pread(source->file, source->buffer + source->filled, rest < room ? rest : room, (off_t)source->at);
    while (got < 0 && errno == EINTR);
    if (got < 0)
        fail(EXIT_INPUT, "cannot read a temporary file: %s", strerror(errno));
    if (got == 0)
        fail(EXIT_INPUT, "a temporary file was cut off while it was read");
    source->filled += (size_t)got;
    source->at += (uint64_t)got;
    return true;
}

/* Step to the next word; false when there is none. */
static bool advance(Source *source) {
    if (source->table) {
        if (source->next == source->table->used)
            return false;
        const Slot *slot = &source->table->slots[source->next++];
        source->word = slot_bytes(slot, source->table->arena);
        source->count = slot->count;
        return true;
    }
    uint8_t *newline;
    size_t seen = 0;
    while (!(newline = memchr(source->buffer + source->from + seen, '\n', source->filled - source->from - seen))) {
        seen = source->filled - source->from;
        if (!refill(source)) {
            free(source->buffer);
            source->buffer = NULL;
            return false;
        }
    }
    uint8_t *word = source->buffer + source->from, *tab = newline;
    while (*--tab != '\t') /* rows of our own making have one */
        ;
    source->count = 0;
    for (uint8_t *digit = tab + 1; digit < newline; digit++)
        source->count = 10 * source->count + (*digit - '0');
    source->word = (Bytes){word, (size_t)(tab - word)};
    source->from = (size_t)(newline + 1 - source->buffer);
    return true;
}

static void sift(Source **heap, size_t number, size_t root) {
    for (size_t child; (child = 2 * root + 1) < number; root = child) {
        if (child + 1 < number && compare_bytes(heap[child + 1]->word, heap[child]->word) < 0)
            child++;
        if (compare_bytes(heap[root]->word, heap[child]->word) <= 0)
            return;
        Source *kept = heap[root];
        heap[root] = heap[child];
        heap[child] = kept;
    }
}

void merge(Source *sources, size_t number, TakeRow *take, void *taker) {
    Source **heap = allocate((number + 1) * sizeof *heap);
    size_t live = 0, size = 0, capacity = 256;
    uint8_t *word = allocate(capacity);
    for (size_t i = 0; i < number; i++)
        if (advance(&sources[i]))
            heap[live++] = &sources[i];
    for (size_t root = live / 2; root-- > 0;)
        sift(heap, live, root);
    while (live > 0) {
        size = heap[0]->word.size;
        if (size > capacity)
            word = resize(word, capacity = 2 * size);
        memcpy(word, heap[0]->word.bytes, size); /* the source's own goes when it advances */
        uint64_t count = 0;
        do {
            count += heap[0]->count;
            if (!advance(heap[0]))
                heap[0] = heap[--live];
            sift(heap, live, 0);
        } while (live > 0 && compare_bytes(heap[0]->word, (Bytes){word, size}) == 0);
        take(taker, word, size, count);
    }
    free(word);
    free(heap);
}
