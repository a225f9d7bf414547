/* Paths of a hostile tree: resolved inside its root by openat2, and by hand where a kernel or a filter of the host's refuses that. */
#include "tree.h"
#include "wherry.h"
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define IN_ROOT 0x10u
#define NO_MAGICLINKS 2u
#define PATH 4097
#define LINKS 40

/* The kernel's walk, part by part: a descriptor for each step, links read and put in front of what is left, ".." stops at the root.
 * Nobody else changes the tree meanwhile (it lies in staging), so the walk back up by opening ".." is safe. */
static int by_hand(int root, const char *path, uint64_t flags)
{
    char rest[(LINKS + 1) * PATH], link[PATH], name[256]; /* every link may leave as much to do */
    struct stat top, st;
    if (copy_text(rest, sizeof rest, path))
        return errno = ENAMETOOLONG, -1;
    int at = openat(root, ".", O_PATH | O_DIRECTORY | O_CLOEXEC), links = 0;
    if (at < 0 || fstat(at, &top))
        return -1;
    for (const char *p = rest;;) {
        while (*p == '/')
            p++;
        size_t n = strcspn(p, "/");
        const char *after = p + n + strspn(p + n, "/");
        if (n >= sizeof name) {
            errno = ENAMETOOLONG;
            break;
        }
        memcpy(name, n ? p : ".", n ? n : 1);
        name[n ? n : 1] = 0;
        if (!strcmp(name, "..") && fstat(at, &st) == 0 && st.st_ino == top.st_ino && st.st_dev == top.st_dev)
            strcpy(name, ".");
        ssize_t len = *after || !(flags & O_NOFOLLOW) ? readlinkat(at, name, link, sizeof link) : -1;
        if (len < 0) {
            int fd = openat(at, name, *after ? O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC : (int)flags | O_NOFOLLOW | O_CLOEXEC);
            int e = errno;
            close(at);
            if (fd < 0 || !*after)
                return errno = e, fd;
            at = fd, p = after;
            continue;
        }
        size_t left = strlen(after);
        if (++links > LINKS || (size_t)len + left + 2 > sizeof rest || (size_t)len == sizeof link) {
            errno = links > LINKS ? ELOOP : ENAMETOOLONG;
            break;
        }
        memmove(rest + len + 1, after, left + 1);
        memcpy(rest, link, (size_t)len);
        rest[len] = '/';
        if (link[0] == '/') {
            int fd = openat(root, ".", O_PATH | O_DIRECTORY | O_CLOEXEC);
            close(at);
            if ((at = fd) < 0)
                return -1;
        }
        p = rest;
    }
    int e = errno;
    close(at);
    return errno = e, -1;
}

int resolve_in_root(int root, const char *path, uint64_t flags)
{
    for (int tries = 0; tries < 100; tries++) {
        int fd = sys_openat2(root, *path ? path : ".", flags | O_CLOEXEC, 0, IN_ROOT | NO_MAGICLINKS);
        if (fd >= 0 || (errno != EAGAIN && errno != EINTR && errno != ENOSYS && errno != EPERM))
            return fd;
        if (errno == ENOSYS || errno == EPERM)
            break;
    }
    return by_hand(root, path, flags);
}
