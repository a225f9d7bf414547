/* `du PATH…`: a line for each: bytes on disk, bytes as files say, entries. A file with several names counts once. */
#include "wherry.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define FOLDER (O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
#define DEPTH 900

struct usage {
    int64_t blocks, bytes, entries;
    uint64_t *inodes; /* of files with several names, an open hash by number; 0 is free */
    size_t count, size;
};

static int seen(struct usage *u, uint64_t ino)
{
    if (2 * u->count + 2 > u->size) {
        size_t size = u->size ? 2 * u->size : 256;
        uint64_t *fresh = calloc(size, sizeof *fresh);
        if (!fresh)
            return 0;
        for (size_t i = 0; i < u->size; i++)
            if (u->inodes[i]) {
                size_t at = u->inodes[i];
                while (fresh[at & (size - 1)])
                    at++;
                fresh[at & (size - 1)] = u->inodes[i];
            }
        free(u->inodes);
        u->inodes = fresh, u->size = size;
    }
    for (size_t at = ino;; at++) {
        uint64_t *slot = &u->inodes[at & (u->size - 1)];
        if (*slot == ino)
            return 1;
        if (!*slot) {
            *slot = ino, u->count++;
            return 0;
        }
    }
}

static void folder(struct usage *u, int fd, int depth)
{
    char block[4096];
    long n;
    struct stat st;
    while ((n = syscall(SYS_getdents64, fd, block, sizeof block)) > 0) {
        for (long at = 0; at < n;) {
            unsigned short length;
            memcpy(&length, block + at + 16, sizeof length);
            const char *entry = block + at + 19;
            at += length;
            if (!strcmp(entry, ".") || !strcmp(entry, "..") || fstatat(fd, entry, &st, AT_SYMLINK_NOFOLLOW))
                continue;
            u->entries++;
            if (!S_ISDIR(st.st_mode) && st.st_nlink > 1 && seen(u, st.st_ino))
                continue;
            u->blocks += st.st_blocks * 512, u->bytes += S_ISREG(st.st_mode) ? st.st_size : 0;
            int below = S_ISDIR(st.st_mode) && depth < DEPTH ? openat(fd, entry, FOLDER) : -1;
            if (below >= 0) {
                folder(u, below, depth + 1);
                close(below);
            }
        }
    }
}

int cmd_du(int argc, char **argv)
{
    for (int i = 0; i < argc; i++) {
        struct usage u = {0};
        char line[80];
        int fd = open(argv[i], FOLDER);
        if (fd >= 0) {
            folder(&u, fd, 0);
            close(fd);
        }
        free(u.inodes);
        size_t n = text_number(line, sizeof line, 0, u.blocks);
        n = text_append(line, sizeof line, n, " ");
        n = text_number(line, sizeof line, n, u.bytes);
        n = text_append(line, sizeof line, n, " ");
        n = text_number(line, sizeof line, n, u.entries);
        n = text_append(line, sizeof line, n, "\n");
        if (write_all(1, line, n))
            return 1;
    }
    return 0;
}
