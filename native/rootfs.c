/* The container's file systems: sources opened while the host is in sight, then the mounts, in the container's own mount namespace.
 * The image is hostile: a destination is a descriptor resolved inside the root by openat2, never a string joined to one. */
#include "wherry.h"
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#define CLONE_TREE 1u
#define TREE_CLOEXEC O_CLOEXEC
#define RECURSIVE 0x8000u
#define EMPTY_PATH 0x1000u
#define NOFOLLOW 0x100u
#define MOVE_F_EMPTY 4u
#define MOVE_T_EMPTY 0x40u
#define ATTR_RDONLY 1u
#define ATTR_NOSUID 2u
#define ATTR_NODEV 4u
#define ATTR_NOEXEC 8u
#define ATTR_IDMAP 0x100000u
#define IN_ROOT 0x10u
#define NO_MAGICLINKS 2u
#define NO_SYMLINKS 4u
#define BENEATH 8u
#define NO_XDEV 1u

enum { S_RECURSIVE = 1, S_IDMAP = 2, S_IDMAP_OR_PLAIN = 4, S_MAKE = 8, S_PATH_ONLY = 16, S_NO_LINK = 32, S_OF_JOINED = 64 };
enum { M_MAY_FAIL = 1, M_MAKE = 2, M_FALL_BACK = 4 };
enum { A_MAKE = 1, A_SKIP_MISSING = 2 };

struct build {
    const struct plan *plan;
    struct slots *slots;
    struct report r;
    int scratch, root, proc, null, empty;
    int sock;
    int next;
    int *slave;
};

static _Noreturn void fail_at(struct build *b, int err, const char *detail)
{
    fail(&b->r, err, detail);
}

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
            send_record(r->fd, 11, 0, path, strlen(path), 0); /* the monitor notes it: inspect says so */
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

static int mount_point(struct build *b, const char *path, int folder, int make) { return mount_point_at(b, path, folder, make, 0); }

static int is_folder(int fd)
{
    struct stat st;
    return fstat(fd, &st) == 0 && S_ISDIR(st.st_mode);
}

static int attach_fd(int from, int to)
{
    return sys_move_mount(from, "", to, "", MOVE_F_EMPTY | MOVE_T_EMPTY);
}

static void name_of(char *to, size_t size, const char *letter, int n)
{
    text_number(to, size, text_append(to, size, 0, letter), n);
}

/* Hang a slot's detached mount below the scratch file system, where overlayfs can take it by a short name. */
static void hang(struct build *b, int64_t slot, const char *name)
{
    if (mkdirat(b->scratch, name, 0700) && errno != EEXIST)
        fail_at(b, errno, name);
    if (sys_move_mount(b->slots->fd[slot], "", b->scratch, name, MOVE_F_EMPTY))
        fail_at(b, errno, name);
    close(b->slots->fd[slot]);
    b->slots->fd[slot] = -1;
}

static void overlay(struct build *b, const struct op *op)
{
    static char options[4096];
    char name[16];
    size_t at = text_append(options, sizeof options, 0, "lowerdir=");
    for (uint32_t i = 0; i < op->f[0].len; i++) {
        name_of(name, sizeof name, "l", (int)i);
        hang(b, list_int(&op->f[0], i), name);
        at = text_append(options, sizeof options, at, i ? ":" : "");
        at = text_append(options, sizeof options, at, name);
    }
    if (op->f[1].i >= 0) {
        hang(b, op->f[1].i, "o");
        at = text_append(options, sizeof options, at, ",upperdir=o/upper,workdir=o/work");
    }
    if (op->f[2].s[0]) {
        at = text_append(options, sizeof options, at, ",");
        at = text_append(options, sizeof options, at, op->f[2].s);
    }
    if (op->f[3].i)
        at = text_append(options, sizeof options, at, ",volatile");
    if (at + 1 >= sizeof options)
        fail_at(b, E2BIG, "too many layers");
    /* The option string is read relative to the current folder: its names stay far below the page that mount(2) takes. */
    if (fchdir(b->scratch) || (mkdir("r", 0755) && errno != EEXIST))
        fail_at(b, errno, "the scratch folder");
    if (mount("overlay", "r", "overlay", op->f[1].i >= 0 ? 0 : MS_RDONLY, options))
        fail_at(b, errno, options);
    b->root = open("r", O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (b->root < 0)
        fail_at(b, errno, "the root file system");
}

static void plain_root(struct build *b, const struct op *op)
{
    hang(b, op->f[0].i, "r");
    b->root = openat(b->scratch, "r", O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (b->root < 0)
        fail_at(b, errno, "the root file system");
}

static unsigned attributes(int64_t flags)
{
    unsigned a = 0;
    a |= flags & MS_RDONLY ? ATTR_RDONLY : 0;
    a |= flags & MS_NOSUID ? ATTR_NOSUID : 0;
    a |= flags & MS_NODEV ? ATTR_NODEV : 0;
    a |= flags & MS_NOEXEC ? ATTR_NOEXEC : 0;
    a |= flags & MS_NOATIME ? 0x10u : flags & MS_STRICTATIME ? 0x20u : 0;
    a |= flags & MS_NODIRATIME ? 0x80u : 0;
    return a;
}

/* A new file system as a detached mount. Options that the kernel refuses fail, but for a devpts group that has no mapping. */
static int fresh(const char *type, const char *source, const char *data, unsigned attrs)
{
    int fs = sys_fsopen(type, 1);
    if (fs < 0)
        return -1;
    char part[512];
    sys_fsconfig(fs, 1, "source", source, 0);
    for (const char *p = data; *p;) {
        size_t n = strcspn(p, ",");
        if (n >= sizeof part)
            goto bad;
        memcpy(part, p, n);
        part[n] = 0;
        char *equals = strchr(part, '=');
        if (equals)
            *equals = 0;
        if (n && sys_fsconfig(fs, equals ? 1 : 0, part, equals ? equals + 1 : NULL, 0)
            && !(errno == EINVAL && !strcmp(type, "devpts") && !strcmp(part, "gid"))
            && !(errno == EINVAL && !strcmp(part, "newinstance")))
            goto bad;
        p += n + (p[n] == ',');
    }
    if (sys_fsconfig(fs, 6, NULL, NULL, 0))
        goto bad;
    int m = sys_fsmount(fs, 1, attrs);
    int e = errno;
    close(fs);
    errno = e;
    return m;
bad:
    e = errno;
    close(fs);
    errno = e;
    return -1;
}

/* v1 and hybrid hosts: a folder with one mount for each controller in which the container has a group of its own. */
static int cgroup_v1(struct build *b, const char *destination, unsigned attrs)
{
    int dir = fresh("tmpfs", "cgroup", "mode=755,size=64k", attrs & ~ATTR_RDONLY);
    int at = mount_point(b, destination, 1, 1);
    if (dir < 0 || at < 0 || attach_fd(dir, at))
        return -1;
    struct cursor c;
    struct op op;
    plan_rewind(b->plan, &c);
    while (plan_next(&c, &op)) {
        if (op.code != OP_CGROUP || op.f[0].i != 1 || strncmp(op.f[1].s, "/sys/fs/cgroup/", 15))
            continue;
        char name[64];
        const char *p = op.f[1].s + 15;
        size_t n = strcspn(p, "/");
        if (n >= sizeof name)
            continue;
        memcpy(name, p, n);
        name[n] = 0;
        int m = !strcmp(name, "systemd") ? fresh("cgroup", "cgroup", "none,name=systemd", attrs) : fresh("cgroup", "cgroup", name, attrs);
        if (m < 0)
            continue;
        if (mkdirat(dir, name, 0755) == 0)
            sys_move_mount(m, "", dir, name, MOVE_F_EMPTY);
        close(m);
    }
    struct mount_attr_ a = {.set = attrs & ATTR_RDONLY};
    sys_mount_setattr(dir, "", EMPTY_PATH, &a);
    close(dir), close(at);
    return 0;
}

/* /proc, /sys and /dev must be real folders of the root: a link there would send the mount elsewhere (CVE-2019-19921). */
static int top_is_link(struct build *b, const char *destination)
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

static void new_mount(struct build *b, const struct op *op)
{
    const char *type = op->f[0].s, *destination = op->f[1].s;
    unsigned attrs = attributes(op->f[2].i);
    int64_t how = op->f[5].i;
    struct statfs fs;
    if ((!strcmp(type, "proc") || !strcmp(type, "sysfs") || !strncmp(destination, "/dev", 4) || !strncmp(type, "cgroup", 6))
        && top_is_link(b, destination))
        fail_at(b, ENOTDIR, destination);
    if (!strcmp(type, "cgroup")) {
        if (statfs("/sys/fs/cgroup", &fs) == 0 && fs.f_type == 0x63677270)
            type = "cgroup2";
        else if (cgroup_v1(b, destination, attrs) == 0 || (how & M_MAY_FAIL))
            return;
        else
            fail_at(b, errno, destination);
    }
    int m = fresh(type, op->f[4].s, op->f[3].s, attrs);
    if (m < 0 && (how & M_FALL_BACK)) {
        /* A new procfs or sysfs is refused where parts of the host's are covered: then the host's own, as it is. */
        m = sys_open_tree(AT_FDCWD, !strcmp(type, "proc") ? "/proc" : "/sys", CLONE_TREE | TREE_CLOEXEC | RECURSIVE);
        struct mount_attr_ a = {.set = attrs};
        if (m >= 0)
            sys_mount_setattr(m, "", EMPTY_PATH | RECURSIVE, &a);
    }
    if (m < 0) {
        if (how & M_MAY_FAIL)
            return;
        fail_at(b, errno, destination);
    }
    int at = mount_point(b, destination, 1, how & M_MAKE);
    if (at < 0 || attach_fd(m, at)) {
        if (!(how & M_MAY_FAIL))
            fail_at(b, errno, destination);
    }
    close(m), close(at);
}

static void attach(struct build *b, const struct op *op)
{
    int from = b->slots->fd[op->f[0].i], folder = is_folder(from);
    const char *destination = op->f[1].s;
    int at = mount_point(b, destination, folder, op->f[2].i & A_MAKE);
    if (at < 0 && errno == ENOENT && (op->f[2].i & A_SKIP_MISSING))
        return;
    if (at < 0)
        fail_at(b, errno, destination);
    if (folder != is_folder(at))
        fail_at(b, ENOTDIR, destination);
    if (attach_fd(from, at))
        fail_at(b, errno, destination);
    close(from), close(at);
    b->slots->fd[op->f[0].i] = -1;
}

static void overlay_at(struct build *b, const struct op *op)
{
    char lower[16], over[16], merged[16], options[128];
    name_of(lower, sizeof lower, "a", b->next), name_of(over, sizeof over, "b", b->next), name_of(merged, sizeof merged, "c", b->next);
    b->next++;
    hang(b, op->f[0].i, lower);
    hang(b, op->f[1].i, over);
    size_t n = text_append(options, sizeof options, 0, "lowerdir=");
    n = text_append(options, sizeof options, n, lower);
    n = text_append(options, sizeof options, n, ",upperdir=");
    n = text_append(options, sizeof options, n, over);
    n = text_append(options, sizeof options, n, "/upper,workdir=");
    n = text_append(options, sizeof options, n, over);
    n = text_append(options, sizeof options, n, "/work");
    if (op->f[3].s[0]) {
        n = text_append(options, sizeof options, n, ",");
        n = text_append(options, sizeof options, n, op->f[3].s);
    }
    if (fchdir(b->scratch) || mkdir(merged, 0755) || mount("overlay", merged, "overlay", 0, options))
        fail_at(b, errno, op->f[2].s);
    int at = mount_point(b, op->f[2].s, 1, 1);
    if (at < 0 || sys_move_mount(AT_FDCWD, merged, at, "", MOVE_T_EMPTY))
        fail_at(b, errno, op->f[2].s);
    close(at);
}

static void make_link(struct build *b, const struct op *op)
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

static void mask(struct build *b, const char *path)
{
    int at = open_in_root(b->root, path, O_PATH);
    if (at < 0) {
        if (errno == ENOENT || errno == EACCES || errno == ENOTDIR)
            return;
        fail_at(b, errno, path);
    }
    int cover;
    if (is_folder(at)) {
        if (b->empty < 0) {
            int m = fresh("tmpfs", "tmpfs", "mode=755,size=0,nr_inodes=1", ATTR_RDONLY | ATTR_NOSUID | ATTR_NODEV | ATTR_NOEXEC);
            if (m < 0 || (mkdirat(b->scratch, "e", 0700) && errno != EEXIST) || sys_move_mount(m, "", b->scratch, "e", MOVE_F_EMPTY))
                fail_at(b, errno, "an empty file system");
            b->empty = m;
        }
        cover = sys_open_tree(b->empty, "", EMPTY_PATH | CLONE_TREE | TREE_CLOEXEC);
    } else {
        /* The host's null device, checked when it was opened: the container's may be a link to anything (CVE-2025-31133). */
        cover = sys_open_tree(b->null, "", EMPTY_PATH | CLONE_TREE | TREE_CLOEXEC);
    }
    if (cover < 0 || attach_fd(cover, at))
        fail_at(b, errno, path);
    close(cover), close(at);
}

static void make_readonly(struct build *b, const char *path)
{
    int at = open_in_root(b->root, path, O_PATH);
    if (at < 0) {
        if (errno == ENOENT || errno == EACCES)
            return;
        fail_at(b, errno, path);
    }
    int copy = sys_open_tree(at, "", EMPTY_PATH | CLONE_TREE | TREE_CLOEXEC | RECURSIVE);
    struct mount_attr_ a = {.set = ATTR_RDONLY};
    if (copy < 0 || sys_mount_setattr(copy, "", EMPTY_PATH | RECURSIVE, &a) || attach_fd(copy, at))
        fail_at(b, errno, path);
    close(copy), close(at);
}

static void set_sysctl(struct build *b, const struct op *op)
{
    char path[512];
    size_t n = text_append(path, sizeof path, 0, "sys/");
    int slashed = strchr(op->f[0].s, '/') != NULL;
    for (const char *s = op->f[0].s; *s && n + 1 < sizeof path; s++)
        path[n++] = !slashed && *s == '.' ? '/' : *s;
    path[n] = 0;
    /* Through a procfs that the image can't have touched, and no link in it (CVE-2019-19921, CVE-2025-52881). */
    int fd = sys_openat2(b->proc, path, O_WRONLY | O_CLOEXEC, 0, BENEATH | NO_SYMLINKS | NO_XDEV);
    size_t size = strlen(op->f[1].s);
    if (fd < 0 || write(fd, op->f[1].s, size) != (ssize_t)size)
        fail_at(b, errno, op->f[0].s);
    close(fd);
}

static void loopback_up(struct build *b)
{
    struct ifreq request = {.ifr_name = "lo"};
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    request.ifr_flags = IFF_UP | IFF_RUNNING;
    if (fd < 0 || ioctl(fd, SIOCSIFFLAGS, &request))
        fail_at(b, errno, "lo");
    close(fd);
}

static void console(struct build *b)
{
    struct statfs fs;
    int ptmx = open_in_root(b->root, "/dev/pts/ptmx", O_RDWR | O_NOCTTY);
    if (ptmx < 0 || fstatfs(ptmx, &fs) || fs.f_type != 0x1cd1)
        fail_at(b, ptmx < 0 ? errno : EINVAL, "/dev/pts/ptmx");
    int slave = -1;
    if (pty_open(ptmx, &slave))
        fail_at(b, errno, "the terminal");
    if (send_fd(b->sock, ptmx))
        fail_at(b, errno, "the terminal");
    close(ptmx);
    /* Bound from the open descriptor, not by a name in /dev/pts that could be swapped (CVE-2025-52565). */
    int tree = sys_open_tree(slave, "", EMPTY_PATH | CLONE_TREE | TREE_CLOEXEC);
    int at = mount_point(b, "/dev/console", 0, 1);
    if (tree < 0 || at < 0 || attach_fd(tree, at))
        fail_at(b, errno, "/dev/console");
    close(tree), close(at);
    *b->slave = slave;
}

static void pivot(struct build *b, int64_t propagation)
{
    if (fchdir(b->root) || syscall(SYS_pivot_root, ".", "."))
        fail_at(b, errno, "pivot_root");
    /* The old root now lies over the new one; it was made a slave, so that its going stays unknown to the host. */
    if (umount2(".", MNT_DETACH) || chdir("/"))
        fail_at(b, errno, "leaving the old root");
    if (propagation && mount(NULL, "/", NULL, (unsigned long)propagation, NULL))
        fail_at(b, errno, "/");
}

/* A folder of the host that everybody may reach: below the container's own run folder its root, another id, could not pass. The
 * scratch file system hides what is in it from our own mount namespace alone, and the pivot hides both. */
static const char *scratch_place(void)
{
    struct stat st;
    return stat("/tmp", &st) == 0 && S_ISDIR(st.st_mode) ? "/tmp" : "/run";
}

static void prefetch(struct build *b)
{
    struct stat st;
    const char *scratch = scratch_place();
    b->null = open("/dev/null", O_PATH | O_CLOEXEC);
    if (b->null < 0 || fstat(b->null, &st) || !S_ISCHR(st.st_mode) || st.st_rdev != makedev(1, 3))
        fail_at(b, ENODEV, "/dev/null of the host");
    b->proc = fresh("proc", "proc", "", ATTR_NOSUID | ATTR_NODEV | ATTR_NOEXEC);
    if (b->proc < 0)
        b->proc = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (b->proc < 0)
        fail_at(b, errno, "/proc of the host");
    if (mount("tmpfs", scratch, "tmpfs", MS_NOSUID | MS_NODEV, "mode=700"))
        fail_at(b, errno, scratch);
    b->scratch = open(scratch, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (b->scratch < 0)
        fail_at(b, errno, scratch);
}

/* Perform the plan's phase 3. `slave` gets the terminal's side of the container, `proc` a procfs to trust. */
void rootfs_build(const struct plan *plan, struct slots *slots, int sock, const struct report *r, int *slave, int *proc)
{
    struct build b = {.plan = plan, .slots = slots, .r = *r, .scratch = -1, .root = -1, .empty = -1, .sock = sock, .slave = slave};
    struct cursor c;
    struct op op;
    plan_rewind(plan, &c);
    while (plan_next(&c, &op)) {
        b.r.op = op.index;
        switch (op.code) {
        case OP_PROPAGATION:
            if (mount(NULL, "/", NULL, (unsigned long)op.f[0].i, NULL))
                fail_at(&b, errno, "/");
            prefetch(&b);
            break;
        case OP_OVERLAY: overlay(&b, &op); break;
        case OP_ROOT: plain_root(&b, &op); break;
        case OP_MOUNT: new_mount(&b, &op); break;
        case OP_ATTACH: attach(&b, &op); break;
        case OP_OVERLAY_AT: overlay_at(&b, &op); break;
        case OP_SYMLINK: make_link(&b, &op); break;
        case OP_MASK: mask(&b, op.f[0].s); break;
        case OP_READONLY: make_readonly(&b, op.f[0].s); break;
        case OP_SYSCTL: set_sysctl(&b, &op); break;
        case OP_HOSTNAME:
            if (sethostname(op.f[0].s, op.f[0].len))
                fail_at(&b, errno, op.f[0].s);
            break;
        case OP_DOMAINNAME:
            if (setdomainname(op.f[0].s, op.f[0].len))
                fail_at(&b, errno, op.f[0].s);
            break;
        case OP_LOOPBACK: loopback_up(&b); break;
        case OP_CONSOLE: console(&b); break;
        case OP_MKDIR: {
            int at = mount_point(&b, op.f[0].s, 1, 1);
            if (at < 0)
                fail_at(&b, errno, op.f[0].s);
            close(at);
            break;
        }
        case OP_PIVOT: pivot(&b, op.f[0].i); break;
        case OP_ROOT_READONLY: {
            struct mount_attr_ a = {.set = ATTR_RDONLY};
            if (sys_mount_setattr(AT_FDCWD, "/", 0, &a))
                fail_at(&b, errno, "/");
            break;
        }
        default: break;
        }
    }
    *proc = b.proc;
}
