/* Destinations. The image is hostile: a destination is a descriptor resolved inside the root by openat2, never a string joined to one. */
#include "mounts.h"
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Open a path inside the root: links are followed, but never out of it, and no magic link of a procfs. */
int open_in_root(int root, const char *path, uint64_t flags)
{
    for (int tries = 0;; tries++) {
        int fd = sys_openat2(root, path, flags | O_CLOEXEC, 0, IN_ROOT | NO_MAGICLINKS);
        if (fd >= 0 || (errno != EAGAIN && errno != EINTR) || tries > 100)
            return fd;
    }
}

/* The mount point `path`, made where it is missing: folders 0755, a file or a folder at its end. */
static int mount_point_at(struct build *b, const char *path, int folder, int make, int links)
{
    int fd = open_in_root(b->root, path, O_PATH);
    if (fd >= 0 || errno != ENOENT || !make)
        return fd;
    char part[4096];
    if (copy_text(part, sizeof part, path))
        return errno = ENAMETOOLONG, -1;
    int parent = open_in_root(b->root, "/", O_PATH | O_DIRECTORY);
    for (char *p = part; parent >= 0 && *p;) {
        while (*p == '/')
            p++;
        char *end = strchr(p, '/'), *name = p;
        size_t n = end ? (size_t)(end - p) : strlen(p);
        if (!n)
            break;
        char *rest = p + n;
        while (*rest == '/')
            rest++;
        int last = !*rest;
        char saved = p[n];
        p[n] = 0;
        fd = open_in_root(b->root, part, O_PATH);
        if (fd < 0 && errno == ENOENT && make == POINT_LAST && !last) {
            close(parent);
            return errno = ENOENT, -1;
        }
        if (fd < 0 && errno == ENOENT) {
            int made = last && !folder ? openat(parent, name, O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC | O_WRONLY, 0644)
                                       : mkdirat(parent, name, 0755);
            if (made < 0 && errno != EEXIST) {
                int e = errno;
                close(parent);
                return errno = e, -1;
            }
            if (last && !folder && made >= 0)
                close(made);
            fd = open_in_root(b->root, part, O_PATH);
            if (fd < 0 && errno == ENOENT && made < 0) {
                /* A link to nowhere, as /etc/resolv.conf often is: what it names is made, inside the root. */
                char there[4096], target[4096];
                ssize_t len = readlinkat(parent, name, target, sizeof target - 1);
                close(parent);
                if (len <= 0 || links >= 20)
                    return errno = len <= 0 ? ENOENT : ELOOP, -1;
                target[len] = 0;
                size_t at = 0;
                *name = 0;
                if (target[0] != '/')
                    at = text_append(there, sizeof there, 0, part);
                at = text_append(there, sizeof there, at, target);
                at = text_append(there, sizeof there, at, last ? "" : "/");
                at = text_append(there, sizeof there, at, rest);
                if (at >= sizeof there - 1)
                    return errno = ENAMETOOLONG, -1;
                return mount_point_at(b, there, folder, make, links + 1);
            }
        }
        p[n] = saved;
        int e = errno;
        close(parent);
        parent = fd;
        errno = e;
        p += n;
    }
    return parent;
}

int mount_point(struct build *b, const char *path, int folder, int make) { return mount_point_at(b, path, folder, make, 0); }

int is_folder(int fd)
{
    struct stat st;
    return fstat(fd, &st) == 0 && S_ISDIR(st.st_mode);
}

int attach_fd(int from, int to)
{
    return sys_move_mount(from, "", to, "", MOVE_F_EMPTY | MOVE_T_EMPTY);
}

/* /proc, /sys and /dev must be real folders of the root: a link there would send the mount elsewhere (CVE-2019-19921). */
int top_is_link(struct build *b, const char *destination)
{
    char name[64];
    struct stat st;
    while (*destination == '/')
        destination++;
    size_t n = strcspn(destination, "/");
    if (!n || n >= sizeof name)
        return 0;
    memcpy(name, destination, n);
    name[n] = 0;
    int fd = open_in_root(b->root, "/", O_PATH);
    int link = fd >= 0 && fstatat(fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && !S_ISDIR(st.st_mode);
    close(fd);
    return link;
}

void make_link(struct build *b, const struct op *op)
{
    char path[4096];
    if (copy_text(path, sizeof path, op->f[1].s))
        fail_at(b, ENAMETOOLONG, op->f[1].s);
    char *slash = strrchr(path, '/');
    if (!slash)
        fail_at(b, EINVAL, path);
    *slash = 0;
    int dir = open_in_root(b->root, path[0] ? path : "/", O_PATH | O_DIRECTORY);
    if (dir < 0 || (symlinkat(op->f[0].s, dir, slash + 1) && errno != EEXIST))
        fail_at(b, errno, op->f[1].s);
    close(dir);
}
