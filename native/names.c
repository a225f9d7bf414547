/* A container that has ended is no longer answered for: its lines leave its networks' files of names (docs/internals/names.md). */
#include "monitor.h"
#include "net.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h> /* renameat */
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* All lines but those that begin with `first` and a blank. */
static size_t without(const char *from, size_t n, const char *first, char *to)
{
    size_t kept = 0, len = strlen(first);
    while (n) {
        const char *end = memchr(from, '\n', n);
        size_t line = end ? (size_t)(end - from) + 1 : n;
        if (!(line > len && !memcmp(from, first, len) && from[len] == ' ')) {
            memcpy(to + kept, from, line);
            kept += line;
        }
        from += line, n -= line;
    }
    return kept;
}

static void rewrite(const char *path, const char *first)
{
    struct stat st;
    char fresh[160];
    int fd = openat(m.run_fd, path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return;
    if (!fstat(fd, &st) && st.st_size > 0 && st.st_size < 64 << 20) {
        size_t size = (size_t)st.st_size;
        char *old = mmap(NULL, size, PROT_READ, MAP_PRIVATE, fd, 0);
        char *new = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (old != MAP_FAILED && new != MAP_FAILED) {
            size_t n = without(old, size, first, new);
            size_t at = text_append(fresh, sizeof fresh, 0, path);
            text_append(fresh, sizeof fresh, at, ".new");
            int out = n == size ? -1 : openat(m.run_fd, fresh, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
            if (out >= 0) {
                if (!write_all(out, new, n))
                    renameat(m.run_fd, fresh, m.run_fd, path);
                close(out);
            }
        }
        if (old != MAP_FAILED)
            munmap(old, size);
        if (new != MAP_FAILED)
            munmap(new, size);
    }
    close(fd);
}

/* Under the lock that the engine writes the file under. */
void names_gone(const struct plan *plan)
{
    struct cursor c;
    struct op op;
    plan_rewind(plan, &c);
    while (plan_next(&c, &op)) {
        if (op.code != OP_NAMED || op.f[0].len < 12 || op.f[0].len > 64 || strchr(op.f[0].s, '/'))
            continue;
        char path[100], lock[64], first[100], shortened[13];
        text_append(path, sizeof path, text_append(path, sizeof path, 0, "../net/names/"), op.f[0].s);
        memcpy(shortened, op.f[0].s, 12);
        shortened[12] = 0;
        text_append(lock, sizeof lock, text_append(lock, sizeof lock, 0, "../net/lock-"), shortened);
        if (copy_text(first, sizeof first, op.f[1].s))
            continue;
        int fd = openat(m.run_fd, lock, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
        if (fd < 0)
            continue;
        while (flock(fd, LOCK_EX) && errno == EINTR)
            continue;
        rewrite(path, first);
        close(fd);
    }
}
