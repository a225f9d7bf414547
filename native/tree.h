#ifndef WHERRY_TREE_H
#define WHERRY_TREE_H
/* Remove `name` below the folder `dir`, whatever it is, following nothing. */
void tree_remove(int dir, const char *name);
#endif
