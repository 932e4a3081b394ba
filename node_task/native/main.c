/* topn-count: how often each word of a file occurs. The program's arguments and output are for
   node_task/native_counter.py, which says what they mean. */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "failures.h"
#include "input.h"
#include "top.h"

enum { LEAST_BUFFER_BYTES = 4096, MOST_BUFFER_BYTES = 64 * 1024, LEAST_BLOCK_BYTES = 3 /* a BOM's */ };

typedef struct {
    size_t top, threads, memory_bytes, part_bytes;
    const char *directory;
    int table_file; /* -1: no table is wanted */
    bool rows;
    Rules rules;
    Input input;
} Options;

/* All threads' share in the counting. */
typedef struct {
    const Options *options;
    Worker *workers;
    Top *tops; /* one by partition */
    uint64_t size; /* of the input */
    uint64_t next; /* where the next part begins */
} Count;

typedef struct {
    Count *count;
    size_t number;
    pthread_t thread;
} Thread;

static size_t number_from(const char *text, const char *name) {
    char *end;
    errno = 0;
    unsigned long long number = strtoull(text, &end, 10);
    if (errno || end == text || *end || *text == '-')
        fail(EXIT_ARGUMENTS, "--%s: not a number: %s", name, text);
    return (size_t)number;
}

static Options read_arguments(int number, char **arguments) {
    static const struct option known[] = {
        {"top", required_argument, 0, 't'},        {"threads", required_argument, 0, 'j'},
        {"memory-bytes", required_argument, 0, 'm'}, {"directory", required_argument, 0, 'd'},
        {"table-file", required_argument, 0, 'o'}, {"rows", no_argument, 0, 'r'},
        {"min-length", required_argument, 0, 'l'}, {"fold", required_argument, 0, 'f'},
        {"stop-words", required_argument, 0, 's'}, {"longest", required_argument, 0, 'L'},
        {"block-bytes", required_argument, 0, 'b'}, {"part-bytes", required_argument, 0, 'p'},
        {0, 0, 0, 0},
    };
    Options options = {.top = 1, .threads = 1, .memory_bytes = 224 << 20, .part_bytes = 8 << 20, .directory = ".",
                       .table_file = -1, .rules = {.longest = 64 * 1024}, .input = {.block_bytes = 256 * 1024}};
    for (int option, at; (option = getopt_long(number, arguments, "", known, &at)) != -1;) {
        switch (option) {
        case 't': options.top = number_from(optarg, known[at].name); break;
        case 'j': options.threads = number_from(optarg, known[at].name); break;
        case 'm': options.memory_bytes = number_from(optarg, known[at].name); break;
        case 'd': options.directory = optarg; break;
        case 'o': options.table_file = (int)number_from(optarg, known[at].name); break;
        case 'r': options.rows = true; break;
        case 'l': options.rules.shortest = number_from(optarg, known[at].name); break;
        case 'f': read_fold(&options.rules, optarg); break;
        case 's': read_stop_words(&options.rules, optarg); break;
        case 'L': options.rules.longest = number_from(optarg, known[at].name); break;
        case 'b': options.input.block_bytes = number_from(optarg, known[at].name); break;
        case 'p': options.part_bytes = number_from(optarg, known[at].name); break;
        default: fail(EXIT_ARGUMENTS, "these arguments are not topn-count's");
        }
    }
    if (optind != number - 1)
        fail(EXIT_ARGUMENTS, "one input is needed, and only one");
    if (!options.threads || options.input.block_bytes < LEAST_BLOCK_BYTES || options.part_bytes < LEAST_BLOCK_BYTES)
        fail(EXIT_ARGUMENTS, "a thread and %d bytes are the least", LEAST_BLOCK_BYTES);
    options.input.name = arguments[optind];
    return options;
}

static void open_input(Input *input, uint64_t *size) {
    struct stat about;
    input->file = strcmp(input->name, "-") == 0 ? STDIN_FILENO : open(input->name, O_RDONLY | O_CLOEXEC);
    if (input->file < 0 || fstat(input->file, &about) != 0)
        fail(EXIT_INPUT, "cannot read %s: %s", input->name, strerror(errno));
    input->seekable = input->file != STDIN_FILENO && S_ISREG(about.st_mode);
    *size = input->seekable ? (uint64_t)about.st_size : UINT64_MAX;
    if (input->seekable)
        posix_fadvise(input->file, 0, 0, POSIX_FADV_SEQUENTIAL);
}

/* A thread's first half: count parts of the input until none is left, then turn tokens into words. */
static void *count_parts(void *argument) {
    Thread *thread = argument;
    Count *count = thread->count;
    const Options *options = count->options;
    Worker *worker = &count->workers[thread->number];
    if (options->rows) {
        add_rows(worker, &options->input);
    } else if (options->threads == 1) {
        count_part(worker, &options->input, 0, UINT64_MAX);
    } else {
        for (;;) {
            uint64_t start = __atomic_fetch_add(&count->next, options->part_bytes, __ATOMIC_RELAXED);
            if (start >= count->size)
                break;
            uint64_t end = start + options->part_bytes;
            count_part(worker, &options->input, start, end < count->size ? end : count->size);
        }
    }
    finish_tokens(worker);
    return NULL;
}

static void *sort_words(void *argument) {
    Thread *thread = argument;
    Worker *worker = &thread->count->workers[thread->number];
    for (size_t i = 0; i < worker->partitions; i++)
        table_sort(&worker->words[i]);
    return NULL;
}

/* Merge the partitions [first, last) of all threads into one list of the top words. */
static void merge_partitions(Count *count, size_t first, size_t last, Top *top) {
    size_t threads = count->options->threads, number = 0, runs = 0;
    for (size_t i = 0; i < threads; i++)
        runs += count->workers[i].runs_used;
    Source *sources = allocate((last - first) * (threads + runs) * sizeof *sources);
    size_t buffer = runs ? count->options->memory_bytes / 8 / threads / runs : 0;
    buffer = buffer < LEAST_BUFFER_BYTES ? LEAST_BUFFER_BYTES : buffer;
    buffer = buffer > MOST_BUFFER_BYTES ? MOST_BUFFER_BYTES : buffer;
    for (size_t i = 0; i < threads; i++) {
        Worker *worker = &count->workers[i];
        for (size_t section = first; section < last; section++) {
            sources[number++] = source_of_table(&worker->words[section]);
            for (size_t j = 0; j < worker->runs_used; j++)
                sources[number++] = source_of_run(&worker->runs[j], section, buffer);
        }
    }
    merge(sources, number, top_add, top);
    free(sources);
}

static void *merge_own_partition(void *argument) {
    Thread *thread = argument;
    merge_partitions(thread->count, thread->number, thread->number + 1, &thread->count->tops[thread->number]);
    return NULL;
}

/* Have each thread do its share; a machine that gives no more threads than one still does all. */
static void in_threads(Count *count, Thread *threads, void *(*share)(void *)) {
    size_t number = count->options->threads;
    for (size_t i = 1; i < number; i++) {
        threads[i] = (Thread){.count = count, .number = i};
        int error = pthread_create(&threads[i].thread, NULL, share, &threads[i]);
        if (error)
            fail(EXIT_MEMORY, "cannot start a thread: %s", strerror(error));
    }
    threads[0] = (Thread){.count = count};
    share(&threads[0]);
    for (size_t i = 1; i < number; i++)
        pthread_join(threads[i].thread, NULL);
}

/* The top words in the first of the tops. A single table that nobody wants whole need not be sorted. */
static void find_top(Count *count, Thread *threads) {
    const Options *options = count->options;
    Worker *only = &count->workers[0];
    if (options->table_file < 0 && options->threads == 1 && only->runs_used == 0) {
        const Table *words = &only->words[0];
        for (size_t i = 0; i < words->capacity; i++) {
            Bytes word = slot_bytes(&words->slots[i], words->arena);
            if (word.size)
                top_add(&count->tops[0], word.bytes, word.size, words->slots[i].count);
        }
        return;
    }
    in_threads(count, threads, sort_words);
    if (options->table_file < 0) {
        in_threads(count, threads, merge_own_partition);
        for (size_t i = 1; i < options->threads; i++)
            top_join(&count->tops[0], &count->tops[i]);
        return;
    }
    Writer table = writer_make(options->table_file, "writing the table");
    count->tops[0].table = &table;
    merge_partitions(count, 0, options->threads, &count->tops[0]);
    writer_finish(&table);
    if (close(options->table_file) != 0)
        fail_on_disk("writing the table");
}

static void print_result(const Count *count) {
    uint64_t bytes = 0, overlong = 0, spilled = 0;
    for (size_t i = 0; i < count->options->threads; i++) {
        bytes += count->workers[i].bytes;
        overlong += count->workers[i].overlong;
        spilled += count->workers[i].spilled;
    }
    Top *top = &count->tops[0];
    printf("bytes\t%" PRIu64 "\noverlong\t%" PRIu64 "\ntotal\t%" PRIu64 "\ndistinct\t%" PRIu64 "\nspilled\t%" PRIu64
           "\n\n",
           bytes, overlong, top->total, top->distinct, spilled);
    fflush(stdout);
    Writer writer = writer_make(STDOUT_FILENO, "writing the result");
    top_sort(top);
    for (size_t i = 0; i < top->used; i++)
        write_row(&writer, top->words[i].bytes, top->words[i].size, top->words[i].count);
    writer_finish(&writer);
}

int main(int number, char **arguments) {
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max; /* a run is a file */
        setrlimit(RLIMIT_NOFILE, &files);
    }
    seed_hashes();
    Options options = read_arguments(number, arguments);
    Count count = {.options = &options};
    open_input(&options.input, &count.size);
    if (options.rows || !options.input.seekable)
        options.threads = 1;
    count.workers = allocate(options.threads * sizeof(Worker));
    count.tops = allocate(options.threads * sizeof(Top));
    size_t share = options.memory_bytes / options.threads, raw = options.rows ? 0 : share / 2;
    for (size_t i = 0; i < options.threads; i++) {
        worker_make(&count.workers[i], &options.rules, options.threads, raw, share - raw, options.directory);
        count.tops[i] = top_make(options.top);
    }
    Thread *threads = allocate(options.threads * sizeof *threads);
    in_threads(&count, threads, count_parts);
    find_top(&count, threads);
    print_result(&count);
    return 0;
}
