/* A libFuzzer target: however a text is cut into blocks and parts, and however little memory there is, the same words
   come out. `make fuzz-native` builds it with clang's fuzzer, or where there is none with a `main` that makes texts up. */
#include <sys/mman.h>
#include <unistd.h>

#include "failures.h"
#include "input.h"
#include "runs.h"

#include <stdio.h>
#include <stdlib.h>

typedef struct {
    uint64_t hash, total, overlong, bytes;
} Outcome;

static void take_row(void *taker, const uint8_t *word, size_t size, uint64_t count) {
    Outcome *outcome = taker;
    for (size_t i = 0; i < size; i++)
        outcome->hash = (outcome->hash ^ word[i]) * 1099511628211u;
    outcome->hash = (outcome->hash ^ '\t') * 1099511628211u + count;
    outcome->total += count;
}

static Outcome count(int file, size_t size, size_t longest, size_t block_bytes, uint64_t part_bytes, size_t memory) {
    Rules rules = {.longest = longest};
    Input input = {.file = file, .name = "text", .seekable = true, .block_bytes = block_bytes};
    Worker worker;
    Outcome outcome = {.hash = 14695981039346656037u};
    seed_hashes();
    worker_make(&worker, &rules, 1, memory, memory, "/tmp");
    for (uint64_t start = 0; start < size; start += part_bytes)
        count_part(&worker, &input, start, start + part_bytes < size ? start + part_bytes : size);
    finish_tokens(&worker);
    table_sort(&worker.words[0]);
    Source *sources = allocate((worker.runs_used + 1) * sizeof *sources);
    sources[0] = source_of_table(&worker.words[0]);
    for (size_t i = 0; i < worker.runs_used; i++)
        sources[i + 1] = source_of_run(&worker.runs[i], 0, 64);
    merge(sources, worker.runs_used + 1, take_row, &outcome);
    outcome.overlong = worker.overlong;
    outcome.bytes = worker.bytes;
    for (size_t i = 0; i < worker.runs_used; i++) {
        close(worker.runs[i].file);
        free(worker.runs[i].ends);
    }
    table_free(&worker.words[0]);
    free(worker.words);
    free(worker.runs);
    free(worker.scratch);
    free(sources);
    return outcome;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 4)
        return 0;
    size_t longest = 4 + data[0] % 60, block = 3 + data[1] % 90, part = 3 + data[2] % 200, memory = 1 + data[3] * 256u;
    int file = memfd_create("text", 0);
    if (file < 0 || write(file, data + 4, size - 4) != (ssize_t)(size - 4))
        abort();
    Outcome whole = count(file, size - 4, longest, 1 << 16, UINT64_MAX / 2, 1 << 22);
    Outcome pieces = count(file, size - 4, longest, block, part, memory);
    close(file);
    if (memcmp(&whole, &pieces, sizeof whole) != 0 || whole.bytes != size - 4) {
        fprintf(stderr, "longest %zu, block %zu, part %zu, memory %zu: another result\n", longest, block, part, memory);
        abort();
    }
    return 0;
}

#ifdef STANDALONE
#include <time.h>

static uint64_t state;

static uint64_t chance(uint64_t below) {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state % below;
}

int main(int number, char **arguments) {
    static const char *const pieces[] = {" ", "\n", "\t", "\x1c", "\xc2\xa0", "\xc2\x85", "\xe2\x80\x83", "\xe3\x80\x80",
                                         "\xe2\x80", "\xc3", "\xf0\x9f", "\xff", "\xef\xbb\xbf", "a", "the", "...", "\xc3\xa9",
                                         "averylongwordthatisinnoslot", "fifteen-letters", "sixteen--letters"};
    static uint8_t text[8192];
    time_t end = time(NULL) + (number > 1 ? atoi(arguments[1]) : 10);
    unsigned long tried = 0;
    state = (uint64_t)time(NULL) * 2654435761u + (uint64_t)getpid();
    printf("seed %llu\n", (unsigned long long)state);
    for (; time(NULL) < end; tried++) {
        size_t size = 0, wanted = 4 + chance(chance(2) ? 60 : sizeof text - 64);
        while (size < wanted) {
            const char *piece = pieces[chance(sizeof pieces / sizeof *pieces)];
            if (size < 4 || chance(8) == 0)
                text[size++] = (uint8_t)chance(256);
            else
                for (; *piece; piece++)
                    text[size++] = (uint8_t)*piece;
        }
        LLVMFuzzerTestOneInput(text, size);
    }
    printf("%lu texts, each the same however it was cut\n", tried);
    return 0;
}
#endif
