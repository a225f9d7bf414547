#ifndef WHERRY_TREE_H
#define WHERRY_TREE_H
#include <stdint.h>
/* Remove `name` below the folder `dir`, whatever it is: follows no link, enters no mount. 0 when it is gone. */
int tree_remove(int dir, const char *name);
/* Open `path` as if `root` were the root directory. */
int resolve_in_root(int root, const char *path, uint64_t flags);
#endif
