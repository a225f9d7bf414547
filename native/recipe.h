/* A layer's recipe: what of its tar is not in its tree (headers, padding), and where the rest lies. `pack` makes the same tar again. */
#ifndef WHERRY_RECIPE_H
#define WHERRY_RECIPE_H
#include <stddef.h>
#include <stdint.h>

/* "wherry-recipe 1\n", then records: a letter and numbers (LEB128).
 *   V n BYTES       n bytes as they are
 *   Z n             n zeros
 *   F n NAME        the data that follows lies in this file of the tree
 *   D offset n      n bytes of that file */
#define RECIPE_MAGIC "wherry-recipe 1\n"

struct recipe {
    int fd, bad, named;
    char name[4097];
    uint64_t offset, size; /* data not written down yet: what follows may continue it */
    uint64_t zeros; /* likewise */
    size_t plain_n, n;
    char plain[1 << 12], buffer[1 << 16];
};

void recipe_begin(struct recipe *r, int fd);
void recipe_bytes(struct recipe *r, const char *data, size_t n);
void recipe_file(struct recipe *r, const char *name);
void recipe_data(struct recipe *r, uint64_t offset, size_t n);
int recipe_end(struct recipe *r); /* -1: it could not be written */
#endif
