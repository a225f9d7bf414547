/* A container's network, as its monitor makes it: docs/internals/networks.md. */
#ifndef WHERRY_NET_H
#define WHERRY_NET_H
#include "wherry.h"

/* The monitor moves into the user's own network namespace, where the plan says so. Fails by r. */
void net_enter_root(const struct plan *plan, const struct report *r);
/* Bridges, rules and held ports, before the first process of a start. 0, or -1 with the failure reported to status. */
int net_prepare(const struct plan *plan, int status, int first);
/* The container's own ends, in the network namespace of `pid`. Likewise. */
int net_links(const struct plan *plan, pid_t pid, int status);
/* The container has ended for good. */
void net_over(const struct plan *plan);
void names_gone(const struct plan *plan);
int net_change(int run_fd, int *plan_fd, pid_t pid);
int net_is_wanted(const struct plan *plan);

/* rtnl.c: requests to the kernel about links, addresses and routes */
struct rtnl {
    int fd;
    uint32_t seq;
};
int rtnl_open(struct rtnl *k);
int rtnl_index(const struct rtnl *k, const char *name); /* 0: no such link */
int rtnl_bridge(struct rtnl *k, const char *name, const char *mac, int mtu);
int rtnl_veth(struct rtnl *k, const char *bridge, const char *outside, const char *inside, const char *mac, int mtu, int netns);
int rtnl_port(struct rtnl *k, const char *name, int isolated, int hairpin);
int rtnl_sublink(struct rtnl *k, const char *kind, int mode, const char *parent, const char *inside, const char *mac, int mtu, int netns);
int rtnl_up(struct rtnl *k, const char *name);
int rtnl_address(struct rtnl *k, const char *name, const char *text); /* ADDRESS/PREFIX */
int rtnl_route(struct rtnl *k, const char *name, const char *text); /* default|ADDRESS/PREFIX [via ADDRESS] */
int rtnl_delete(struct rtnl *k, const char *name);
int nfnl_batch(const void *data, size_t n, int last); /* messages as they are; 0, or -1 with errno of the first that failed */
#endif
