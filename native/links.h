#ifndef WHERRY_LINKS_H
#define WHERRY_LINKS_H
#include <stddef.h>
#include <sys/stat.h>
/* Files with several names that have been met: where the first name was. */
struct link_entry { dev_t dev; ino_t ino; char *path; };
struct links { struct link_entry *table; size_t count, size; };
const char *links_find(const struct links *l, const struct stat *st);
void links_add(struct links *l, const struct stat *st, const char *path); /* what memory doesn't suffice for becomes a file of its own */
#endif
