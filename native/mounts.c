/* Mounts in the container: new file systems, sources attached, paths masked or made read-only. */
#include "mounts.h"
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

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

/* A new file system as a detached mount, without the option called `without`. What else the kernel refuses fails. */
static int fresh_without(const char *type, const char *source, const char *data, unsigned attrs, const char *without)
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
        if (n && strcmp(part, without) && sys_fsconfig(fs, equals ? 1 : 0, part, equals ? equals + 1 : NULL, 0)
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

int fresh(const char *type, const char *source, const char *data, unsigned attrs)
{
    int m = fresh_without(type, source, data, attrs, "");
    /* A devpts's group may have no mapping. Newer kernels refuse the option, older ones (6.1) the file system. */
    if (m < 0 && errno == EINVAL && !strcmp(type, "devpts"))
        m = fresh_without(type, source, data, attrs, "gid");
    return m;
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

void new_mount(struct build *b, const struct op *op)
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
    int at = mount_point(b, destination, 1, how & M_MAKE ? POINT_MAKE : POINT_NONE);
    if (at < 0 || attach_fd(m, at)) {
        if (!(how & M_MAY_FAIL))
            fail_at(b, errno, destination);
    }
    close(m), close(at);
}

void attach(struct build *b, const struct op *op)
{
    int from = b->slots->fd[op->f[0].i], folder = is_folder(from);
    const char *destination = op->f[1].s;
    /* Something extra is nice to have: whatever the image has in its place, the container starts. */
    int extra = !!(op->f[2].i & A_EXTRA);
    int at = mount_point(b, destination, folder, extra ? POINT_LAST : op->f[2].i & A_MAKE ? POINT_MAKE : POINT_NONE);
    if (at < 0 && (extra || (errno == ENOENT && (op->f[2].i & A_SKIP_MISSING))))
        return;
    if (extra && folder != is_folder(at)) {
        close(at);
        return;
    }
    if (at < 0)
        fail_at(b, errno, destination);
    if (folder != is_folder(at))
        fail_at(b, ENOTDIR, destination);
    if (attach_fd(from, at))
        fail_at(b, errno, destination);
    close(from), close(at);
    b->slots->fd[op->f[0].i] = -1;
}

void mask(struct build *b, const char *path)
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

void make_readonly(struct build *b, const char *path)
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

/* A file of the host's, copied to the scratch tmpfs and hung where it is wanted: it never touches a disk of the container. */
void secret(struct build *b, const struct op *op)
{
    char name[32], block[4096];
    ssize_t n;
    int from = b->slots->fd[op->f[0].i];
    text_number(name, sizeof name, text_append(name, sizeof name, 0, "secret"), op->f[0].i);
    int to = openat(b->scratch, name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (to < 0)
        fail_at(b, errno, op->f[1].s);
    while ((n = read(from, block, sizeof block)) > 0)
        if (write_all(to, block, (size_t)n))
            fail_at(b, errno, op->f[1].s);
    memset(block, 0, sizeof block);
    if (n < 0 || fchown(to, (uid_t)op->f[2].i, (gid_t)op->f[3].i) || fchmod(to, (mode_t)op->f[4].i))
        fail_at(b, errno, op->f[1].s);
    int tree = sys_open_tree(to, "", EMPTY_PATH | CLONE_TREE | TREE_CLOEXEC), at;
    struct mount_attr_ a = {.set = ATTR_RDONLY | ATTR_NOSUID | ATTR_NODEV | ATTR_NOEXEC};
    if (tree < 0 || sys_mount_setattr(tree, "", EMPTY_PATH, &a) || (at = mount_point(b, op->f[1].s, 0, 1)) < 0 || attach_fd(tree, at))
        fail_at(b, errno, op->f[1].s);
    close(tree), close(at), close(to), close(from);
    b->slots->fd[op->f[0].i] = -1;
}
