#include "worker.h"

#include <stdlib.h>
#include <unistd.h>

#include "failures.h"

enum { RUNS_AT_ONCE = 8, RUN_BUFFER_BYTES = 64 * 1024 };

void worker_make(Worker *worker, const Rules *rules, size_t partitions, size_t raw_bytes, size_t words_bytes,
                 const char *directory) {
    *worker = (Worker){.rules = rules, .directory = directory, .partitions = partitions};
    worker->raw = table_make(raw_bytes);
    worker->words = allocate(partitions * sizeof(Table));
    for (size_t i = 0; i < partitions; i++)
        worker->words[i] = table_make(words_bytes / partitions);
    worker->scratch = allocate(scratch_bytes(rules));
}

/* Merge the last runs into one. Only runs of one level are merged, so each byte is copied once by level. */
static void compact(Worker *worker) {
    Run *runs = &worker->runs[worker->runs_used - RUNS_AT_ONCE];
    Run merged = {temporary_file(worker->directory), runs[0].level + 1,
                  allocate(worker->partitions * sizeof(uint64_t))};
    Writer writer = writer_make(merged.file, "writing sorted words");
    for (size_t section = 0; section < worker->partitions; section++) {
        Source sources[RUNS_AT_ONCE];
        for (size_t i = 0; i < RUNS_AT_ONCE; i++)
            sources[i] = source_of_run(&runs[i], section, RUN_BUFFER_BYTES);
        merge(sources, RUNS_AT_ONCE, write_row, &writer);
        merged.ends[section] = writer.written;
    }
    worker->spilled += writer.written;
    writer_finish(&writer);
    for (size_t i = 0; i < RUNS_AT_ONCE; i++) {
        close(runs[i].file); /* unlinked and read to its end: nothing can be lost here */
        free(runs[i].ends);
    }
    worker->runs_used -= RUNS_AT_ONCE - 1;
    runs[0] = merged;
}

/* Write the words to a sorted run, and forget them. */
static void spill(Worker *worker) {
    Run run = {temporary_file(worker->directory), 0, allocate(worker->partitions * sizeof(uint64_t))};
    Writer writer = writer_make(run.file, "writing sorted words");
    for (size_t section = 0; section < worker->partitions; section++) {
        Table *words = &worker->words[section];
        table_sort(words);
        for (size_t i = 0; i < words->used; i++) {
            Bytes word = slot_bytes(&words->slots[i], words->arena);
            write_row(&writer, word.bytes, word.size, words->slots[i].count);
        }
        run.ends[section] = writer.written;
        table_clear(words);
    }
    worker->spilled += writer.written;
    writer_finish(&writer);
    worker->runs = resize(worker->runs, (worker->runs_used + 1) * sizeof(Run));
    worker->runs[worker->runs_used++] = run;
    while (worker->runs_used >= RUNS_AT_ONCE &&
           worker->runs[worker->runs_used - RUNS_AT_ONCE].level == worker->runs[worker->runs_used - 1].level)
        compact(worker);
}

void add_word(void *counting, const uint8_t *word, size_t size, uint64_t count) {
    Worker *worker = counting;
    Key key = key_of(word, size);
    size_t partition = (size_t)((key.hash >> 32) * worker->partitions >> 32);
    if (table_add(&worker->words[partition], &key, count))
        return;
    spill(worker);
    if (!table_add(&worker->words[partition], &key, count))
        fail(EXIT_MEMORY, "the memory limit is too small for a word of %zu bytes", size);
}

static void turn_into_words(Worker *worker) {
    for (size_t i = 0; i < worker->raw.capacity; i++) {
        const Slot *slot = &worker->raw.slots[i];
        if (slot->high == 0)
            continue;
        Bytes token = slot_bytes(slot, worker->raw.arena);
        worker->overlong += words_of(worker->rules, token, slot->count, worker->scratch, add_word, worker);
    }
}

void finish_tokens(Worker *worker) {
    turn_into_words(worker);
    table_free(&worker->raw);
}

void count_waiting(Worker *worker) {
    for (size_t i = 0; i < worker->waiting_used; i++) {
        if (table_add(&worker->raw, &worker->waiting[i], 1))
            continue;
        turn_into_words(worker);
        table_clear(&worker->raw);
        if (!table_add(&worker->raw, &worker->waiting[i], 1))
            fail(EXIT_MEMORY, "the memory limit is too small for a token of %zu bytes", worker->waiting[i].size);
    }
    worker->waiting_used = 0;
}

void count_token(Worker *worker, const uint8_t *bytes, size_t size) {
    Key *key = &worker->waiting[worker->waiting_used++];
    *key = key_in_buffer(bytes, size);
    __builtin_prefetch(&worker->raw.slots[key->hash & (worker->raw.capacity - 1)], 1);
    if (worker->waiting_used == WAITING)
        count_waiting(worker);
}
