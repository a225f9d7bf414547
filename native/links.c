/* Hard links: an open hash from device and inode to a path. */
#include "links.h"
#include <stdlib.h>
#include <string.h>

static struct link_entry *slot(const struct links *l, dev_t dev, ino_t ino)
{
    for (size_t i = ino;; i++) {
        struct link_entry *e = &l->table[i & (l->size - 1)];
        if (!e->path || (e->ino == ino && e->dev == dev))
            return e;
    }
}

const char *links_find(const struct links *l, const struct stat *st)
{
    return l->size ? slot(l, st->st_dev, st->st_ino)->path : NULL;
}

void links_add(struct links *l, const struct stat *st, const char *path)
{
    if (2 * l->count + 2 > l->size) {
        struct links wider = {calloc(l->size ? 2 * l->size : 64, sizeof *wider.table), l->count, l->size ? 2 * l->size : 64};
        if (!wider.table)
            return;
        for (size_t i = 0; i < l->size; i++)
            if (l->table[i].path)
                *slot(&wider, l->table[i].dev, l->table[i].ino) = l->table[i];
        free(l->table);
        *l = wider;
    }
    char *copy = strdup(path);
    if (copy)
        *slot(l, st->st_dev, st->st_ino) = (struct link_entry){st->st_dev, st->st_ino, copy}, l->count++;
}
