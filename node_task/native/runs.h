/* Sorted runs of "word TAB count NEWLINE": written when memory is full, and merged again. */
#ifndef RUNS_H
#define RUNS_H

#include "table.h"

/* Lines on their way to a file. */
typedef struct {
    int file;
    const char *name; /* for people */
    char *buffer;
    size_t used;
    uint64_t written; /* bytes, with those in the buffer */
} Writer;

Writer writer_make(int file, const char *name);
void write_row(void *writer, const uint8_t *word, size_t size, uint64_t count); /* a TakeRow */
void writer_finish(Writer *writer); /* flushes and forgets; the file stays open */

/* One spilled file: a section for each partition of the words, each sorted. */
typedef struct {
    int file;
    unsigned level;  /* how often merged */
    uint64_t *ends;  /* where each section ends */
} Run;

/* Where sorted words come from: a table that was sorted, or a section of a run. */
typedef struct {
    Bytes word;
    uint64_t count;
    const Table *table;
    size_t next;
    int file;
    uint64_t at, end;
    uint8_t *buffer;
    size_t from, filled, size;
} Source;

typedef void TakeRow(void *taker, const uint8_t *word, size_t size, uint64_t count);

Source source_of_table(const Table *sorted);
Source source_of_run(const Run *run, size_t section, size_t buffer_bytes);
/* Give away each word once, in order, with its counts from all sources added up; uses up the sources. */
void merge(Source *sources, size_t number, TakeRow *take, void *taker);

int temporary_file(const char *directory);

#endif
