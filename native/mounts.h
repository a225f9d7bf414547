/* Building the container's file systems: what its parts share. */
#ifndef WHERRY_MOUNTS_H
#define WHERRY_MOUNTS_H
#include "wherry.h"
#include <fcntl.h>

/* of open_tree, move_mount, mount_setattr and openat2; older headers lack them */
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

/* flags of the plan's operations SOURCE, MOUNT and ATTACH */
enum { S_RECURSIVE = 1, S_IDMAP = 2, S_IDMAP_OR_PLAIN = 4, S_MAKE = 8, S_PATH_ONLY = 16, S_NO_LINK = 32, S_OF_JOINED = 64, S_READ = 128, S_SLAVE = 256 };
enum { M_MAY_FAIL = 1, M_MAKE = 2, M_FALL_BACK = 4 };
enum { A_MAKE = 1, A_SKIP_MISSING = 2, A_EXTRA = 4 };
/* mount_point: whether what is missing is made. POINT_LAST: only the last part, where the folder for it is there. */
enum { POINT_NONE = 0, POINT_MAKE = 1, POINT_LAST = 2 };

struct build {
    const struct plan *plan;
    struct slots *slots;
    struct report r;
    int scratch, root, proc, null, empty;
    int sock;
    int next;
    int *slave;
};

_Noreturn void fail_at(struct build *b, int err, const char *detail);

/* place.c: destinations */
int mount_point(struct build *b, const char *path, int folder, int make);
int is_folder(int fd);
int attach_fd(int from, int to);
int top_is_link(struct build *b, const char *destination);
void make_link(struct build *b, const struct op *op);

/* overlay.c: the root and other layered mounts */
void overlay(struct build *b, const struct op *op);
void secret(struct build *b, const struct op *op);
void image_at(struct build *b, const struct op *op);
void overlay_at(struct build *b, const struct op *op);
void plain_root(struct build *b, const struct op *op);

/* mounts.c: single mounts */
int fresh(const char *type, const char *source, const char *data, unsigned attrs);
void new_mount(struct build *b, const struct op *op);
void attach(struct build *b, const struct op *op);
void mask(struct build *b, const char *path);
void make_readonly(struct build *b, const char *path);
#endif
