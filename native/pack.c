/* `pack DIR RECIPE`: the tar that DIR was unpacked from, byte for byte, on standard output. */
#include "recipe.h"
#include "tar.h"
#include "wherry.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define IN_ROOT 0x10u
#define NO_SYMLINKS 4u

struct packer {
    FILE *recipe;
    int root, file;
    char name[TAR_PATH];
    const char *why;
    size_t n;
    char out[1 << 18];
};

static int refuse(struct packer *p, const char *why)
{
    p->why = why;
    return -1;
}

static int flush(struct packer *p)
{
    size_t n = p->n;
    p->n = 0;
    return n && write_all(1, p->out, n) ? refuse(p, strerror(errno)) : 0;
}

/* LEB128; -1 at the end of the recipe or for what is no number. */
static int number(struct packer *p, uint64_t *v)
{
    *v = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
        int c = getc_unlocked(p->recipe);
        if (c == EOF)
            return refuse(p, "its recipe is cut short");
        *v |= (uint64_t)(c & 127) << shift;
        if (!(c & 128))
            return 0;
    }
    return refuse(p, "its recipe is damaged");
}

static int put_bytes(struct packer *p, uint64_t n)
{
    while (n) {
        if (p->n == sizeof p->out && flush(p))
            return -1;
        size_t some = sizeof p->out - p->n < n ? sizeof p->out - p->n : (size_t)n;
        if (fread(p->out + p->n, 1, some, p->recipe) != some)
            return refuse(p, "its recipe is cut short");
        p->n += some, n -= some;
    }
    return 0;
}

static int put_zeros(struct packer *p, uint64_t n)
{
    while (n) {
        if (p->n == sizeof p->out && flush(p))
            return -1;
        size_t some = sizeof p->out - p->n < n ? sizeof p->out - p->n : (size_t)n;
        memset(p->out + p->n, 0, some);
        p->n += some, n -= some;
    }
    return 0;
}

static int open_file(struct packer *p)
{
    uint64_t n;
    if (number(p, &n))
        return -1;
    if (n >= sizeof p->name || fread(p->name, 1, (size_t)n, p->recipe) != n)
        return refuse(p, "its recipe is damaged");
    p->name[n] = 0;
    if (p->file >= 0)
        close(p->file);
    /* A folder on the way may have been a link when the tar was unpacked: resolved inside the tree, as then. */
    p->file = sys_openat2(p->root, p->name, O_RDONLY | O_CLOEXEC | O_NONBLOCK, 0, IN_ROOT | 2u);
    return p->file < 0 ? refuse(p, strerror(errno)) : 0;
}

static int put_data(struct packer *p)
{
    uint64_t offset, n;
    if (number(p, &offset) || number(p, &n))
        return -1;
    while (n) {
        if (p->n == sizeof p->out && flush(p))
            return -1;
        size_t room = sizeof p->out - p->n, some = room < n ? room : (size_t)n;
        ssize_t got = pread(p->file, p->out + p->n, some, (off_t)offset);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return refuse(p, got ? strerror(errno) : "it is shorter than it was");
        p->n += (size_t)got, offset += (uint64_t)got, n -= (uint64_t)got;
    }
    return 0;
}

static int pack(struct packer *p)
{
    char magic[sizeof RECIPE_MAGIC];
    if (fread(magic, 1, sizeof RECIPE_MAGIC - 1, p->recipe) != sizeof RECIPE_MAGIC - 1 || memcmp(magic, RECIPE_MAGIC, sizeof RECIPE_MAGIC - 1))
        return refuse(p, "its recipe has an unknown form");
    for (int c; (c = getc_unlocked(p->recipe)) != EOF;) {
        uint64_t n;
        switch (c) {
        case 'V':
            if (number(p, &n) || put_bytes(p, n))
                return -1;
            break;
        case 'Z':
            if (number(p, &n) || put_zeros(p, n))
                return -1;
            break;
        case 'F':
            if (open_file(p))
                return -1;
            break;
        case 'D':
            if (put_data(p))
                return -1;
            break;
        default:
            return refuse(p, "its recipe is damaged");
        }
    }
    return flush(p);
}

int cmd_pack(int argc, char **argv)
{
    static struct packer p = {.file = -1, .why = ""};
    if (argc != 2)
        return 125;
    p.root = open(argv[0], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    p.recipe = p.root < 0 ? NULL : fopen(argv[1], "re");
    if (p.recipe && !pack(&p))
        return 0;
    char text[TAR_PATH + 512];
    size_t n = text_append(text, sizeof text, 0, "pack: ");
    n = text_append(text, sizeof text, n, p.name[0] ? p.name : argv[p.root < 0 ? 0 : 1]);
    n = text_append(text, sizeof text, n, ": ");
    n = text_append(text, sizeof text, n, p.recipe ? p.why : strerror(errno));
    n = text_append(text, sizeof text, n, "\n");
    write_all(2, text, n);
    return 1;
}
