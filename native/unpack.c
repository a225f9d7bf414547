/* `unpack DIR`: a tar stream on standard input becomes a layer's tree. The stream is hostile: every member is made through descriptors
 * of folders that openat2 resolved inside DIR; the last part of a name is never followed. docs/internals/store.md has the words. */
#include "tar.h"
#include "tree.h"
#include "wherry.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

struct unpacker {
    int root;
    int keep_owners, oci;
    uint64_t max_bytes, max_entries, bytes, entries, left_out;
    /* the folder of the last member: most members share it with the one before */
    char parent_name[TAR_PATH];
    int parent, parent_gives_group;
    uid_t uid;
    gid_t gid;
    /* folders get their times at the end, when nothing changes in them any more */
    char *folders;
    size_t folders_n, folders_size;
    const char *why;
};

static int refuse(struct unpacker *u, const char *why)
{
    u->why = why;
    return -1;
}

/* The name without leading slashes, "." parts and doubled slashes; -1 for one that climbs with "..". */
static int clean_name(const char *name, char *to, size_t size)
{
    size_t n = 0;
    for (const char *p = name; *p;) {
        size_t len = strcspn(p, "/");
        if (len == 2 && p[0] == '.' && p[1] == '.')
            return -1;
        if (len && !(len == 1 && p[0] == '.')) {
            if (n + len + 2 > size)
                return -1;
            if (n)
                to[n++] = '/';
            memcpy(to + n, p, len);
            n += len;
        }
        p += len;
        while (*p == '/')
            p++;
    }
    to[n] = 0;
    return 0;
}

static void forget_parent(struct unpacker *u)
{
    if (u->parent >= 0)
        close(u->parent);
    u->parent = -1;
}

static int is_whiteout(const struct stat *st)
{
    return S_ISCHR(st->st_mode) && st->st_rdev == makedev(0, 0);
}

static int make_opaque(int folder)
{
    return fsetxattr(folder, "user.overlay.opaque", "y", 1, 0);
}

/* One missing folder on the way to a member. What this layer deleted and then puts something into is a folder made anew. */
static int make_folder(struct unpacker *u, int at, const char *name)
{
    struct stat st = {0};
    int deleted = fstatat(at, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && is_whiteout(&st);
    if (deleted && unlinkat(at, name, 0))
        return -1;
    if (mkdirat(at, name, 0755)) {
        if (errno == EEXIST) /* a link that leads nowhere: not ours to make what it points to; or a file */
            errno = S_ISLNK(st.st_mode) ? ELOOP : ENOTDIR;
        return -1;
    }
    int fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd >= 0 && deleted && u->oci)
        make_opaque(fd);
    return fd;
}

/* A folder below the root, made with all its parents where it is missing. */
static int open_folder(struct unpacker *u, const char *path)
{
    int fd = resolve_in_root(u->root, path, O_RDONLY | O_DIRECTORY);
    if (fd >= 0 || (errno != ENOENT && errno != ENOTDIR))
        return fd;
    char part[TAR_PATH], name[TAR_PATH];
    size_t n = 0;
    int at = dup(u->root);
    for (const char *p = path; at >= 0 && *p;) {
        size_t len = strcspn(p, "/");
        if (n)
            part[n++] = '/';
        memcpy(part + n, p, len);
        n += len;
        part[n] = 0;
        memcpy(name, p, len);
        name[len] = 0;
        /* A folder is one step from where we are; only a link has to be resolved from the root, which a deep tree makes long. */
        fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (fd < 0 && (errno == ENOTDIR || errno == ELOOP))
            fd = resolve_in_root(u->root, part, O_RDONLY | O_DIRECTORY);
        if (fd < 0 && (errno == ENOENT || errno == ENOTDIR))
            fd = make_folder(u, at, name);
        int e = errno;
        close(at);
        at = fd;
        errno = e;
        p += len + (p[len] == '/');
    }
    return at;
}

static int open_parent(struct unpacker *u, const char *name, const char **base)
{
    const char *slash = strrchr(name, '/');
    size_t n = slash ? (size_t)(slash - name) : 0;
    *base = slash ? slash + 1 : name;
    if (u->parent >= 0 && strlen(u->parent_name) == n && !memcmp(u->parent_name, name, n))
        return u->parent;
    forget_parent(u);
    memcpy(u->parent_name, name, n);
    u->parent_name[n] = 0;
    u->parent = open_folder(u, u->parent_name);
    struct stat st;
    u->parent_gives_group = u->parent < 0 || fstat(u->parent, &st) || (st.st_mode & S_ISGID);
    return u->parent;
}

/* Make room for a member. 1: a folder is there and stays; 2: a whiteout was there; 0: nothing is there now. */
static int clear_place(struct unpacker *u, int parent, const char *base, int folder)
{
    struct stat st;
    if (fstatat(parent, base, &st, AT_SYMLINK_NOFOLLOW))
        return errno == ENOENT ? 0 : -1;
    if (folder && S_ISDIR(st.st_mode))
        return 1;
    if (S_ISDIR(st.st_mode)) {
        forget_parent(u);
        int again = open_folder(u, u->parent_name);
        if (again < 0)
            return -1;
        u->parent = again;
        tree_remove(again, base);
        return fstatat(again, base, &st, AT_SYMLINK_NOFOLLOW) ? 0 : -1;
    }
    if (unlinkat(parent, base, 0))
        return -1;
    return is_whiteout(&st) ? 2 : 0;
}

static int set_xattrs(struct unpacker *u, int fd, const struct tar_member *m)
{
    const struct tar_xattr *x = m->xattrs;
    for (int i = 0; i < m->xattrs_n; i++) {
        /* Names that mean something to overlayfs or to us would let an image forge what only its engine may say. */
        int ours = !strncmp(x[i].name, "user.overlay.", 13) || !strncmp(x[i].name, "user.wherry.", 12);
        int wanted = !strncmp(x[i].name, "user.", 5) || !strcmp(x[i].name, "security.capability");
        if (ours || !wanted)
            continue;
        if (fsetxattr(fd, x[i].name, x[i].value, x[i].size, 0) && errno != EOPNOTSUPP && errno != EPERM)
            return refuse(u, strerror(errno));
    }
    return 0;
}

static int set_owner(struct unpacker *u, int fd, const struct tar_member *m)
{
    if (!u->keep_owners) {
        /* One id is all this user has; who should own it is kept for an export. */
        char text[48];
        if (m->uid == 0 && m->gid == 0)
            return 0;
        size_t n = text_number(text, sizeof text, 0, m->uid);
        n = text_append(text, sizeof text, n, ":");
        n = text_number(text, sizeof text, n, m->gid);
        fsetxattr(fd, "user.wherry.owner", text, n, 0);
        return 0;
    }
    if (fchown(fd, (uid_t)m->uid, (gid_t)m->gid))
        return refuse(u, errno == EINVAL ? "its owner has no id here: the user's subordinate ids are too few" : strerror(errno));
    return 0;
}

static int finish(struct unpacker *u, int fd, const struct tar_member *m)
{
    /* A change of owner takes set-user-id bits and capabilities away, so it comes first. */
    if (set_owner(u, fd, m))
        return -1;
    if (fchmod(fd, m->mode & 07777))
        return refuse(u, strerror(errno));
    if (m->xattrs_n && set_xattrs(u, fd, m))
        return -1;
    return 0;
}

static int remember_folder(struct unpacker *u, const char *name, const struct tar_member *m)
{
    size_t n = strlen(name) + 1 + 16;
    if (u->folders_n + n > u->folders_size) {
        size_t size = u->folders_size ? u->folders_size * 2 : 65536;
        while (size < u->folders_n + n)
            size *= 2;
        char *more = realloc(u->folders, size);
        if (!more)
            return refuse(u, "no memory");
        u->folders = more, u->folders_size = size;
    }
    memcpy(u->folders + u->folders_n, &m->mtime.tv_sec, 8);
    memcpy(u->folders + u->folders_n + 8, &m->mtime.tv_nsec, 8);
    memcpy(u->folders + u->folders_n + 16, name, n - 16);
    u->folders_n += n;
    return 0;
}

static void set_folder_times(struct unpacker *u)
{
    for (size_t at = 0; at < u->folders_n;) {
        struct timespec t[2];
        memcpy(&t[1].tv_sec, u->folders + at, 8);
        memcpy(&t[1].tv_nsec, u->folders + at + 8, 8);
        t[0] = t[1];
        const char *name = u->folders + at + 16;
        at += 16 + strlen(name) + 1;
        int fd = resolve_in_root(u->root, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
        if (fd < 0)
            continue; /* replaced by something else meanwhile */
        futimens(fd, t);
        close(fd);
    }
}

static int unpack_folder(struct unpacker *u, const char *name, const struct tar_member *m)
{
    const char *base;
    int fd, was = 1;
    if (!*name) {
        fd = dup(u->root);
    } else {
        int parent = open_parent(u, name, &base);
        if (parent < 0)
            return refuse(u, strerror(errno));
        was = clear_place(u, parent, base, 1);
        parent = u->parent;
        if (was < 0 || (was != 1 && mkdirat(parent, base, 0700)))
            return refuse(u, strerror(errno));
        fd = openat(parent, base, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    }
    if (fd < 0)
        return refuse(u, strerror(errno));
    int bad = finish(u, fd, m);
    /* It was deleted and made anew in this layer: nothing of the folder below shows through. */
    if (!bad && was == 2 && u->oci)
        make_opaque(fd);
    close(fd);
    return bad ? -1 : remember_folder(u, name, m);
}

static int copy_data(struct unpacker *u, struct tar *t, const struct tar_member *m, int fd)
{
    uint64_t end = 0;
    for (;;) {
        const char *data;
        uint64_t offset;
        ssize_t n = tar_data(t, &data, &offset);
        if (n < 0)
            return refuse(u, t->why);
        if (n == 0)
            break;
        u->bytes += (uint64_t)n;
        if (u->bytes > u->max_bytes)
            return refuse(u, "the archive is larger than allowed (--max-bytes)");
        if (offset != end && lseek(fd, (off_t)offset, SEEK_SET) < 0)
            return refuse(u, strerror(errno));
        if (write_all(fd, data, (size_t)n))
            return refuse(u, strerror(errno));
        end = offset + (uint64_t)n;
    }
    if (m->sparse && ftruncate(fd, (off_t)m->real_size))
        return refuse(u, strerror(errno));
    return 0;
}

static int unpack_file(struct unpacker *u, struct tar *t, const char *name, const struct tar_member *m)
{
    const char *base;
    int parent = *name ? open_parent(u, name, &base) : (errno = EISDIR, -1);
    if (parent < 0)
        return refuse(u, strerror(errno));
    /* Made with its owner and mode at once, most files need no more calls than to be written. */
    int ready = !u->parent_gives_group && !(m->mode & 07000) && !m->xattrs_n && (uid_t)m->uid == u->uid && (gid_t)m->gid == u->gid;
    int how = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC;
    mode_t mode = ready ? (mode_t)m->mode : 0600;
    int fd = openat(parent, base, how, mode);
    if (fd < 0 && errno == EEXIST && clear_place(u, parent, base, 0) >= 0)
        fd = openat(u->parent, base, how, mode);
    if (fd < 0)
        return refuse(u, strerror(errno));
    int bad = copy_data(u, t, m, fd) || (!ready && finish(u, fd, m));
    struct timespec times[2] = {m->mtime, m->mtime};
    if (!bad)
        futimens(fd, times);
    close(fd);
    return bad ? -1 : 0;
}

static int unpack_link(struct unpacker *u, const char *name, const struct tar_member *m)
{
    char target[TAR_PATH];
    const char *base;
    if (clean_name(m->link, target, sizeof target) || !*target)
        return refuse(u, "a hard link leads out of the archive");
    const char *slash = strrchr(target, '/');
    char folder[TAR_PATH] = "";
    if (slash)
        memcpy(folder, target, (size_t)(slash - target)), folder[slash - target] = 0;
    int from = resolve_in_root(u->root, folder, O_PATH | O_DIRECTORY);
    if (from < 0)
        return refuse(u, "a hard link to what isn't there");
    const char *from_base = slash ? slash + 1 : target;
    int parent = open_parent(u, name, &base);
    struct stat a, b;
    int bad = 0;
    if (parent < 0)
        bad = refuse(u, strerror(errno));
    else if (fstatat(from, from_base, &a, AT_SYMLINK_NOFOLLOW) || is_whiteout(&a))
        bad = refuse(u, "a hard link to what isn't there");
    else if (fstatat(parent, base, &b, AT_SYMLINK_NOFOLLOW) == 0 && a.st_dev == b.st_dev && a.st_ino == b.st_ino)
        bad = 0; /* itself */
    else if (clear_place(u, parent, base, 0) < 0 || linkat(from, from_base, u->parent, base, 0))
        bad = refuse(u, strerror(errno));
    close(from);
    return bad;
}

static int set_bare(struct unpacker *u, const char *base, const struct tar_member *m, int is_link)
{
    struct timespec times[2] = {m->mtime, m->mtime};
    if (u->keep_owners && fchownat(u->parent, base, (uid_t)m->uid, (gid_t)m->gid, AT_SYMLINK_NOFOLLOW))
        return refuse(u, errno == EINVAL ? "its owner has no id here: the user's subordinate ids are too few" : strerror(errno));
    if (!is_link && fchmodat(u->parent, base, m->mode & 07777, 0))
        return refuse(u, strerror(errno));
    utimensat(u->parent, base, times, AT_SYMLINK_NOFOLLOW);
    return 0;
}

static int unpack_special(struct unpacker *u, const char *name, const struct tar_member *m)
{
    const char *base;
    int parent = *name ? open_parent(u, name, &base) : (errno = EISDIR, -1);
    if (parent < 0 || clear_place(u, parent, base, 0) < 0)
        return refuse(u, strerror(errno));
    parent = u->parent;
    if (m->type == '2') {
        if (symlinkat(m->link, parent, base))
            return refuse(u, strerror(errno));
        return set_bare(u, base, m, 1);
    }
    mode_t kind = m->type == '3' ? S_IFCHR : m->type == '4' ? S_IFBLK : S_IFIFO;
    if (kind == S_IFCHR && m->major == 0 && m->minor == 0)
        return refuse(u, "a device 0:0, which means a deletion to overlayfs");
    if (mknodat(parent, base, kind | 0600, makedev(m->major, m->minor))) {
        if (kind == S_IFIFO || errno != EPERM)
            return refuse(u, strerror(errno));
        /* Nobody makes devices in a user namespace. Images hold them in /dev, which every container covers. */
        u->left_out++;
        return 0;
    }
    return set_bare(u, base, m, 0);
}

/* A file "gone" in the form that overlayfs takes for a user: a marked empty file in a folder that is marked, too. */
static int marked_whiteout(int parent, const char *base)
{
    int fd = openat(parent, base, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    int bad = fd < 0 || fsetxattr(fd, "user.overlay.whiteout", "y", 1, 0) || fsetxattr(parent, "user.overlay.opaque", "x", 1, 0);
    if (fd >= 0)
        close(fd);
    return bad;
}

static int unpack_whiteout(struct unpacker *u, const char *name, const char *base)
{
    const char *ignored;
    int parent = open_parent(u, name, &ignored);
    if (parent < 0)
        return refuse(u, strerror(errno));
    if (!strcmp(base, ".wh..wh..opq"))
        return make_opaque(parent) ? refuse(u, strerror(errno)) : 0;
    if (!strncmp(base, ".wh..wh.", 8))
        return 0; /* aufs's own bookkeeping in old images */
    const char *gone = base + 4;
    if (!*gone || !strcmp(gone, ".") || !strcmp(gone, ".."))
        return refuse(u, "a deletion of nothing");
    struct stat st;
    if (fstatat(parent, gone, &st, AT_SYMLINK_NOFOLLOW) == 0) {
        /* Deletions are about the layers below: what this layer itself brings stays, a folder without what lies under it. */
        int fd = S_ISDIR(st.st_mode) ? openat(parent, gone, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC) : -1;
        if (fd >= 0) {
            make_opaque(fd);
            close(fd);
        }
        return 0;
    }
    if (mknodat(parent, gone, S_IFCHR, makedev(0, 0)) == 0)
        return 0;
    return errno == EPERM && !marked_whiteout(parent, gone) ? 0 : refuse(u, strerror(errno));
}

static int unpack_member(struct unpacker *u, struct tar *t, const struct tar_member *m)
{
    char name[TAR_PATH];
    if (++u->entries > u->max_entries)
        return refuse(u, "the archive has more members than allowed (--max-entries)");
    if (clean_name(m->name, name, sizeof name))
        return refuse(u, "its name leads out of the archive, or is too long");
    const char *slash = strrchr(name, '/'), *base = slash ? slash + 1 : name;
    if (t->recipe)
        recipe_file(t->recipe, name);
    if (u->oci && !strncmp(base, ".wh.", 4))
        return unpack_whiteout(u, name, base);
    switch (m->type) {
    case '0': case '7': case 0: return unpack_file(u, t, name, m);
    case '5': return unpack_folder(u, name, m);
    case '1': return unpack_link(u, name, m);
    case '2': case '3': case '4': case '6': return *name ? unpack_special(u, name, m) : refuse(u, "it replaces the root");
    default: return refuse(u, "a member of unknown type");
    }
}

static int number_option(const char *text, uint64_t *to)
{
    int64_t n;
    if (parse_number(text, &n))
        return -1;
    *to = (uint64_t)n;
    return 0;
}

/* A name is the archive's choice: what a terminal or a reader of lines would act on is written as octal. */
static int complain(const char *name, const char *why)
{
    char text[4 * TAR_PATH + 512];
    size_t n = text_append(text, sizeof text, 0, "unpack: ");
    for (const unsigned char *p = (const unsigned char *)name; *p; p++) {
        char shown[5] = {(char)*p};
        if (*p < ' ' || *p == 127 || *p == '\\')
            shown[0] = '\\', shown[1] = (char)('0' + (*p >> 6)), shown[2] = (char)('0' + (*p >> 3 & 7)), shown[3] = (char)('0' + (*p & 7));
        n = text_append(text, sizeof text, n, shown);
    }
    n = text_append(text, sizeof text, n, ": ");
    n = text_append(text, sizeof text, n, why);
    n = text_append(text, sizeof text, n, "\n");
    write_all(2, text, n);
    return 1;
}

int cmd_unpack(int argc, char **argv)
{
    struct unpacker u = {.root = -1, .keep_owners = 1, .oci = 1, .max_bytes = UINT64_MAX, .max_entries = UINT64_MAX, .parent = -1};
    int sync_it = 0;
    const char *folder = NULL, *recipe = NULL;
    for (int i = 0; i < argc; i++) {
        if (!strcmp(argv[i], "--whiteouts=ignore"))
            u.oci = 0;
        else if (!strcmp(argv[i], "--whiteouts=overlay"))
            u.oci = 1;
        else if (!strcmp(argv[i], "--owners=single"))
            u.keep_owners = 0;
        else if (!strcmp(argv[i], "--owners=keep"))
            u.keep_owners = 1;
        else if (!strcmp(argv[i], "--sync"))
            sync_it = 1;
        else if (!strncmp(argv[i], "--max-bytes=", 12) && !number_option(argv[i] + 12, &u.max_bytes))
            continue;
        else if (!strncmp(argv[i], "--max-entries=", 14) && !number_option(argv[i] + 14, &u.max_entries))
            continue;
        else if (!strncmp(argv[i], "--recipe=", 9))
            recipe = argv[i] + 9;
        else if (argv[i][0] != '-' && !folder)
            folder = argv[i];
        else
            return 125;
    }
    if (!folder)
        return 125;
    umask(0);
    u.uid = geteuid(), u.gid = getegid();
    u.root = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    static struct tar t;
    static struct tar_member m;
    static struct recipe written;
    int recipe_fd = recipe && u.root >= 0 ? open(recipe, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600) : -1;
    if (u.root < 0 || (recipe && recipe_fd < 0))
        return complain(u.root < 0 ? folder : recipe, strerror(errno));
    tar_begin(&t, 0);
    if (recipe) {
        recipe_begin(&written, recipe_fd);
        t.recipe = &written;
    }
    int more;
    while ((more = tar_next(&t, &m)) > 0 && !unpack_member(&u, &t, &m))
        continue;
    if (more)
        return complain(m.name[0] ? m.name : "the archive", more < 0 ? t.why : u.why);
    tar_drain(&t);
    if (recipe && recipe_end(&written))
        return complain(recipe, strerror(errno));
    forget_parent(&u);
    set_folder_times(&u);
    free(u.folders);
    if (sync_it && syncfs(u.root))
        return complain(folder, strerror(errno));
    char text[128];
    size_t n = text_number(text, sizeof text, text_append(text, sizeof text, 0, "entries="), (int64_t)u.entries);
    n = text_number(text, sizeof text, text_append(text, sizeof text, n, " bytes="), (int64_t)u.bytes);
    n = text_number(text, sizeof text, text_append(text, sizeof text, n, " left-out="), (int64_t)u.left_out);
    n = text_append(text, sizeof text, n, "\n");
    return write_all(1, text, n) ? 1 : 0;
}
