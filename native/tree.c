/* Removing trees, and `rmtree PATH…`. What is in them is an image's choice: links, folders without rights, any depth. */
#include "tree.h"
#include "wherry.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* A folder as deep as this is moved to the top before it is emptied: a hostile tree may be deeper than there are descriptors. */
#define DEPTH 40
#define NO_XDEV 1u
#define FOLDER (O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)

struct removal {
    int top;
    unsigned moved;
};

static int open_folder(int dir, const char *name, int is_top)
{
    /* Somebody's mount in the tree, a bind of a home perhaps, is not ours to empty. */
    int fd = is_top ? openat(dir, name, FOLDER) : sys_openat2(dir, name, FOLDER, 0, NO_XDEV);
    if (fd < 0 && !is_top && (errno == ENOSYS || errno == EPERM))
        fd = openat(dir, name, FOLDER);
    /* A folder without its own rights (overlayfs keeps one, mode 000) is given them; its name is no link, by the check before. */
    if (fd < 0 && errno == EACCES && fchmodat(dir, name, 0700, 0) == 0)
        fd = openat(dir, name, FOLDER);
    return fd;
}

static int remove_folder(struct removal *r, int dir, const char *name, int depth);

static int move_up(struct removal *r, int dir, const char *name)
{
    char fresh[32];
    for (int tries = 0; tries < 1000; tries++) {
        text_number(fresh, sizeof fresh, text_append(fresh, sizeof fresh, 0, ".deep-"), r->moved++);
        if (renameat(dir, name, r->top, fresh) == 0)
            return 0;
        if (errno != ENOTEMPTY && errno != EEXIST && errno != ENOTDIR)
            break;
    }
    return -1;
}

/* One pass over a folder; 1 if something went. */
static int pass(struct removal *r, int fd, int depth)
{
    char block[4096];
    long n;
    int progress = 0;
    lseek(fd, 0, SEEK_SET);
    while ((n = syscall(SYS_getdents64, fd, block, sizeof block)) > 0) {
        for (long at = 0; at < n;) {
            unsigned short length;
            memcpy(&length, block + at + 16, sizeof length);
            int kind = (unsigned char)block[at + 18];
            const char *entry = block + at + 19;
            at += length;
            if (!strcmp(entry, ".") || !strcmp(entry, ".."))
                continue;
            int bad = kind == DT_DIR ? (errno = EISDIR, -1) : unlinkat(fd, entry, 0);
            if (bad && (errno == EISDIR || errno == EPERM))
                bad = depth == DEPTH ? move_up(r, fd, entry) : remove_folder(r, fd, entry, depth + 1);
            progress |= !bad || errno == ENOENT;
        }
    }
    return progress;
}

static int remove_folder(struct removal *r, int dir, const char *name, int depth)
{
    struct stat st;
    int fd = open_folder(dir, name, depth == 0);
    /* A monitor and the sweep of a command may remove the same tree: what the other has removed is removed. */
    if (fd < 0)
        return errno == ENOENT ? 0 : -1;
    if (fstat(fd, &st) == 0 && (st.st_mode & 0700) != 0700)
        fchmod(fd, 0700);
    if (depth == 0)
        r->top = fd;
    /* Entries may be left after a pass (the folder changes under the reading): until a pass removes nothing. */
    int bad = 0;
    for (int progress = 1; (bad = unlinkat(dir, name, AT_REMOVEDIR)) && progress;)
        progress = (errno == ENOTEMPTY || errno == EEXIST) && pass(r, fd, depth);
    bad = bad && errno != ENOENT;
    close(fd);
    return bad ? -1 : 0;
}

int tree_remove(int dir, const char *name)
{
    struct removal r = {.top = -1};
    struct stat st;
    if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW))
        return errno == ENOENT ? 0 : -1;
    if (S_ISDIR(st.st_mode))
        return remove_folder(&r, dir, name, 0);
    return unlinkat(dir, name, 0) && errno != ENOENT ? -1 : 0;
}

int cmd_rmtree(int argc, char **argv)
{
    int left = 0;
    for (int i = 0; i < argc; i++) {
        if (tree_remove(AT_FDCWD, argv[i]) == 0)
            continue;
        char text[4400];
        size_t n = text_append(text, sizeof text, 0, "rmtree: ");
        n = text_append(text, sizeof text, n, argv[i]);
        n = text_append(text, sizeof text, n, ": something in it can't be removed\n");
        write_all(2, text, n);
        left = 1;
    }
    return left;
}
