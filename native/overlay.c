/* The root file system out of its layers, and binds with a writable layer of their own. */
#include "mounts.h"
#include <errno.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

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

void overlay(struct build *b, const struct op *op)
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

void plain_root(struct build *b, const struct op *op)
{
    hang(b, op->f[0].i, "r");
    b->root = openat(b->scratch, "r", O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (b->root < 0)
        fail_at(b, errno, "the root file system");
}

void overlay_at(struct build *b, const struct op *op)
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

/* An image's trees at a folder of the container: mounted in the scratch folder, then all of it or a part hung where it is wanted. */
void image_at(struct build *b, const struct op *op)
{
    static char options[4096];
    char name[32], merged[16];
    name_of(merged, sizeof merged, "i", b->next);
    size_t at = text_append(options, sizeof options, 0, "userxattr,lowerdir=");
    for (uint32_t i = 0; i < op->f[0].len; i++) {
        size_t n = text_append(name, sizeof name, 0, merged);
        text_number(name, sizeof name, text_append(name, sizeof name, n, "-"), i);
        hang(b, list_int(&op->f[0], i), name);
        at = text_append(options, sizeof options, at, i ? ":" : "");
        at = text_append(options, sizeof options, at, name);
    }
    b->next++;
    if (at + 1 >= sizeof options)
        fail_at(b, E2BIG, "too many layers");
    /* overlayfs wants an upper or two lowers: a single tree is what it is. */
    int single = op->f[0].len == 1;
    if (fchdir(b->scratch) || (!single && (mkdir(merged, 0755) || mount("overlay", merged, "overlay", MS_RDONLY, options))))
        fail_at(b, errno, op->f[1].s);
    int root = open(single ? name : merged, O_PATH | O_DIRECTORY | O_CLOEXEC);
    int part = root < 0 || !op->f[2].s[0] ? root : open_in_root(root, op->f[2].s, O_PATH);
    int tree = part < 0 ? -1 : sys_open_tree(part, "", EMPTY_PATH | CLONE_TREE | TREE_CLOEXEC);
    struct mount_attr_ a = {.set = ATTR_RDONLY};
    if (tree < 0 || sys_mount_setattr(tree, "", EMPTY_PATH, &a))
        fail_at(b, errno, op->f[2].s);
    int to = mount_point(b, op->f[1].s, is_folder(tree), 1);
    if (to < 0 || sys_move_mount(tree, "", to, "", MOVE_F_EMPTY | MOVE_T_EMPTY))
        fail_at(b, errno, op->f[1].s);
    if (part != root)
        close(part);
    close(root), close(tree), close(to);
}
