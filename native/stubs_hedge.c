#include "wherry.h"
int cmd_unpack(int c, char **v){(void)c;(void)v;return 125;}
int cmd_rmtree(int c, char **v){(void)c;(void)v;return 125;}
int cmd_pack(int c, char **v){(void)c;(void)v;return 125;}
