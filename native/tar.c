#include "tar.h"
#include "wherry.h"
#include <errno.h>
#include <string.h>
#include <unistd.h>

static int malformed(struct tar *t, const char *why)
{
    t->why = why;
    return -1;
}

void tar_begin(struct tar *t, int fd)
{
    t->fd = fd;
    t->ended = 0, t->why = "";
    t->at = t->end = 0;
    t->left = 0, t->padding = 0;
    t->meta_n = t->global_n = 0;
    t->sparse = 0, t->extents_n = 0;
}

/* Make at least one byte available: 1, 0 at the end of the stream, -1. */
static int fill(struct tar *t)
{
    if (t->at < t->end)
        return 1;
    ssize_t n;
    do
        n = read(t->fd, t->buffer, sizeof t->buffer);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return malformed(t, "reading the archive failed");
    t->at = 0, t->end = (size_t)n;
    return n > 0;
}

static int take(struct tar *t, void *to, size_t n)
{
    char *p = to;
    while (n) {
        int more = fill(t);
        if (more <= 0)
            return more < 0 ? -1 : malformed(t, "the archive is cut short");
        size_t some = t->end - t->at < n ? t->end - t->at : n;
        if (p)
            memcpy(p, t->buffer + t->at, some), p += some;
        if (t->recipe)
            recipe_bytes(t->recipe, t->buffer + t->at, some);
        t->at += some, n -= some;
    }
    return 0;
}

static int skip(struct tar *t, uint64_t n)
{
    while (n) {
        size_t some = n > sizeof t->buffer ? sizeof t->buffer : (size_t)n;
        if (take(t, NULL, some))
            return -1;
        n -= some;
    }
    return 0;
}

/* Octal, or GNU's base 256 with the top bit set. -1 for what is neither or too large. */
static int64_t number(const char *p, size_t n)
{
    const unsigned char *u = (const unsigned char *)p;
    if (u[0] & 0x80) {
        int negative = u[0] & 0x40;
        uint64_t v = negative ? ~0ull : 0;
        for (size_t i = 0; i < n; i++) {
            unsigned char byte = i ? u[i] : (unsigned char)(negative ? u[0] : u[0] & 0x7F);
            if (!negative && v >> 55)
                return INT64_MIN;
            v = v << 8 | byte;
        }
        return (int64_t)v;
    }
    uint64_t v = 0;
    size_t i = 0;
    while (i < n && (p[i] == ' ' || p[i] == 0))
        i++;
    for (; i < n && p[i] >= '0' && p[i] <= '7'; i++)
        v = v << 3 | (uint64_t)(p[i] - '0');
    if (i < n && p[i] != ' ' && p[i] != 0)
        return INT64_MIN;
    return (int64_t)v;
}

static int checksum_ok(const char *h)
{
    int64_t want = number(h + 148, 8), sum = 0, signed_sum = 0;
    for (int i = 0; i < 512; i++) {
        char c = i >= 148 && i < 156 ? ' ' : h[i];
        sum += (unsigned char)c, signed_sum += (signed char)c;
    }
    return want == sum || want == signed_sum;
}

static int text(char *to, size_t size, const char *from, size_t n)
{
    size_t len = strnlen(from, n);
    if (len >= size)
        return -1;
    memcpy(to, from, len);
    to[len] = 0;
    return 0;
}

static int decimal(const char *p, size_t n, int64_t *out)
{
    int64_t v = 0;
    int negative = n && *p == '-';
    size_t i = (size_t)negative;
    if (i == n)
        return -1;
    for (; i < n && p[i] >= '0' && p[i] <= '9'; i++) {
        if (v > (INT64_MAX - 9) / 10)
            return -1;
        v = v * 10 + (p[i] - '0');
    }
    *out = negative ? -v : v;
    return i == n || p[i] == '.' ? 0 : -1;
}

static void nanoseconds(const char *p, size_t n, struct timespec *t)
{
    const char *dot = memchr(p, '.', n);
    long ns = 0, unit = 100000000;
    if (dot)
        for (dot++; dot < p + n && *dot >= '0' && *dot <= '9' && unit; dot++, unit /= 10)
            ns += (*dot - '0') * unit;
    t->tv_nsec = ns;
    if (ns && n && *p == '-')
        t->tv_sec -= 1, t->tv_nsec = 1000000000 - ns;
}

struct sparse_notes { int major, minor, has_name; int64_t real_size, pending; };

static int one_record(struct tar *t, struct tar_member *m, const char *key, size_t key_n, const char *value, size_t n, struct sparse_notes *s)
{
    int64_t v;
#define IS(word) (key_n == sizeof(word) - 1 && !memcmp(key, word, sizeof(word) - 1))
    if (IS("path")) {
        if (!s->has_name && (memchr(value, 0, n) || text(m->name, sizeof m->name, value, n)))
            return malformed(t, "a name is too long or holds a NUL");
    } else if (IS("linkpath")) {
        if (memchr(value, 0, n) || text(m->link, sizeof m->link, value, n))
            return malformed(t, "a link is too long or holds a NUL");
    } else if (IS("size")) {
        if (decimal(value, n, &v) || v < 0)
            return malformed(t, "a size is no number");
        m->size = (uint64_t)v;
    } else if (IS("uid") || IS("gid")) {
        if (decimal(value, n, &v) || v < 0 || v > 0xFFFFFFFE)
            return malformed(t, "an owner is no number");
        *(key[0] == 'u' ? &m->uid : &m->gid) = v;
    } else if (IS("mtime")) {
        if (decimal(value, n, &v) == 0) {
            m->mtime.tv_sec = v;
            nanoseconds(value, n, &m->mtime);
        }
    } else if (key_n > 13 && key_n - 13 < sizeof m->xattrs[0].name && !memcmp(key, "SCHILY.xattr.", 13)) {
        if (m->xattrs_n == TAR_XATTRS)
            return malformed(t, "too many extended attributes");
        struct tar_xattr *x = &m->xattrs[m->xattrs_n++];
        memcpy(x->name, key + 13, key_n - 13);
        x->name[key_n - 13] = 0;
        x->value = value, x->size = n;
    } else if (IS("GNU.sparse.major")) {
        s->major = n == 1 ? *value - '0' : -1;
    } else if (IS("GNU.sparse.minor")) {
        s->minor = n == 1 ? *value - '0' : -1;
    } else if (IS("GNU.sparse.name")) {
        if (text(m->name, sizeof m->name, value, n))
            return malformed(t, "a name is too long");
        s->has_name = 1;
    } else if (IS("GNU.sparse.realsize") || IS("GNU.sparse.size")) {
        if (decimal(value, n, &s->real_size) || s->real_size < 0)
            return malformed(t, "a sparse member's size is no number");
    } else if (IS("GNU.sparse.map")) {
        t->extents_n = 0;
        for (const char *p = value, *end = value + n; p < end;) {
            const char *comma = memchr(p, ',', (size_t)(end - p)), *stop = comma ? comma : end;
            const char *second = comma ? comma + 1 : end, *comma2 = memchr(second, ',', (size_t)(end - second)), *stop2 = comma2 ? comma2 : end;
            int64_t a, b;
            if (!comma || t->extents_n == TAR_EXTENTS || decimal(p, (size_t)(stop - p), &a) || decimal(second, (size_t)(stop2 - second), &b) || a < 0 || b < 0)
                return malformed(t, "a sparse map is malformed");
            t->extents[t->extents_n++] = (struct tar_extent){(uint64_t)a, (uint64_t)b};
            p = comma2 ? comma2 + 1 : end;
        }
        t->sparse = 1;
    } else if (IS("GNU.sparse.offset")) {
        if (decimal(value, n, &s->pending) || s->pending < 0)
            return malformed(t, "a sparse map is malformed");
    } else if (IS("GNU.sparse.numbytes")) {
        if (decimal(value, n, &v) || v < 0 || s->pending < 0 || t->extents_n == TAR_EXTENTS)
            return malformed(t, "a sparse map is malformed");
        t->extents[t->extents_n++] = (struct tar_extent){(uint64_t)s->pending, (uint64_t)v};
        s->pending = -1;
        t->sparse = 1;
    }
#undef IS
    return 0;
}

/* "LENGTH KEY=VALUE\n" records */
static int records(struct tar *t, struct tar_member *m, const char *p, size_t n, struct sparse_notes *s)
{
    while (n) {
        size_t length = 0, i = 0;
        for (; i < n && p[i] >= '0' && p[i] <= '9' && length < TAR_META; i++)
            length = length * 10 + (size_t)(p[i] - '0');
        if (!i || i >= n || p[i] != ' ' || length > n || length < i + 3 || p[length - 1] != '\n')
            return malformed(t, "an extended header is malformed");
        const char *key = p + i + 1, *equals = memchr(key, '=', length - i - 2);
        if (!equals)
            return malformed(t, "an extended header is malformed");
        if (one_record(t, m, key, (size_t)(equals - key), equals + 1, (size_t)(p + length - 1 - equals - 1), s))
            return -1;
        p += length, n -= length;
    }
    return 0;
}

/* The data of a member that describes the next one, into `to` at *n (added to when `append`). */
static int metadata(struct tar *t, uint64_t size, char *to, size_t *n, int append)
{
    if (!append)
        *n = 0;
    if (size > TAR_META - *n)
        return malformed(t, "an extended header is too large");
    if (take(t, to + *n, (size_t)size) || skip(t, (512 - size % 512) % 512))
        return -1;
    *n += (size_t)size;
    return 0;
}

/* Old GNU sparse: four extents in the header, more in blocks behind it. */
static int old_sparse(struct tar *t, struct tar_member *m, const char *h)
{
    char block[512];
    const char *p = h + 386;
    int count = 4, extended = h[482];
    int64_t real = number(h + 483, 12);
    if (real < 0)
        return malformed(t, "a sparse member's size is no number");
    m->real_size = (uint64_t)real, m->sparse = t->sparse = 1;
    for (;;) {
        for (int i = 0; i < count; i++, p += 24) {
            int64_t at = number(p, 12), size = number(p + 12, 12);
            if (!p[0] || !p[12])
                continue;
            if (at < 0 || size < 0 || t->extents_n == TAR_EXTENTS)
                return malformed(t, "a sparse map is malformed");
            t->extents[t->extents_n++] = (struct tar_extent){(uint64_t)at, (uint64_t)size};
        }
        if (!extended)
            return 0;
        if (take(t, block, sizeof block))
            return -1;
        p = block, count = 21, extended = block[504];
    }
}

/* PAX sparse 1.0: the map stands in front of the data, decimal numbers a line each, padded to a block. */
static int map_in_data(struct tar *t)
{
    char block[512];
    int at = 512, numbers = 0;
    int64_t want = -1, value = 0, first = 0;
    for (;;) {
        if (at == 512) {
            if (t->left < 512 || take(t, block, 512))
                return malformed(t, "a sparse map is cut short");
            t->left -= 512, at = 0;
        }
        char c = block[at++];
        if (c >= '0' && c <= '9') {
            if (value > (INT64_MAX - 9) / 10)
                return malformed(t, "a sparse map is malformed");
            value = value * 10 + (c - '0');
            continue;
        }
        if (c != '\n')
            return malformed(t, "a sparse map is malformed");
        if (want < 0) {
            want = value * 2;
            if (value > TAR_EXTENTS)
                return malformed(t, "a sparse map is too long");
        } else if (numbers++ % 2 == 0) {
            first = value;
        } else {
            t->extents[t->extents_n++] = (struct tar_extent){(uint64_t)first, (uint64_t)value};
        }
        value = 0;
        if (numbers == want)
            return 0;
    }
}

static int check_extents(struct tar *t, const struct tar_member *m)
{
    uint64_t end = 0, sum = 0;
    for (int i = 0; i < t->extents_n; i++) {
        if (t->extents[i].at < end || t->extents[i].size > m->real_size || t->extents[i].at > m->real_size - t->extents[i].size)
            return malformed(t, "a sparse map is out of order");
        end = t->extents[i].at + t->extents[i].size;
        sum += t->extents[i].size;
    }
    return sum > t->left ? malformed(t, "a sparse map is longer than its data") : 0;
}

int tar_next(struct tar *t, struct tar_member *m)
{
    char h[512];
    char long_name[TAR_PATH] = "", long_link[TAR_PATH] = "";
    m->name[0] = 0;
    if (skip(t, t->left) || skip(t, t->padding))
        return -1;
    t->left = 0, t->padding = 0, t->meta_n = 0;
    t->sparse = 0, t->extents_n = 0, t->extent = 0, t->extent_done = 0, t->plain_at = 0;
    for (int zero = 0;;) {
        int more = fill(t);
        if (more < 0)
            return -1;
        if (!more) {
            if (t->meta_n || long_name[0] || long_link[0])
                return malformed(t, "the archive is cut short");
            return 0;
        }
        if (take(t, h, sizeof h))
            return -1;
        int empty = 1;
        for (int i = 0; i < 512 && empty; i++)
            empty = !h[i];
        if (empty) {
            if (++zero == 2) {
                t->ended = 1;
                return 0;
            }
            continue;
        }
        zero = 0;
        if (!checksum_ok(h))
            return malformed(t, "a header's checksum is wrong: not a tar archive, or a damaged one");
        int64_t size = number(h + 124, 12);
        if (size < 0)
            return malformed(t, "a size is no number");
        char type = h[156];
        if (type == 'x' || type == 'X') {
            if (metadata(t, (uint64_t)size, t->meta, &t->meta_n, 0))
                return -1;
            continue;
        }
        if (type == 'g') {
            if (metadata(t, (uint64_t)size, t->global, &t->global_n, 1))
                return -1;
            continue;
        }
        if (type == 'L' || type == 'K') {
            char *to = type == 'L' ? long_name : long_link;
            if (size >= TAR_PATH)
                return malformed(t, "a name is too long");
            if (take(t, to, (size_t)size) || skip(t, (512 - (uint64_t)size % 512) % 512))
                return -1;
            to[size] = 0;
            continue;
        }
        memset(m, 0, offsetof(struct tar_member, xattrs));
        m->xattrs_n = 0, m->sparse = 0;
        m->type = type;
        m->size = (uint64_t)size;
        int64_t mode = number(h + 100, 8), mtime = number(h + 136, 12), major = number(h + 329, 8), minor = number(h + 337, 8);
        m->uid = number(h + 108, 8), m->gid = number(h + 116, 8);
        if (m->uid < 0 || m->uid > 0xFFFFFFFE || m->gid < 0 || m->gid > 0xFFFFFFFE || mode < 0)
            return malformed(t, "an owner or a mode is no number");
        m->mode = (unsigned)mode & 07777;
        m->mtime.tv_sec = mtime == INT64_MIN ? 0 : mtime;
        m->major = major < 0 ? 0 : (unsigned)major, m->minor = minor < 0 ? 0 : (unsigned)minor;
        if (long_link[0] ? text(m->link, sizeof m->link, long_link, sizeof long_link) : text(m->link, sizeof m->link, h + 157, 100))
            return malformed(t, "a link is too long");
        if (long_name[0]) {
            text(m->name, sizeof m->name, long_name, sizeof long_name);
        } else if (!memcmp(h + 257, "ustar\0", 6) && h[345]) {
            char prefix[156], last[101];
            text(prefix, sizeof prefix, h + 345, 155);
            text(last, sizeof last, h, 100);
            size_t n = text_append(m->name, sizeof m->name, 0, prefix);
            n = text_append(m->name, sizeof m->name, n, "/");
            text_append(m->name, sizeof m->name, n, last);
        } else {
            text(m->name, sizeof m->name, h, 100);
        }
        struct sparse_notes s = {.major = -1, .minor = -1, .real_size = -1, .pending = -1};
        if (records(t, m, t->global, t->global_n, &s) || records(t, m, t->meta, t->meta_n, &s))
            return -1;
        if (m->type == 0 || m->type == '7')
            m->type = '0';
        /* Before ustar a folder was a file whose name ends in a slash. */
        size_t n = strlen(m->name);
        if (m->type == '0' && n && m->name[n - 1] == '/')
            m->type = '5';
        int has_data = m->type == '0' || m->type == 'S';
        /* Links, folders and devices have no data, whatever their header says: so GNU's, Go's and Python's readers have it, and a
         * reader that went another way would see other members than those who looked the image over. */
        if (m->type >= '1' && m->type <= '6')
            m->size = 0;
        t->left = has_data ? m->size : 0;
        if (!has_data && m->size && skip(t, m->size + (512 - m->size % 512) % 512))
            return -1;
        t->padding = has_data ? (unsigned)((512 - m->size % 512) % 512) : 0;
        if (m->type == 'S') {
            if (old_sparse(t, m, h))
                return -1;
            m->type = '0';
        } else if (s.major == 1 && s.minor == 0) {
            if (map_in_data(t))
                return -1;
            t->sparse = 1;
        }
        if (t->sparse) {
            if (s.real_size >= 0)
                m->real_size = (uint64_t)s.real_size;
            m->sparse = 1;
            if (check_extents(t, m))
                return -1;
        }
        return 1;
    }
}

ssize_t tar_data(struct tar *t, const char **data, uint64_t *offset)
{
    uint64_t most = t->left;
    *offset = t->plain_at;
    if (t->sparse) {
        while (t->extent < t->extents_n && t->extent_done == t->extents[t->extent].size)
            t->extent++, t->extent_done = 0;
        if (t->extent == t->extents_n)
            return 0;
        most = t->extents[t->extent].size - t->extent_done;
        *offset = t->extents[t->extent].at + t->extent_done;
    }
    if (!most)
        return 0;
    int more = fill(t);
    if (more <= 0)
        return more < 0 ? -1 : malformed(t, "the archive is cut short");
    size_t n = t->end - t->at;
    if (n > most)
        n = (size_t)most;
    *data = t->buffer + t->at;
    if (t->recipe)
        recipe_data(t->recipe, *offset, n);
    t->at += n, t->left -= n, t->plain_at += n, t->extent_done += n;
    return (ssize_t)n;
}

/* What follows the archive's end is read and dropped, so that whoever writes it isn't cut off. */
void tar_drain(struct tar *t)
{
    while (fill(t) > 0) {
        if (t->recipe)
            recipe_bytes(t->recipe, t->buffer + t->at, t->end - t->at);
        t->at = t->end;
    }
}
