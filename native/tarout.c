/* `tarout FOLDER`: its content as a tar stream (PAX) on standard output, with owners, modes, times, extended attributes, hard links, and
 * holes as holes. The folder may change meanwhile, by hostile hands: names are opened below descriptors, and no link is followed. */
#include "links.h"
#include "wherry.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#define FOLDER (O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
#define DEPTH 900
#define PATH 65536
#define META (1 << 20)
#define EXTENTS 8192

struct out {
    struct links links;
    char path[PATH], pax[META], names[65536], value[65536], map[EXTENTS * 44];
    size_t pax_n, held_n;
    struct { off_t at, end; } extents[EXTENTS];
    char held[1 << 18];
};
static struct out o;

static int flush(void)
{
    int bad = write_all(1, o.held, o.held_n);
    o.held_n = 0;
    return bad;
}

static int put(const void *data, size_t n)
{
    const char *p = data;
    while (n) {
        size_t room = sizeof o.held - o.held_n, take = n < room ? n : room;
        memcpy(o.held + o.held_n, p, take);
        o.held_n += take, p += take, n -= take;
        if (o.held_n == sizeof o.held && flush())
            return -1;
    }
    return 0;
}

static int pad(uint64_t size)
{
    static const char zeros[512];
    return size % 512 ? put(zeros, 512 - size % 512) : 0;
}

static void octal(char *to, size_t width, uint64_t n)
{
    to[--width] = 0;
    while (width)
        to[--width] = (char)('0' + (n & 7)), n >>= 3;
}

static int header(const char *name, char type, const struct stat *st, uint64_t size, const char *link)
{
    char h[512] = {0};
    size_t n = strlen(name), l = link ? strlen(link) : 0;
    memcpy(h, name, n < 100 ? n : 100);
    octal(h + 100, 8, st->st_mode & 07777);
    octal(h + 108, 8, st->st_uid & 07777777);
    octal(h + 116, 8, st->st_gid & 07777777);
    octal(h + 124, 12, size & 077777777777);
    octal(h + 136, 12, st->st_mtim.tv_sec < 0 ? 0 : (uint64_t)st->st_mtim.tv_sec & 077777777777);
    h[156] = type;
    if (l)
        memcpy(h + 157, link, l < 100 ? l : 100);
    memcpy(h + 257, "ustar\00000", 8);
    if (type == '3' || type == '4') {
        octal(h + 329, 8, major(st->st_rdev));
        octal(h + 337, 8, minor(st->st_rdev));
    }
    unsigned sum = 8 * ' ';
    for (int i = 0; i < 512; i++)
        sum += i >= 148 && i < 156 ? 0 : (unsigned char)h[i];
    octal(h + 148, 7, sum);
    h[155] = ' ';
    return put(h, sizeof h);
}

/* "LENGTH key=value\n", where LENGTH counts itself. */
static void record(const char *key, const char *value, size_t n)
{
    char length[24];
    size_t body = strlen(key) + n + 3, total = body + 1;
    for (;;) {
        text_number(length, sizeof length, 0, (int64_t)total);
        if (strlen(length) + body == total)
            break;
        total = strlen(length) + body;
    }
    if (o.pax_n + total + 1 > sizeof o.pax)
        return;
    size_t at = text_append(o.pax, sizeof o.pax, o.pax_n, length);
    at = text_append(o.pax, sizeof o.pax, at, " ");
    at = text_append(o.pax, sizeof o.pax, at, key);
    at = text_append(o.pax, sizeof o.pax, at, "=");
    memcpy(o.pax + at, value, n);
    o.pax[at + n] = '\n';
    o.pax_n = at + n + 1;
}

static void record_number(const char *key, int64_t n)
{
    char text[24];
    record(key, text, text_number(text, sizeof text, 0, n));
}

static void record_time(const struct timespec *t)
{
    char text[48], fraction[16];
    size_t n = text_number(text, sizeof text, 0, t->tv_sec);
    text_number(fraction, sizeof fraction, 0, 1000000000 + t->tv_nsec);
    n = text_append(text, sizeof text, n, ".");
    n = text_append(text, sizeof text, n, fraction + 1);
    record("mtime", text, n);
}

static void common(const struct stat *st, uint64_t size, const char *link)
{
    o.pax_n = 0;
    if (link && strlen(link) > 100)
        record("linkpath", link, strlen(link));
    if (st->st_uid > 07777777)
        record_number("uid", st->st_uid);
    if (st->st_gid > 07777777)
        record_number("gid", st->st_gid);
    if (size > 077777777777)
        record_number("size", (int64_t)size);
    if (st->st_mtim.tv_nsec || st->st_mtim.tv_sec < 0)
        record_time(&st->st_mtim);
}

static void attributes(int fd)
{
    char key[300];
    ssize_t n = flistxattr(fd, o.names, sizeof o.names);
    for (ssize_t at = 0; at < n; at += (ssize_t)strlen(o.names + at) + 1) {
        const char *name = o.names + at;
        ssize_t size;
        if (!strncmp(name, "user.overlay.", 13) || !strncmp(name, "trusted.", 8) || strlen(name) > 255)
            continue;
        if ((size = fgetxattr(fd, name, o.value, sizeof o.value)) < 0)
            continue;
        text_append(key, sizeof key, text_append(key, sizeof key, 0, "SCHILY.xattr."), name);
        record(key, o.value, (size_t)size);
    }
}

static int member(const char *name, char type, const struct stat *st, uint64_t size, const char *link)
{
    if (strlen(name) > 100 && type != 'S')
        record("path", name, strlen(name));
    if (o.pax_n) {
        struct stat plain = {.st_mode = 0644};
        if (header("./PaxHeaders/x", 'x', &plain, o.pax_n, NULL) || put(o.pax, o.pax_n) || pad(o.pax_n))
            return -1;
    }
    return header(type == 'S' ? "GNUSparseFile.0/x" : name, type == 'S' ? '0' : type, st, size, link);
}

/* Exactly end - at bytes; zeros for what was cut off meanwhile. */
static int put_range(int fd, off_t at, off_t end)
{
    while (at < end) {
        if (o.held_n == sizeof o.held && flush())
            return -1;
        size_t room = sizeof o.held - o.held_n, want = (uint64_t)(end - at) < room ? (size_t)(end - at) : room;
        ssize_t n = pread(fd, o.held + o.held_n, want, at);
        if (n < 0)
            return -1;
        if (n == 0)
            memset(o.held + o.held_n, 0, want), n = (ssize_t)want;
        o.held_n += (size_t)n, at += n;
    }
    return 0;
}

static int sparse_map(int fd, off_t size)
{
    int n = 0;
    for (off_t at = 0; at < size;) {
        off_t data = lseek(fd, at, SEEK_DATA), hole;
        if (data < 0)
            return errno == ENXIO ? n : -1;
        if (n == EXTENTS || (hole = lseek(fd, data, SEEK_HOLE)) < 0)
            return -1;
        o.extents[n].at = data, o.extents[n].end = hole < size ? hole : size, n++;
        at = hole;
    }
    return n;
}

static int put_sparse(int fd, const char *name, const struct stat *st, int n)
{
    uint64_t stored = 0;
    size_t at = text_number(o.map, sizeof o.map, 0, n + 1);
    at = text_append(o.map, sizeof o.map, at, "\n");
    for (int i = 0; i <= n; i++) {
        off_t from = i < n ? o.extents[i].at : st->st_size, size = i < n ? o.extents[i].end - from : 0;
        at = text_append(o.map, sizeof o.map, text_number(o.map, sizeof o.map, at, from), "\n");
        at = text_append(o.map, sizeof o.map, text_number(o.map, sizeof o.map, at, size), "\n");
        stored += (uint64_t)size;
    }
    uint64_t total = (at + 511) / 512 * 512 + stored;
    common(st, total, NULL);
    record_number("GNU.sparse.major", 1);
    record_number("GNU.sparse.minor", 0);
    record("GNU.sparse.name", name, strlen(name));
    record_number("GNU.sparse.realsize", st->st_size);
    attributes(fd);
    if (member(name, 'S', st, total, NULL) || put(o.map, at) || pad(at))
        return -1;
    for (int i = 0; i < n; i++)
        if (put_range(fd, o.extents[i].at, o.extents[i].end))
            return -1;
    return pad(stored);
}

static int put_file(int dir, const char *entry, const char *name)
{
    struct stat st;
    int fd = openat(dir, entry, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC), bad = 0;
    if (fd < 0)
        return errno == ENOENT || errno == ELOOP ? 0 : -1;
    if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode)) {
        const char *first = st.st_nlink > 1 ? links_find(&o.links, &st) : NULL;
        int n = -1;
        if (first) {
            common(&st, 0, first);
            bad = member(name, '1', &st, 0, first);
        } else {
            if (st.st_size && (off_t)st.st_blocks * 512 < st.st_size)
                n = sparse_map(fd, st.st_size);
            if (n >= 0) {
                bad = put_sparse(fd, name, &st, n);
            } else {
                common(&st, (uint64_t)st.st_size, NULL);
                attributes(fd);
                bad = member(name, '0', &st, (uint64_t)st.st_size, NULL) || put_range(fd, 0, st.st_size) || pad((uint64_t)st.st_size);
            }
            if (st.st_nlink > 1)
                links_add(&o.links, &st, name);
        }
    }
    close(fd);
    return bad ? -1 : 0;
}

static int put_special(int dir, const char *entry, const char *name, const struct stat *st)
{
    char target[4097];
    ssize_t n = 0;
    if (S_ISSOCK(st->st_mode) || (S_ISCHR(st->st_mode) && !st->st_rdev))
        return 0; /* tar has no word for a socket, and nobody wants overlayfs's marks */
    if (S_ISLNK(st->st_mode)) {
        n = readlinkat(dir, entry, target, sizeof target - 1);
        if (n < 0)
            return 0;
        target[n] = 0;
    }
    char type = S_ISLNK(st->st_mode) ? '2' : S_ISFIFO(st->st_mode) ? '6' : S_ISCHR(st->st_mode) ? '3' : '4';
    common(st, 0, n ? target : NULL);
    return member(name, type, st, 0, n ? target : NULL);
}

static int put_folder(int fd, size_t n, int depth)
{
    char block[4096];
    struct stat st;
    long got;
    if (depth > DEPTH)
        return errno = ENAMETOOLONG, -1;
    if (fstat(fd, &st))
        return -1;
    common(&st, 0, NULL);
    attributes(fd);
    if (member(n ? o.path : "./", '5', &st, 0, NULL))
        return -1;
    while ((got = syscall(SYS_getdents64, fd, block, sizeof block)) > 0) {
        for (long at = 0; at < got;) {
            unsigned short length;
            memcpy(&length, block + at + 16, sizeof length);
            const char *entry = block + at + 19;
            size_t len = strlen(entry);
            at += length;
            if (!strcmp(entry, ".") || !strcmp(entry, "..") || fstatat(fd, entry, &st, AT_SYMLINK_NOFOLLOW))
                continue;
            if (n + len + 2 > PATH)
                return errno = ENAMETOOLONG, -1;
            memcpy(o.path + n, entry, len + 1);
            int bad = 0, below;
            if (S_ISREG(st.st_mode)) {
                bad = put_file(fd, entry, o.path);
            } else if (!S_ISDIR(st.st_mode)) {
                bad = put_special(fd, entry, o.path, &st);
            } else if ((below = openat(fd, entry, FOLDER)) >= 0) {
                o.path[n + len] = '/', o.path[n + len + 1] = 0;
                bad = put_folder(below, n + len + 1, depth + 1);
                close(below);
            }
            o.path[n] = 0;
            if (bad)
                return -1;
        }
    }
    return got < 0 ? -1 : 0;
}

int cmd_tarout(int argc, char **argv)
{
    static const char end[1024];
    int fd = argc == 1 ? open(argv[0], FOLDER) : -1;
    if (argc != 1)
        return 125;
    if (fd < 0 || put_folder(fd, 0, 0) || put(end, sizeof end) || flush()) {
        const char *why = strerror(errno);
        write_all(2, why, strlen(why));
        return 1;
    }
    return 0;
}
