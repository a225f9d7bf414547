/* Reading tar: ustar, GNU and PAX, sparse members included. */
#ifndef WHERRY_TAR_H
#define WHERRY_TAR_H
#include "recipe.h"
#include <stdint.h>
#include <sys/types.h>
#include <time.h>

#define TAR_PATH 4097
#define TAR_XATTRS 64
#define TAR_EXTENTS 65536
#define TAR_META (1u << 20)

struct tar_xattr { char name[256]; const char *value; size_t size; };
struct tar_extent { uint64_t at, size; };

struct tar_member {
    char name[TAR_PATH], link[TAR_PATH];
    char type;
    unsigned mode, major, minor;
    int64_t uid, gid;
    uint64_t size, real_size;
    struct timespec mtime;
    struct tar_xattr xattrs[TAR_XATTRS];
    int xattrs_n;
    int sparse;
};

struct tar {
    int fd, ended;
    const char *why;
    struct recipe *recipe; /* NULL: nobody wants one */
    size_t at, end; /* unread bytes of the buffer */
    uint64_t left; /* of the current member's stored data */
    unsigned padding;
    /* sparse map of the current member */
    struct tar_extent extents[TAR_EXTENTS];
    int extents_n, extent;
    uint64_t extent_done, plain_at;
    int sparse;
    /* records that hold for the next member, and for all that follow */
    char meta[TAR_META], global[TAR_META];
    size_t meta_n, global_n;
    char buffer[1 << 18];
};

void tar_begin(struct tar *t, int fd);
int tar_next(struct tar *t, struct tar_member *m); /* 1 a member, 0 the end, -1 malformed: t->why */
ssize_t tar_data(struct tar *t, const char **data, uint64_t *offset); /* 0 at the member's end */
void tar_drain(struct tar *t);
#endif
