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

/* A path inside a tree that a container may be changing at this moment: resolved by the kernel as if the tree were all there is. */
static int open_below(const char *path, const char *below, unsigned flags)
{
    int root = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC), fd = -1, part = -1;
    for (int tries = 0; root >= 0 && tries < 1000 && part < 0; tries++) {
        part = sys_openat2(root, below, O_PATH | O_CLOEXEC, 0, IN_ROOT | NO_MAGICLINKS);
        if (part < 0 && errno != EAGAIN && errno != EINTR)
            break;
    }
    if (part >= 0)
        fd = sys_open_tree(part, "", flags | EMPTY_PATH);
    int e = errno;
    close(part), close(root);
    errno = e;
    return fd;
}

/* "pid start": a volume that a process of ours has mounted for itself and for the containers that use it. */
static int enter_holder(const char *of)
{
    int64_t pid = 0, start = 0;
    char word[32];
    size_t n = strcspn(of, " ");
    if (n >= sizeof word || !of[n])
        return errno = EINVAL, -1;
    memcpy(word, of, n);
    word[n] = 0;
    if (parse_number(word, &pid) || parse_number(of + n + 1, &start))
        return errno = EINVAL, -1;
    int fd = sys_pidfd_open((pid_t)pid);
    if (fd < 0 || start_time((pid_t)pid) != start) {
        close(fd);
        return errno = ESRCH, -1;
    }
    int bad = setns(fd, CLONE_NEWNS), e = errno;
    close(fd);
    errno = e;
    return bad;
}

static int open_part(const struct op *op, unsigned flags)
{
    const char *path = op->f[1].s, *below = op->f[5].s, *of = op->f[6].s;
    int own = -1;
    if (*of) {
        own = open("/proc/self/ns/mnt", O_RDONLY | O_CLOEXEC);
        if (own < 0 || enter_holder(of))
            return -1;
    }
    int fd = *below ? open_below(path, below, flags) : sys_open_tree(AT_FDCWD, path, flags | (*of ? 0 : NOFOLLOW)), e = errno;
    if (own >= 0 && setns(own, CLONE_NEWNS))
        _exit(125);
    close(own);
    errno = e;
    return fd;
}

static void open_source(const struct plan *plan, const struct op *op, struct slots *slots, int userns, const struct report *r)
{
    const char *path = op->f[1].s;
    int64_t flags = op->f[2].i;
    int part = op->code == OP_SOURCE_PART;
    int64_t propagation = part ? 0 : op->f[5].i, all_below = part ? op->f[7].i : op->f[6].i;
    struct stat st;
    if ((flags & S_MAKE) && stat(path, &st) && errno == ENOENT && make_folders(path))
        fail(r, errno, path);
    unsigned deep = flags & S_RECURSIVE ? RECURSIVE : 0;
    int fd;
    if (part)
        fd = open_part(op, CLONE_TREE | TREE_CLOEXEC | deep);
    else if (flags & S_READ)
        fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    else if (flags & S_PATH_ONLY)
        fd = open(path, O_PATH | O_CLOEXEC | (flags & S_NO_LINK ? O_NOFOLLOW : 0));
    else if (flags & S_OF_JOINED)
        fd = open_of_joined(plan, path, CLONE_TREE | TREE_CLOEXEC | deep);
    else
        fd = sys_open_tree(AT_FDCWD, path, CLONE_TREE | TREE_CLOEXEC | deep | (flags & S_NO_LINK ? NOFOLLOW : 0));
    if (fd < 0)
        fail(r, errno, path);
    if (op->f[3].i || op->f[4].i) {
        struct mount_attr_ a = {.set = (uint64_t)op->f[3].i, .clr = (uint64_t)op->f[4].i};
        if (sys_mount_setattr(fd, "", EMPTY_PATH | (all_below ? RECURSIVE : 0), &a))
            fail(r, errno, path);
    }
    if (!(flags & (S_PATH_ONLY | S_READ))) {
        /* Private unless asked otherwise: nothing that is mounted later on either side crosses over. */
        struct mount_attr_ a = {.propagation = (uint64_t)(propagation & ~(int64_t)MS_REC)};
        int all = !propagation || (propagation & MS_REC);
        if (!a.propagation)
            a.propagation = flags & S_SLAVE ? MS_SLAVE : MS_PRIVATE;
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
        if (op.code == OP_SOURCE || op.code == OP_SOURCE_PART)
            open_source(plan, &op, slots, userns, &r);
    }
}
