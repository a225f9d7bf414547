/* Sources: the host's trees that the container will see, taken as detached mounts while the host is in sight. */
#include "mounts.h"
#include <errno.h>
#include <sched.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

static int make_folders(const char *path)
{
    char part[4096];
    if (copy_text(part, sizeof part, path))
        return -1;
    for (char *p = part + 1; *p; p++)
        if (*p == '/') {
            *p = 0;
            if (mkdir(part, 0755) && errno != EEXIST)
                return -1;
            *p = '/';
        }
    return mkdir(part, 0755) && errno != EEXIST ? -1 : 0;
}

/* A mount of another container's, taken in its own mount namespace: from outside, a path through /proc/<pid>/root leads to one that
 * may be looked at but not cloned. */
static int open_of_joined(const struct plan *plan, const char *path, unsigned flags)
{
    struct cursor c;
    struct op op;
    int own = open("/proc/self/ns/mnt", O_RDONLY | O_CLOEXEC), fd = -1;
    plan_rewind(plan, &c);
    while (own >= 0 && plan_next(&c, &op)) {
        if (op.code != OP_NS_JOIN)
            continue;
        int other = sys_pidfd_open((pid_t)op.f[1].i);
        if (other < 0 || start_time((pid_t)op.f[1].i) != op.f[2].i || setns(other, CLONE_NEWNS))
            break;
        close(other);
        fd = sys_open_tree(AT_FDCWD, path, flags);
        int e = errno;
        if (setns(own, CLONE_NEWNS))
            _exit(125);
        errno = e;
        break;
    }
    close(own);
    return fd;
}

static void open_source(const struct plan *plan, const struct op *op, struct slots *slots, int userns, const struct report *r)
{
    const char *path = op->f[1].s;
    int64_t flags = op->f[2].i;
    struct stat st;
    if ((flags & S_MAKE) && stat(path, &st) && errno == ENOENT && make_folders(path))
        fail(r, errno, path);
    unsigned deep = flags & S_RECURSIVE ? RECURSIVE : 0;
    int fd;
    if (flags & S_PATH_ONLY)
        fd = open(path, O_PATH | O_CLOEXEC | (flags & S_NO_LINK ? O_NOFOLLOW : 0));
    else if (flags & S_OF_JOINED)
        fd = open_of_joined(plan, path, CLONE_TREE | TREE_CLOEXEC | deep);
    else
        fd = sys_open_tree(AT_FDCWD, path, CLONE_TREE | TREE_CLOEXEC | deep | (flags & S_NO_LINK ? NOFOLLOW : 0));
    if (fd < 0)
        fail(r, errno, path);
    if (op->f[3].i || op->f[4].i) {
        struct mount_attr_ a = {.set = (uint64_t)op->f[3].i, .clr = (uint64_t)op->f[4].i};
        if (sys_mount_setattr(fd, "", EMPTY_PATH | (op->f[6].i ? RECURSIVE : 0), &a))
            fail(r, errno, path);
    }
    if (!(flags & S_PATH_ONLY)) {
        /* Private unless asked otherwise: nothing that is mounted later on either side crosses over. */
        struct mount_attr_ a = {.propagation = (uint64_t)(op->f[5].i & ~(int64_t)MS_REC)};
        int all = !op->f[5].i || (op->f[5].i & MS_REC);
        if (!a.propagation)
            a.propagation = MS_PRIVATE;
        if (sys_mount_setattr(fd, "", EMPTY_PATH | (all ? RECURSIVE : 0), &a))
            fail(r, errno, path);
    }
    if ((flags & (S_IDMAP | S_IDMAP_OR_PLAIN)) && userns >= 0) {
        struct mount_attr_ a = {.set = ATTR_IDMAP, .userns_fd = (uint64_t)userns};
        if (sys_mount_setattr(fd, "", EMPTY_PATH | deep, &a)) {
            if (flags & S_IDMAP)
                fail(r, errno, path);
            send_record(r->fd, SYNC_PLAIN, 0, path, strlen(path), 0); /* the monitor notes it: inspect says so */
        }
    }
    slots->fd[op->f[0].i] = fd;
}

void sources_open(const struct plan *plan, struct slots *slots, int userns, const struct report *report)
{
    struct cursor c;
    struct op op;
    for (int i = 0; i < SLOTS; i++)
        slots->fd[i] = -1;
    plan_rewind(plan, &c);
    while (plan_next(&c, &op)) {
        struct report r = {report->fd, op.index};
        if (op.code == OP_SOURCE)
            open_source(plan, &op, slots, userns, &r);
    }
}
