#include "input.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "failures.h"

#ifdef __SSE2__
#include <emmintrin.h>
#endif

enum { CLASSIFIED = 64 }; /* bytes looked at together */

static const uint8_t BOM[] = {0xEF, 0xBB, 0xBF};

static bool is_ascii_white(uint8_t byte) {
    return byte == ' ' || (byte >= '\t' && byte <= '\r');
}

/* Which of 64 bytes are ASCII white space: the lowest bit is the first byte. */
static uint64_t white_among(const uint8_t *bytes) {
    uint64_t white = 0;
#ifdef __SSE2__
    for (int part = 0; part < 4; part++) {
        __m128i sixteen = _mm_loadu_si128((const __m128i *)(bytes + 16 * part));
        __m128i moved = _mm_sub_epi8(sixteen, _mm_set1_epi8('\t' + 128 - 256)); /* '\t'..'\r' are the lowest now */
        __m128i control = _mm_cmplt_epi8(moved, _mm_set1_epi8(5 - 128));
        __m128i space = _mm_cmpeq_epi8(sixteen, _mm_set1_epi8(' '));
        white |= (uint64_t)(uint32_t)_mm_movemask_epi8(_mm_or_si128(control, space)) << (16 * part);
    }
#else
    for (int part = 0; part < 8; part++) { /* the same with eight bytes in a register */
        const uint64_t ones = 0x0101010101010101u, tops = 0x8080808080808080u;
        uint64_t eight = load(bytes + 8 * part), low = eight & ~tops, gap = eight ^ (ones * ' ');
        uint64_t space = ~(((gap & ~tops) + ~tops) | gap) & tops;
        uint64_t from_tab = low + ones * (128 - '\t'), beyond = low + ones * (128 - '\r' - 1);
        uint64_t control = from_tab & ~beyond & ~eight & tops;
        white |= ((((space | control) >> 7) * 0x0102040810204080u) >> 56) << (8 * part);
    }
#endif
    return white;
}

/* What lies between two blocks: a token that may go on, or the end of an overlong one whose beginning is gone. */
typedef struct {
    uint8_t *buffer;  /* pending bytes, the block behind them, and what may be read too far */
    size_t pending;
    bool skipping;    /* inside an overlong word: pending is its last bytes, which may begin white space */
} Cutter;

/* Count the tokens that are complete in the first `size` bytes; where the last, incomplete one begins. */
static size_t count_tokens(Worker *worker, const uint8_t *bytes, size_t size) {
    size_t from = 0;
    for (size_t at = 0; at < size; at += CLASSIFIED) {
        uint64_t white = white_among(bytes + at);
        if (size - at < CLASSIFIED)
            white &= ((uint64_t)1 << (size - at)) - 1;
        for (; white; white &= white - 1) {
            size_t end = at + (size_t)__builtin_ctzll(white);
            if (end > from)
                count_token(worker, bytes + from, end - from);
            from = end + 1;
        }
    }
    return from;
}

/* A token with no ASCII white space for 64 KiB: count the pieces between Unicode white space, keep the last. */
static size_t cut(Worker *worker, Cutter *cutter, const uint8_t *bytes, size_t size) {
    size_t from = 0;
    for (size_t at = 0; at < size;) {
        size_t white = white_space_at(bytes + at, bytes + size);
        if (white && at > from)
            count_token(worker, bytes + from, at - from);
        at += white ? white : 1;
        if (white)
            from = at;
    }
    if (size - from <= worker->rules->longest + CUT_WHITE_SPACE_BYTES)
        return from; /* its last bytes may be the beginning of white space */
    worker->overlong++;
    cutter->skipping = true;
    return size - CUT_WHITE_SPACE_BYTES;
}

/* Count what is complete in the pending bytes and the block read behind them. */
static void take_block(Worker *worker, Cutter *cutter, size_t block_bytes) {
    uint8_t *bytes = cutter->buffer;
    size_t size = cutter->pending + block_bytes, from = 0;
    if (cutter->skipping) {
        while (from < size && !white_space_at(bytes + from, bytes + size))
            from++;
        if (from == size) {
            cutter->pending = size < CUT_WHITE_SPACE_BYTES ? size : CUT_WHITE_SPACE_BYTES;
            memmove(bytes, bytes + size - cutter->pending, cutter->pending);
            return;
        }
        from += white_space_at(bytes + from, bytes + size);
        cutter->skipping = false;
    }
    from += count_tokens(worker, bytes + from, size - from);
    if (size - from > worker->rules->longest)
        from += cut(worker, cutter, bytes + from, size - from);
    count_waiting(worker); /* the bytes move now */
    cutter->pending = size - from;
    memmove(bytes, bytes + from, cutter->pending);
}

/* Read `size` bytes, fewer only at the end: a pipe gives pieces. */
static size_t read_block(const Input *input, uint8_t *to, uint64_t at, size_t size) {
    for (size_t done = 0;;) {
        ssize_t got = input->seekable ? pread(input->file, to + done, size - done, (off_t)(at + done))
                                      : read(input->file, to + done, size - done);
        if (got < 0 && errno != EINTR)
            fail(EXIT_INPUT, "cannot read %s: %s", input->name, strerror(errno));
        done += got > 0 ? (size_t)got : 0;
        if (got == 0 || done == size)
            return done;
    }
}

static size_t before_white(const uint8_t *bytes, size_t size) {
    size_t at = 0;
    while (at < size && !is_ascii_white(bytes[at]))
        at++;
    return at;
}

/* Whether a part begins inside a token, which the part before it counts to its end. */
static bool begins_inside(const Input *input, uint64_t start) {
    uint8_t byte;
    return start > 0 && read_block(input, &byte, start - 1, 1) == 1 && !is_ascii_white(byte);
}

/* Drop a BOM at the very beginning; the bytes that are left. */
static size_t without_bom(uint8_t *block, size_t size) {
    if (size < sizeof BOM || memcmp(block, BOM, sizeof BOM) != 0)
        return size;
    memmove(block, block + sizeof BOM, size - sizeof BOM);
    return size - sizeof BOM;
}

void count_part(Worker *worker, const Input *input, uint64_t start, uint64_t end) {
    size_t longest_pending = worker->rules->longest + CUT_WHITE_SPACE_BYTES;
    Cutter cutter = {.buffer = allocate(longest_pending + input->block_bytes + CLASSIFIED)};
    bool inside = input->seekable && begins_inside(input, start), between = !inside, last = false;
    for (uint64_t at = start; !last;) {
        if (at >= end && (inside || between))
            break; /* all tokens that began in this part are counted */
        uint8_t *block = cutter.buffer + cutter.pending;
        size_t wanted = at < end && end - at < input->block_bytes ? (size_t)(end - at) : input->block_bytes;
        size_t got = read_block(input, block, at, wanted);
        if (got == 0)
            break;
        between = is_ascii_white(block[got - 1]);
        size_t use = at == 0 ? without_bom(block, got) : got;
        if (at < end)
            worker->bytes += got;
        if (inside) {
            size_t other = before_white(block, use);
            inside = other == use;
            use -= other;
            memmove(block, block + other, use);
        } else if (at >= end) {
            size_t rest = before_white(block, use);
            last = rest < use; /* the white space that ends the last token */
            use = last ? rest + 1 : use;
        }
        at += got;
        if (!inside)
            take_block(worker, &cutter, use);
    }
    if (cutter.pending && !cutter.skipping) {
        count_token(worker, cutter.buffer, cutter.pending);
        count_waiting(worker);
    }
    free(cutter.buffer);
}

/* Add one row without its end to the words, or take its number as `times`. */
static void add_row(Worker *worker, const Input *input, uint8_t *row, size_t size, uint64_t *times) {
    size_t tab = size;
    while (tab > 0 && row[tab - 1] != '\t')
        tab--;
    uint64_t number = 0;
    bool wrong = tab == 0 || tab == size || size - tab > 18;
    for (size_t at = tab; at < size && !wrong; at++) {
        wrong = row[at] < '0' || row[at] > '9';
        number = 10 * number + (uint64_t)(row[at] - '0');
    }
    if (wrong || memchr(row, '\t', tab - 1))
        fail(EXIT_INPUT, "%s: not a row of a word and its count", input->name);
    if (tab == 1)
        *times = number;
    else
        add_word(worker, row, tab - 1, number * *times);
}

void add_rows(Worker *worker, const Input *input) {
    size_t capacity = input->block_bytes, filled = 0;
    uint8_t *buffer = allocate(capacity);
    uint64_t times = 1;
    for (size_t got; (got = read_block(input, buffer + filled, worker->bytes, capacity - filled)) > 0;) {
        worker->bytes += got;
        filled += got;
        uint8_t *row = buffer, *newline;
        while ((newline = memchr(row, '\n', filled - (size_t)(row - buffer)))) {
            add_row(worker, input, row, (size_t)(newline - row), &times);
            row = newline + 1;
        }
        filled -= (size_t)(row - buffer);
        memmove(buffer, row, filled);
        if (filled == capacity)
            buffer = resize(buffer, capacity *= 2);
    }
    if (filled > 0)
        fail(EXIT_INPUT, "%s: the last row is cut off", input->name);
    free(buffer);
}
