/* Trees on disk: removing them. */
#include "tree.h"
#include "wherry.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static int open_folder(int dir, const char *name)
{
    int fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    /* A folder without its own rights (overlayfs keeps one, mode 000) is given them; one's own name is no link here, by the check before. */
    if (fd < 0 && errno == EACCES && fchmodat(dir, name, 0700, 0) == 0)
        fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    return fd;
}

void tree_remove(int dir, const char *name)
{
    struct stat st;
    if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW))
        return;
    if (!S_ISDIR(st.st_mode)) {
        unlinkat(dir, name, 0);
        return;
    }
    int fd = open_folder(dir, name);
    if (fd < 0)
        return;
    if (fstat(fd, &st) == 0 && (st.st_mode & 0700) != 0700)
        fchmod(fd, 0700);
    /* Entries may be left after a pass (the folder changes under the reading): until a pass removes nothing. */
    for (int removed = 1; removed && unlinkat(dir, name, AT_REMOVEDIR);) {
        char block[4096];
        long n;
        removed = 0;
        if (errno != ENOTEMPTY && errno != EEXIST)
            break;
        lseek(fd, 0, SEEK_SET);
        while ((n = syscall(SYS_getdents64, fd, block, sizeof block)) > 0) {
            for (long at = 0; at < n;) {
                unsigned short length;
                memcpy(&length, block + at + 16, sizeof length);
                const char *entry = block + at + 19;
                at += length;
                if (!strcmp(entry, ".") || !strcmp(entry, ".."))
                    continue;
                int bad = unlinkat(fd, entry, 0);
                if (bad && (errno == EISDIR || errno == EPERM)) {
                    tree_remove(fd, entry);
                    bad = faccessat(fd, entry, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
                }
                removed |= !bad;
            }
        }
    }
    close(fd);
}

int cmd_rmtree(int argc, char **argv)
{
    int left = 0;
    for (int i = 0; i < argc; i++) {
        struct stat st;
        tree_remove(AT_FDCWD, argv[i]);
        if (lstat(argv[i], &st) == 0) {
            char text[4400];
            size_t n = text_append(text, sizeof text, 0, "rmtree: ");
            n = text_append(text, sizeof text, n, argv[i]);
            n = text_append(text, sizeof text, n, ": something in it can't be removed\n");
            write_all(2, text, n);
            left = 1;
        }
    }
    return left;
}
