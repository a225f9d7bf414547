/* `copytree [--layer] FROM TO` and `copyup LAYERS NUMBERS PATH TO`: a tree copied with owners, modes, times, extended attributes, hard links and
 * holes, by reflink where the file system has it. The tree may change meanwhile, and whoever changes it may be hostile: every step is
 * an open of one name below a descriptor, and no link is followed. */
#include "links.h"
#include "tree.h"
#include "wherry.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

#define FOLDER (O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
/* Two descriptors a level. Deeper trees than this are no data that anybody has on purpose. */
#define DEPTH 900
#define PATH 4096
#define XATTR_MAX (64 * 1024)

struct copy {
    int root, no_clone, no_range;
    struct links links;
    char path[PATH];
    char names[XATTR_MAX], value[XATTR_MAX], block[1 << 18];
};

/* With --layer what overlayfs says in a layer is part of it: deletions and folders that hide what lies below. */
static int as_layer;

static int ours(const char *name)
{
    if (as_layer && (!strcmp(name, "user.overlay.opaque") || !strcmp(name, "user.overlay.whiteout")))
        return 1;
    return strncmp(name, "user.overlay.", 13) && strncmp(name, "trusted.", 8);
}

/* What is left out without a word: attributes that this file system or this user can't have at all. */
static int copy_xattrs(struct copy *c, int from, int to)
{
    ssize_t n = flistxattr(from, c->names, sizeof c->names);
    for (ssize_t at = 0; at < n; at += (ssize_t)strlen(c->names + at) + 1) {
        const char *name = c->names + at;
        ssize_t size;
        if (!ours(name) || (size = fgetxattr(from, name, c->value, sizeof c->value)) < 0)
            continue;
        if (fsetxattr(to, name, c->value, (size_t)size, 0) && errno != EOPNOTSUPP && errno != EPERM)
            return -1;
    }
    return 0;
}

static int copy_meta(struct copy *c, int from, int to, const struct stat *st)
{
    struct timespec times[2] = {st->st_atim, st->st_mtim};
    if (fchown(to, st->st_uid, st->st_gid) || fchmod(to, st->st_mode & 07777) || copy_xattrs(c, from, to))
        return -1;
    return futimens(to, times);
}

static int copy_range(struct copy *c, int from, int to, off_t at, off_t end)
{
    while (at < end && !c->no_range) {
        loff_t a = at, b = at;
        ssize_t n = (ssize_t)syscall(SYS_copy_file_range, from, &a, to, &b, (size_t)(end - at), 0u);
        if (n == 0)
            return 0; /* it was cut meanwhile */
        if (n < 0) {
            if (errno != EXDEV && errno != EINVAL && errno != ENOSYS && errno != EOPNOTSUPP)
                return -1;
            c->no_range = 1;
            break;
        }
        at += n;
    }
    while (at < end) {
        size_t want = (size_t)(end - at) < sizeof c->block ? (size_t)(end - at) : sizeof c->block;
        ssize_t n = pread(from, c->block, want, at);
        if (n <= 0)
            return n < 0 ? -1 : 0;
        for (ssize_t done = 0; done < n;) {
            ssize_t w = pwrite(to, c->block + done, (size_t)(n - done), at + done);
            if (w < 0)
                return -1;
            done += w;
        }
        at += n;
    }
    return 0;
}

static int copy_data(struct copy *c, int from, int to, const struct stat *st)
{
    if (!st->st_size)
        return 0;
    if (!c->no_clone) {
        if (ioctl(to, FICLONE, from) == 0)
            return 0;
        c->no_clone = 1;
    }
    /* Small and without holes, as nearly all are: one read, one write. */
    if (st->st_size <= (off_t)sizeof c->block && (off_t)st->st_blocks * 512 >= st->st_size) {
        int kept = c->no_range;
        c->no_range = 1;
        int bad = copy_range(c, from, to, 0, st->st_size);
        c->no_range = kept;
        return bad;
    }
    if (ftruncate(to, st->st_size))
        return -1;
    for (off_t at = 0; at < st->st_size;) {
        off_t data = lseek(from, at, SEEK_DATA);
        if (data < 0)
            return errno == ENXIO ? 0 : copy_range(c, from, to, at, st->st_size);
        off_t hole = lseek(from, data, SEEK_HOLE);
        if (hole < 0)
            hole = st->st_size;
        if (copy_range(c, from, to, data, hole))
            return -1;
        at = hole;
    }
    return 0;
}

/* Make a name of an earlier file's. 1: done. */
static int linked(struct copy *c, int to, const char *name, const struct stat *st)
{
    const char *first = links_find(&c->links, st);
    return first && linkat(c->root, first, to, name, 0) == 0;
}

static void note(struct copy *c, const char *name, size_t n, const struct stat *st)
{
    size_t len = strlen(name);
    if (n + len + 2 > PATH)
        return; /* no path leads there in one step: its other names become files of their own */
    memcpy(c->path + n, name, len + 1);
    links_add(&c->links, st, c->path);
    c->path[n] = 0;
}

static int copy_file(struct copy *c, int from, int to, const char *name, size_t n)
{
    struct stat st;
    int in = openat(from, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (in < 0)
        return errno == ENOENT || errno == ELOOP ? 0 : -1; /* gone, or another thing by now */
    if (fstat(in, &st) || !S_ISREG(st.st_mode)) {
        close(in);
        return 0;
    }
    if (st.st_nlink > 1 && linked(c, to, name, &st)) {
        close(in);
        return 0;
    }
    int out = openat(to, name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    int bad = out < 0 || copy_data(c, in, out, &st) || copy_meta(c, in, out, &st);
    int e = errno;
    close(in);
    if (out >= 0)
        close(out);
    if (!bad && st.st_nlink > 1)
        note(c, name, n, &st);
    errno = e;
    return bad ? -1 : 0;
}

static int copy_special(int from, int to, const char *name, const struct stat *st)
{
    if (S_ISLNK(st->st_mode)) {
        char target[PATH + 1];
        ssize_t n = readlinkat(from, name, target, PATH);
        if (n < 0)
            return errno == ENOENT || errno == EINVAL ? 0 : -1;
        target[n] = 0;
        if (symlinkat(target, to, name))
            return -1;
    } else {
        if (S_ISCHR(st->st_mode) && st->st_rdev == 0 && !as_layer)
            return 0; /* overlayfs's mark of something deleted */
        if (mknodat(to, name, st->st_mode & (S_IFMT | 07777), st->st_rdev))
            return errno == EPERM ? 0 : -1; /* a device node, and we are no root */
        if (fchmodat(to, name, st->st_mode & 07777, 0))
            return -1;
    }
    struct timespec times[2] = {st->st_atim, st->st_mtim};
    utimensat(to, name, times, AT_SYMLINK_NOFOLLOW);
    return fchownat(to, name, st->st_uid, st->st_gid, AT_SYMLINK_NOFOLLOW);
}

static int copy_folder(struct copy *c, int from, int to, size_t n, int depth);

static int copy_entry(struct copy *c, int from, int to, const char *name, size_t n, int depth)
{
    struct stat st;
    if (fstatat(from, name, &st, AT_SYMLINK_NOFOLLOW))
        return errno == ENOENT ? 0 : -1;
    if (S_ISREG(st.st_mode))
        return copy_file(c, from, to, name, n);
    if (!S_ISDIR(st.st_mode))
        return copy_special(from, to, name, &st);
    int in = openat(from, name, FOLDER);
    if (in < 0)
        return errno == ENOENT || errno == ENOTDIR || errno == ELOOP ? 0 : -1;
    int out = mkdirat(to, name, 0700) ? -1 : openat(to, name, FOLDER);
    size_t len = strlen(name);
    size_t next = n + len + 2 > PATH ? PATH : n + len + 1;
    if (next < PATH)
        memcpy(c->path + n, name, len), c->path[n + len] = '/', c->path[next] = 0;
    int bad = out < 0 || copy_folder(c, in, out, next, depth + 1);
    int e = errno;
    close(in);
    if (out >= 0)
        close(out);
    errno = e;
    return bad ? -1 : 0;
}

static int copy_folder(struct copy *c, int from, int to, size_t n, int depth)
{
    char block[4096];
    struct stat st;
    long got;
    if (depth > DEPTH)
        return errno = ENAMETOOLONG, -1;
    while ((got = syscall(SYS_getdents64, from, block, sizeof block)) > 0) {
        for (long at = 0; at < got;) {
            unsigned short length;
            memcpy(&length, block + at + 16, sizeof length);
            const char *entry = block + at + 19;
            at += length;
            if (!strcmp(entry, ".") || !strcmp(entry, ".."))
                continue;
            if (copy_entry(c, from, to, entry, n, depth)) {
                int e = errno;
                write_all(2, entry, strlen(entry));
                write_all(2, ": ", 2);
                errno = e;
                return -1;
            }
        }
    }
    return got < 0 || fstat(from, &st) ? -1 : copy_meta(c, from, to, &st);
}

static int failed(const char *what)
{
    char text[600];
    size_t n = text_append(text, sizeof text, 0, what);
    n = text_append(text, sizeof text, n, ": ");
    n = text_append(text, sizeof text, n, strerror(errno));
    n = text_append(text, sizeof text, n, "\n");
    write_all(2, text, n);
    return 1;
}

/* The content of `from` into the folder `to`, which is made; `to` itself gets from's owner, mode and times. */
static int copy_into(int from, const char *to)
{
    static struct copy c;
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
    if (mkdir(to, 0700) && errno != EEXIST)
        return failed(to);
    c.root = open(to, FOLDER);
    if (c.root < 0)
        return failed(to);
    return copy_folder(&c, from, c.root, 0, 0) ? failed(to) : 0;
}

int cmd_copytree(int argc, char **argv)
{
    umask(0);
    if (argc == 3 && !strcmp(argv[0], "--layer"))
        as_layer = 1, argc--, argv++;
    int from = argc == 2 ? open(argv[0], FOLDER) : -1;
    if (from < 0)
        return argc == 2 ? failed(argv[0]) : 125;
    return copy_into(from, argv[1]);
}

/* The image's root: its only layer as it is, or all of them under overlayfs, mounted on TO.mnt for as long as we live. */
static int image_root(const char *layers, const char *numbers, const char *mnt)
{
    char options[8192];
    if (chdir(layers))
        return -1;
    if (!strchr(numbers, ':'))
        return open(numbers, FOLDER);
    size_t n = text_append(options, sizeof options, 0, "userxattr,lowerdir=");
    n = text_append(options, sizeof options, n, numbers);
    if (n + 1 >= sizeof options || n > 4000)
        return errno = E2BIG, -1;
    if (unshare(CLONE_NEWNS) || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) || (mkdir(mnt, 0700) && errno != EEXIST))
        return -1;
    if (mount("overlay", mnt, "overlay", MS_RDONLY, options))
        return -1;
    return open(mnt, FOLDER);
}

/* 0: copied. 3: the image has nothing there. 4: it has something that is no folder. */
int cmd_copyup(int argc, char **argv)
{
    if (argc != 4)
        return 125;
    umask(0);
    char mnt[PATH];
    size_t n = text_append(mnt, sizeof mnt, 0, argv[3]);
    if (n + 5 > sizeof mnt)
        return 125;
    text_append(mnt, sizeof mnt, n, ".mnt");
    int root = image_root(argv[0], argv[1], mnt);
    if (root < 0)
        return failed("the image's layers");
    int from = resolve_in_root(root, argv[2], O_RDONLY | O_DIRECTORY), code;
    if (from < 0)
        code = errno == ENOENT ? 3 : errno == ENOTDIR ? 4 : failed(argv[2]);
    else
        code = copy_into(from, argv[3]);
    umount2(mnt, MNT_DETACH);
    rmdir(mnt);
    return code;
}
