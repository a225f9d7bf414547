/* The container's log: docker's json-file lines, rotated by size. */
#include "log.h"
#include "wherry.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h> /* renameat */
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* docker's copier cuts longer lines into parts of this size. */
#define LINE 16384
#define OUT (64 * 1024)

static struct {
    _Alignas(4096) char line[2][LINE];
    char out[OUT + LINE * 6 + 4096]; /* whole pages, for log_forget */
    int dir, fd;
    char name[64], attrs[1024];
    int64_t max_size, size;
    int64_t max_files;
    size_t held[2];
    size_t out_n;
} log_;

static void open_file(void)
{
    struct stat st;
    log_.fd = openat(log_.dir, log_.name, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0640);
    log_.size = log_.fd >= 0 && fstat(log_.fd, &st) == 0 ? st.st_size : 0;
}

static void numbered(char *to, size_t size, int64_t n)
{
    size_t at = text_append(to, size, 0, log_.name);
    if (n) {
        at = text_append(to, size, at, ".");
        text_number(to, size, at, n);
    }
}

static void rotate(void)
{
    char from[96], to[96];
    close(log_.fd);
    if (log_.max_files <= 1) {
        unlinkat(log_.dir, log_.name, 0);
    } else {
        for (int64_t n = log_.max_files - 1; n > 0; n--) {
            numbered(from, sizeof from, n - 1);
            numbered(to, sizeof to, n);
            renameat(log_.dir, from, log_.dir, to);
        }
    }
    open_file();
}

static void log_write(void)
{
    /* A full disk loses log lines, never the container. */
    if (log_.out_n && write_all(log_.fd, log_.out, log_.out_n) == 0)
        log_.size += (int64_t)log_.out_n;
    log_.out_n = 0;
}

void log_flush(void)
{
    if (log_.fd >= 0)
        log_write();
}

static void put(const char *s) { log_.out_n = text_append(log_.out, sizeof log_.out, log_.out_n, s); }

/* Length of the valid UTF-8 sequence at p, 0 when there is none. */
static size_t utf8(const unsigned char *p, size_t n)
{
    unsigned c = p[0];
    size_t len = c >= 0xC2 && c <= 0xDF ? 2 : (c & 0xF0) == 0xE0 ? 3 : c >= 0xF0 && c <= 0xF4 ? 4 : 0;
    if (!len || len > n)
        return 0;
    for (size_t i = 1; i < len; i++)
        if ((p[i] & 0xC0) != 0x80)
            return 0;
    if ((c == 0xE0 && p[1] < 0xA0) || (c == 0xED && p[1] > 0x9F) || (c == 0xF0 && p[1] < 0x90) || (c == 0xF4 && p[1] > 0x8F))
        return 0;
    return len;
}

/* docker's escapes (moby, jsonlogbytes.go): also < > & and the two line separators; what isn't UTF-8 becomes U+FFFD. */
static void put_json(const char *text, size_t n)
{
    static const char hex[] = "0123456789abcdef";
    const unsigned char *p = (const unsigned char *)text;
    char *out = log_.out;
    size_t at = log_.out_n;
    for (size_t i = 0; i < n;) {
        unsigned char c = p[i];
        if (c < 0x80) {
            if (c >= 0x20 && c != '"' && c != '\\' && c != '<' && c != '>' && c != '&') {
                out[at++] = (char)c;
            } else if (c == '"' || c == '\\') {
                out[at++] = '\\', out[at++] = (char)c;
            } else if (c == '\n' || c == '\r' || c == '\t') {
                out[at++] = '\\', out[at++] = c == '\n' ? 'n' : c == '\r' ? 'r' : 't';
            } else {
                memcpy(out + at, "\\u00", 4);
                at += 4;
                out[at++] = hex[c >> 4], out[at++] = hex[c & 15];
            }
            i++;
            continue;
        }
        size_t len = utf8(p + i, n - i);
        if (!len) {
            memcpy(out + at, "\\ufffd", 6);
            at += 6, i++;
        } else if (len == 3 && p[i] == 0xE2 && p[i + 1] == 0x80 && (p[i + 2] == 0xA8 || p[i + 2] == 0xA9)) {
            memcpy(out + at, p[i + 2] == 0xA8 ? "\\u2028" : "\\u2029", 6);
            at += 6, i += 3;
        } else {
            memcpy(out + at, p + i, len);
            at += len, i += len;
        }
    }
    log_.out_n = at;
}

static void entry(int stream, const char *text, size_t n, const char *stamp)
{
    size_t start = log_.out_n;
    log_to_line(stream, text, n);
    put("{\"log\":\"");
    put_json(text, n);
    put(stream ? "\",\"stream\":\"stderr\"," : "\",\"stream\":\"stdout\",");
    put(log_.attrs);
    put("\"time\":\"");
    put(stamp);
    put("\"}\n");
    if (log_.max_size > 0 && log_.size + (int64_t)log_.out_n > log_.max_size && log_.size + (int64_t)start > 0) {
        /* This line would be over the limit: it begins the next file. */
        size_t own = log_.out_n - start;
        log_.out_n = start;
        log_write();
        rotate();
        memmove(log_.out, log_.out + start, own);
        log_.out_n = own;
    }
    if (log_.out_n >= OUT)
        log_write();
}

void log_bytes(int stream, const char *data, size_t n)
{
    if (log_.fd < 0)
        return;
    char stamp[32];
    now_text(stamp, sizeof stamp);
    char *line = log_.line[stream];
    size_t *held = &log_.held[stream];
    while (n) {
        const char *end = memchr(data, '\n', n);
        size_t take = end ? (size_t)(end - data) + 1 : n;
        if (*held == 0 && end && take <= LINE) {
            entry(stream, data, take, stamp);
        } else {
            if (take > LINE - *held)
                take = LINE - *held;
            memcpy(line + *held, data, take);
            *held += take;
            if (line[*held - 1] == '\n' || *held == LINE) {
                entry(stream, line, *held, stamp);
                *held = 0;
            }
        }
        data += take, n -= take;
    }
    log_flush();
}

void log_end(void)
{
    char stamp[32];
    now_text(stamp, sizeof stamp);
    for (int i = 0; i < 2; i++)
        if (log_.fd >= 0 && log_.held[i]) {
            entry(i, log_.line[i], log_.held[i], stamp);
            log_.held[i] = 0;
        }
    log_flush();
}

int log_open(const struct op *op)
{
    char folder[4096];
    log_.fd = -1;
    const char *slash = strrchr(op->f[0].s, '/');
    if (!slash || (size_t)(slash - op->f[0].s) >= sizeof folder || strlen(slash + 1) >= sizeof log_.name)
        return errno = EINVAL, -1;
    memcpy(folder, op->f[0].s, (size_t)(slash - op->f[0].s));
    folder[slash - op->f[0].s] = 0;
    copy_text(log_.name, sizeof log_.name, slash + 1);
    log_.max_size = op->f[1].i, log_.max_files = op->f[2].i;
    const uint8_t *at = NULL;
    uint32_t left;
    size_t n = 0;
    log_.attrs[0] = 0;
    for (const char *s; (s = list_next(&op->f[3], &at, &left));) {
        n = text_append(log_.attrs, sizeof log_.attrs, n, s);
        n = text_append(log_.attrs, sizeof log_.attrs, n, ",");
    }
    log_.dir = open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (log_.dir < 0)
        return -1;
    open_file();
    return log_.fd < 0 ? -1 : 0;
}

/* What is held of a line that hasn't ended stays. */
void log_forget(void)
{
    for (int i = 0; i < 2; i++)
        if (!log_.held[i])
            forget(log_.line[i], LINE);
    if (!log_.out_n)
        forget(log_.out, sizeof log_.out);
}

void log_off(void) { log_.fd = -1; }
