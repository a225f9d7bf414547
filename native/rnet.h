/* An ordinary user's own network namespace, R-net, as his monitors hold it, and the link that joins it to the outside. */
#ifndef WHERRY_RNET_H
#define WHERRY_RNET_H
#include "wherry.h"

/* Take hold of R-net (joined or made) and see that there is a link. Fails by r. */
void rnet_enter(const struct op *op, const struct report *r);
/* 0: networks live in the namespace that we are in. */
int rnet_is(void);
/* A netlink socket where networks live; in the network namespace that the descriptor names. -1 with errno. */
int net_socket(int protocol);
int net_socket_in(int netns, int protocol);
/* PUBLISH: the port is bound and handed to the link. 0, or -1 with errno. */
int rnet_publish(const struct op *op);

/* The container has ended for good: its ports are free when this returns. */
void rnet_over(void);

/* The monitor's loop: a link that dies is started again. */
int rnet_fd(void);
int64_t rnet_due(void);
void rnet_work(void);
#endif
