#include "recipe.h"
#include "wherry.h"
#include <string.h>

/* A run of fewer zeros costs less as bytes. */
#define RUN 16

static void flush(struct recipe *r)
{
    if (r->n && write_all(r->fd, r->buffer, r->n))
        r->bad = 1;
    r->n = 0;
}

static void put(struct recipe *r, const void *data, size_t n)
{
    if (r->n + n > sizeof r->buffer)
        flush(r);
    memcpy(r->buffer + r->n, data, n);
    r->n += n;
}

static void record(struct recipe *r, char letter, uint64_t v)
{
    char out[11];
    size_t n = 0;
    if (letter)
        out[n++] = letter;
    for (; v > 127; v >>= 7)
        out[n++] = (char)(v | 128);
    out[n++] = (char)v;
    put(r, out, n);
}

static void settle_plain(struct recipe *r)
{
    if (r->plain_n) {
        record(r, 'V', r->plain_n);
        put(r, r->plain, r->plain_n);
    }
    r->plain_n = 0;
}

static void add_plain(struct recipe *r, char c)
{
    if (r->plain_n == sizeof r->plain)
        settle_plain(r);
    r->plain[r->plain_n++] = c;
}

static void settle_zeros(struct recipe *r)
{
    if (r->zeros < RUN) {
        for (; r->zeros; r->zeros--)
            add_plain(r, 0);
        return;
    }
    settle_plain(r);
    record(r, 'Z', r->zeros);
    r->zeros = 0;
}

static void settle_data(struct recipe *r)
{
    if (!r->size)
        return;
    if (!r->named) {
        record(r, 'F', strlen(r->name));
        put(r, r->name, strlen(r->name));
        r->named = 1;
    }
    record(r, 'D', r->offset);
    record(r, 0, r->size);
    r->size = 0;
}

void recipe_begin(struct recipe *r, int fd)
{
    memset(r, 0, offsetof(struct recipe, plain));
    r->fd = fd;
    put(r, RECIPE_MAGIC, sizeof RECIPE_MAGIC - 1);
}

void recipe_bytes(struct recipe *r, const char *data, size_t n)
{
    settle_data(r);
    for (size_t i = 0; i < n; i++) {
        if (!data[i]) {
            r->zeros++;
            continue;
        }
        if (r->zeros)
            settle_zeros(r);
        add_plain(r, data[i]);
    }
}

void recipe_file(struct recipe *r, const char *name)
{
    settle_data(r);
    text_append(r->name, sizeof r->name, 0, name);
    r->named = 0;
}

void recipe_data(struct recipe *r, uint64_t offset, size_t n)
{
    if (r->zeros)
        settle_zeros(r);
    settle_plain(r);
    if (r->size && r->offset + r->size != offset)
        settle_data(r);
    if (!r->size)
        r->offset = offset;
    r->size += n;
}

int recipe_end(struct recipe *r)
{
    settle_data(r);
    if (r->zeros)
        settle_zeros(r);
    settle_plain(r);
    flush(r);
    return r->bad ? -1 : 0;
}
