/* Reading and validating a plan. Nothing of it is performed before all of it has been found good. */
#include "wherry.h"
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

struct row { int code; const char *name, *fields; int phase; };
static const struct row ROWS[] = {
#define OP(code, name, fields, phase) {code, #name, fields, phase},
#include "ops.def"
#undef OP
};

static const struct row *row_of(int code)
{
    for (size_t i = 0; i < sizeof ROWS / sizeof *ROWS; i++)
        if (ROWS[i].code == code)
            return &ROWS[i];
    return NULL;
}

static int say(char *why, size_t size, const char *text, int64_t number)
{
    size_t at = text_append(why, size, 0, text);
    text_number(why, size, at, number);
    return -1;
}

/* Length of one field's encoding at p, or 0 when it does not fit or a string holds a NUL. */
static size_t field_size(char kind, const uint8_t *p, size_t left)
{
    if (kind == 'i')
        return left >= 8 ? 8 : 0;
    if (left < 4)
        return 0;
    uint32_t n = get32(p);
    size_t at = 4;
    if (kind == 's' || kind == 'b') {
        if (n > left - at || (kind == 's' && n && memchr(p + at, 0, n)))
            return 0;
        return at + n;
    }
    if (kind == 'I')
        return n <= (left - at) / 8 ? at + (size_t)n * 8 : 0;
    for (uint32_t i = 0; i < n; i++) {
        size_t s = field_size('s', p + at, left - at);
        if (!s)
            return 0;
        at += s;
    }
    return at;
}

static int slot_ok(int64_t n) { return n >= 0 && n < SLOTS; }

/* Slots must be filled by a SOURCE before something names them. */
static int slots_ok(const struct op *op, uint8_t *filled)
{
    int64_t use[2] = {-1, -1};
    switch (op->code) {
    case OP_SOURCE:
    case OP_SOURCE_PART:
        if (!slot_ok(op->f[0].i))
            return 0;
        filled[op->f[0].i] = 1;
        return 1;
    case OP_IMAGE_AT:
        for (uint32_t i = 0; i < op->f[0].len; i++) {
            int64_t n = list_int(&op->f[0], i);
            if (!slot_ok(n) || !filled[n])
                return 0;
        }
        return op->f[0].len > 0;
    case OP_OVERLAY:
        for (uint32_t i = 0; i < op->f[0].len; i++) {
            int64_t n = list_int(&op->f[0], i);
            if (!slot_ok(n) || !filled[n])
                return 0;
        }
        use[0] = op->f[1].i;
        break;
    case OP_SECRET:
    case OP_ROOT:
    case OP_ATTACH:
        if (!slot_ok(op->f[0].i))
            return 0;
        use[0] = op->f[0].i;
        break;
    case OP_OVERLAY_AT:
        use[0] = op->f[0].i, use[1] = op->f[1].i;
        if (!slot_ok(use[0]) || !slot_ok(use[1]))
            return 0;
        break;
    default:
        return 1;
    }
    for (int i = 0; i < 2; i++)
        if (use[i] != -1 && (!slot_ok(use[i]) || !filled[use[i]]))
            return 0;
    return 1;
}

static int validate(const struct plan *p, char *why, size_t size)
{
    uint8_t filled[SLOTS];
    memset(filled, 0, sizeof filled);
    size_t at = 8;
    int phase = 0, index = 0, ended = 0;
    while (at < p->size) {
        if (ended)
            return say(why, size, "something follows END at byte ", (int64_t)at);
        if (p->size - at < 8)
            return say(why, size, "cut short at byte ", (int64_t)at);
        const uint8_t *h = p->data + at;
        const struct row *row = row_of(h[0] | h[1] << 8);
        uint32_t length = get32(h + 4);
        if (!row || h[2] || h[3])
            return say(why, size, "unknown operation at byte ", (int64_t)at);
        at += 8;
        if (length > p->size - at)
            return say(why, size, "cut short at byte ", (int64_t)at);
        if (row->phase < phase)
            return say(why, size, "operation out of order at byte ", (int64_t)at);
        phase = row->phase;
        struct op op = {.code = row->code, .index = index++, .name = row->name};
        const uint8_t *f = p->data + at;
        size_t left = length;
        for (int i = 0; row->fields[i]; i++) {
            size_t s = field_size(row->fields[i], f, left);
            if (!s)
                return say(why, size, "malformed field at byte ", f - p->data);
            if (row->fields[i] == 'i')
                op.f[i].i = get64(f);
            else
                op.f[i].len = get32(f), op.f[i].raw = f + 4;
            f += s, left -= s;
        }
        if (left)
            return say(why, size, "trailing bytes at byte ", f - p->data);
        if (!slots_ok(&op, filled))
            return say(why, size, "a slot is out of range or empty at byte ", (int64_t)at);
        at += length;
        ended = row->code == OP_END;
    }
    return ended ? 0 : say(why, size, "no END after byte ", (int64_t)at);
}

/* The plan's bytes, and behind them as much again for NUL-terminated copies of its strings. */
static uint8_t *arena;
static size_t arena_size, arena_at;

static const char *terminated(const uint8_t *p, uint32_t n)
{
    if (arena_at + n + 1 > arena_size)
        arena_at = 0; /* strings of long gone operations are overwritten; lists are walked one string at a time */
    char *to = (char *)arena + arena_at;
    memcpy(to, p, n);
    to[n] = 0;
    arena_at += n + 1;
    return to;
}

int plan_read(int fd, struct plan *out, char *why, size_t why_size)
{
    struct stat st;
    if (fstat(fd, &st) || st.st_size < 16 || st.st_size > (off_t)PLAN_MAX)
        return say(why, why_size, "a plan of this size is not accepted: ", fd < 0 ? -1 : (int64_t)st.st_size);
    size_t size = (size_t)st.st_size;
    uint8_t *data = mmap(NULL, 2 * size + 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (data == MAP_FAILED)
        return say(why, why_size, "no memory for a plan of ", (int64_t)size);
    size_t got = 0;
    while (got < size) {
        ssize_t n = pread(fd, data + got, size - got, (off_t)got);
        if (n <= 0)
            return say(why, why_size, "cannot read the plan, byte ", (int64_t)got);
        got += (size_t)n;
    }
    out->data = data, out->size = size;
    arena = data + size, arena_size = size + 4096, arena_at = 0;
    if (memcmp(data, "WHRYPLN1", 8))
        return say(why, why_size, "not a plan, version ", 1);
    return validate(out, why, why_size);
}

void plan_free(struct plan *p)
{
    if (p->data)
        munmap(p->data, 2 * p->size + 4096);
    p->data = NULL;
}

void plan_rewind(const struct plan *p, struct cursor *c)
{
    c->plan = p, c->at = 8, c->index = 0;
}

int plan_next(struct cursor *c, struct op *out)
{
    const struct plan *p = c->plan;
    if (c->at >= p->size)
        return 0;
    const uint8_t *h = p->data + c->at;
    const struct row *row = row_of(h[0] | h[1] << 8);
    *out = (struct op){.code = row->code, .index = c->index++, .name = row->name};
    const uint8_t *f = h + 8;
    size_t left = get32(h + 4);
    for (int i = 0; row->fields[i]; i++) {
        size_t s = field_size(row->fields[i], f, left);
        if (row->fields[i] == 'i') {
            out->f[i].i = get64(f);
        } else {
            out->f[i].len = get32(f), out->f[i].raw = f + 4;
            if (row->fields[i] == 's')
                out->f[i].s = terminated(f + 4, out->f[i].len);
        }
        f += s, left -= s;
    }
    c->at += 8 + get32(h + 4);
    return 1;
}

int plan_find(const struct plan *p, int code, struct op *out)
{
    struct cursor c;
    plan_rewind(p, &c);
    while (plan_next(&c, out))
        if (out->code == code)
            return 1;
    return 0;
}

/* Walk a list of strings: set *at to NULL first. NULL at its end. */
const char *list_next(const struct field *list, const uint8_t **at, uint32_t *left)
{
    if (!*at)
        *at = list->raw, *left = list->len;
    if (!*left)
        return NULL;
    --*left;
    uint32_t n = get32(*at);
    const char *s = terminated(*at + 4, n);
    *at += 4 + n;
    return s;
}

int64_t list_int(const struct field *list, uint32_t n) { return get64(list->raw + 8 * (size_t)n); }

/* An arena without a plan, for operations that are made in memory. */
int plan_arena(size_t size);
int plan_arena(size_t size)
{
    arena = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    arena_size = size, arena_at = 0;
    return arena == MAP_FAILED ? -1 : 0;
}
