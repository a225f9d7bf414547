/* The monitor's part of a container's network: the plan's operations, in its order. A restart performs them again. */
#include "net.h"
#include "rnet.h"
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

/* Phase 0 is over. */
static int net_ends(const struct op *op) { return op->code >= 20 && op->code != OP_ROUTE && op->code != OP_PUBLISH; }

static int failed(int status, const struct op *op, const char *what)
{
    int e = errno;
    report_failed(status, op->index, e, what);
    return errno = e, -1;
}

/* The first name in a list of strings is copied: the next look at the plan may overwrite what was found. */
static const char *kept(const char *s, char *to, size_t size)
{
    to[0] = 0;
    copy_text(to, size, s);
    return to;
}

static int bridge(const struct op *op, int status)
{
    struct rtnl k;
    char name[IFNAMSIZ], mac[20];
    kept(op->f[0].s, name, sizeof name), kept(op->f[1].s, mac, sizeof mac);
    if (rtnl_open(&k))
        return failed(status, op, "a netlink socket");
    int bad = 0;
    if (!rtnl_index(&k, name)) {
        bad = rtnl_bridge(&k, name, mac, (int)op->f[3].i);
        const uint8_t *at = NULL;
        uint32_t left;
        for (const char *s; !bad && (s = list_next(&op->f[2], &at, &left));)
            bad = rtnl_address(&k, name, s);
        bad = bad || rtnl_up(&k, name);
    }
    int e = errno;
    close(k.fd);
    errno = e;
    return bad ? failed(status, op, name) : 0;
}

/* A published port is bound and never listened on: no other program gets it, and what the rules don't take is refused. */
static int hold(const struct op *op, int status)
{
    union { struct sockaddr any; struct sockaddr_in v4; struct sockaddr_in6 v6; } a;
    memset(&a, 0, sizeof a);
    int six = strchr(op->f[1].s, ':') != NULL, on = 1, protocol = (int)op->f[0].i;
    if (inet_pton(six ? AF_INET6 : AF_INET, op->f[1].s, six ? (void *)&a.v6.sin6_addr : (void *)&a.v4.sin_addr) != 1)
        return errno = EINVAL, failed(status, op, op->f[1].s);
    a.any.sa_family = six ? AF_INET6 : AF_INET;
    a.v4.sin_port = htons((uint16_t)op->f[2].i); /* sin6_port lies at the same place */
    int fd = socket(a.any.sa_family, (protocol == IPPROTO_UDP ? SOCK_DGRAM : SOCK_STREAM) | SOCK_CLOEXEC, protocol);
    if (fd < 0)
        return failed(status, op, op->f[1].s);
    if (six)
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
    if (bind(fd, &a.any, six ? sizeof a.v6 : sizeof a.v4)) {
        int e = errno;
        close(fd);
        return errno = e, failed(status, op, op->f[1].s);
    }
    return 0;
}

int net_is_wanted(const struct plan *plan)
{
    struct op op;
    return plan_find(plan, OP_NET_WAIT, &op);
}

int net_prepare(const struct plan *plan, int status, int first)
{
    struct cursor c;
    struct op op;
    plan_rewind(plan, &c);
    while (plan_next(&c, &op) && !net_ends(&op)) {
        if (op.code == OP_HOLD && first && hold(&op, status))
            return -1;
        if (op.code == OP_PUBLISH && first && rnet_publish(&op))
            return failed(status, &op, op.f[1].s);
    }
    plan_rewind(plan, &c);
    while (plan_next(&c, &op) && !net_ends(&op)) {
        if (op.code == OP_BRIDGE && bridge(&op, status))
            return -1;
        if (op.code == OP_NFT && (op.f[2].i & 2) && !first)
            continue;
        if (op.code == OP_NFT && op.f[0].len && nfnl_batch(op.f[0].raw, op.f[0].len, 0) && !(op.f[2].i & 1)
            && errno != EEXIST)
            return failed(status, &op, "the rules of nftables");
    }
    return 0;
}

static int settle_inside(struct rtnl *k, const struct op *op, const char *name, int addresses, int routes)
{
    const uint8_t *at = NULL;
    uint32_t left;
    int bad = rtnl_up(k, name);
    for (const char *s; !bad && (s = list_next(&op->f[addresses], &at, &left));)
        bad = rtnl_address(k, name, s);
    at = NULL;
    for (const char *s; !bad && (s = list_next(&op->f[routes], &at, &left));)
        bad = rtnl_route(k, name, s);
    return bad;
}

/* One end here, one there. A veth of an earlier start may be going still: namespaces end late. */
static int veth(struct rtnl *here, struct rtnl *there, const struct op *op, int netns)
{
    char bridge[IFNAMSIZ], outside[IFNAMSIZ], inside[IFNAMSIZ], mac[20];
    kept(op->f[0].s, bridge, sizeof bridge), kept(op->f[1].s, outside, sizeof outside);
    kept(op->f[2].s, inside, sizeof inside), kept(op->f[3].s, mac, sizeof mac);
    int bad = rtnl_veth(here, bridge, outside, inside, mac, (int)op->f[6].i, netns);
    if (bad && errno == EEXIST) {
        rtnl_delete(here, outside);
        bad = rtnl_veth(here, bridge, outside, inside, mac, (int)op->f[6].i, netns);
    }
    if (!bad && (op->f[7].i & 3))
        bad = rtnl_port(here, outside, (int)op->f[7].i & 1, (int)op->f[7].i & 2);
    return bad ? bad : settle_inside(there, op, inside, 4, 5);
}

static int sublink(struct rtnl *here, struct rtnl *there, const struct op *op, int netns)
{
    char kind[16], parent[IFNAMSIZ], inside[IFNAMSIZ], mac[20];
    kept(op->f[0].s, kind, sizeof kind), kept(op->f[2].s, parent, sizeof parent);
    kept(op->f[3].s, inside, sizeof inside), kept(op->f[4].s, mac, sizeof mac);
    if (rtnl_sublink(here, kind, (int)op->f[1].i, parent, inside, mac, (int)op->f[7].i, netns))
        return -1;
    return settle_inside(there, op, inside, 5, 6);
}

static int route(struct rtnl *there, const struct op *op)
{
    char name[IFNAMSIZ], text[160];
    kept(op->f[0].s, name, sizeof name), kept(op->f[1].s, text, sizeof text);
    return rtnl_route(there, name, text);
}

int net_links(const struct plan *plan, pid_t pid, int status)
{
    struct cursor c;
    struct op op;
    struct rtnl here = {-1, 0}, there = {-1, 0};
    struct op none = {.index = -1};
    char path[64];
    size_t n = text_append(path, sizeof path, 0, "/proc/");
    n = text_number(path, sizeof path, n, pid);
    text_append(path, sizeof path, n, "/ns/net");
    int netns = open(path, O_RDONLY | O_CLOEXEC), own = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC), bad = 0;
    if (netns < 0) {
        /* It has come to an end while it mounted, and says itself why. If it lives against all reason, it must not wait for ever. */
        kill(pid, SIGKILL);
        close(own);
        return 0;
    }
    if (own < 0 || rtnl_open(&here)) {
        bad = failed(status, &none, "the container's network namespace");
    } else {
        if (rnet_is()) {
            there.fd = net_socket_in(netns, 0 /* NETLINK_ROUTE */);
            bad = there.fd < 0;
        } else {
            bad = setns(netns, CLONE_NEWNET) || rtnl_open(&there);
            int e = errno;
            if (setns(own, CLONE_NEWNET))
                _exit(125); /* never go on in a container's own */
            errno = e;
        }
        if (bad)
            bad = failed(status, &none, "entering the container's network namespace");
    }
    plan_rewind(plan, &c);
    while (!bad && plan_next(&c, &op) && !net_ends(&op)) {
        if (op.code == OP_UNLINK && rtnl_delete(op.f[1].i ? &there : &here, op.f[0].s) && errno != ENODEV)
            bad = failed(status, &op, "a link of the container");
        else if (op.code == OP_ROUTE && route(&there, &op))
            bad = failed(status, &op, "a route of the container");
        else if (op.code == OP_VETH && veth(&here, &there, &op, netns))
            bad = failed(status, &op, "a link of the container");
        else if (op.code == OP_SUBLINK && sublink(&here, &there, &op, netns))
            bad = failed(status, &op, "a link of the container");
    }
    const int fds[] = {netns, own, here.fd, there.fd};
    for (int i = 0; i < 4; i++)
        if (fds[i] >= 0)
            close(fds[i]);
    return bad ? -1 : 0;
}

/* Each message on its own: what a killed command or a flush took away already must not keep the rest. */
void net_over(const struct plan *plan)
{
    struct cursor c;
    struct op op;
    rnet_over();
    plan_rewind(plan, &c);
    while (plan_next(&c, &op) && !net_ends(&op))
        if (op.code == OP_NFT && op.f[1].len)
            nfnl_batch(op.f[1].raw, op.f[1].len, 1);
}

void net_enter_root(const struct plan *plan, const struct report *report)
{
    struct op op;
    if (!plan_find(plan, OP_NETNS_ROOT, &op))
        return;
    struct report r = {report->fd, op.index};
    rnet_enter(&op, &r);
}

/* What a command has put into the run folder: `plan.part` is performed now, `plan` from the next start on. 0, or the errno. */
int net_change(int run_fd, int *plan_fd, pid_t pid)
{
    struct plan part;
    char why[256];
    int fd = openat(run_fd, "plan.part", O_RDONLY | O_CLOEXEC), next = openat(run_fd, "plan", O_RDONLY | O_CLOEXEC), e = 0;
    if (fd < 0 || next < 0) {
        e = errno;
    } else if (plan_read(fd, &part, why, sizeof why)) {
        e = EINVAL;
    } else {
        errno = EIO;
        if (net_prepare(&part, -1, 0) || (pid > 0 && net_links(&part, pid, -1)))
            e = errno;
        plan_free(&part);
    }
    if (fd >= 0)
        close(fd);
    if (e && next >= 0) {
        close(next);
    } else if (!e) {
        close(*plan_fd);
        *plan_fd = next;
    }
    unlinkat(run_fd, "plan.part", 0);
    return e;
}

/* `net USERNS NETNS PLAN`: bridges, rules and links that go, in the network namespace of running containers. Its exit code is an errno. */
int cmd_net(int argc, char **argv)
{
    struct plan plan;
    struct cursor c;
    struct op op;
    struct rtnl k;
    char why[256];
    int64_t fd[3];
    for (int i = 0; i < 3; i++)
        if (argc != 3 || parse_number(argv[i], &fd[i]))
            return EINVAL;
    if (setns((int)fd[0], CLONE_NEWUSER) || setns((int)fd[1], CLONE_NEWNET))
        return errno;
    if (plan_read((int)fd[2], &plan, why, sizeof why))
        return EINVAL;
    if (net_prepare(&plan, -1, 1) || rtnl_open(&k))
        return errno ? errno : EIO;
    plan_rewind(&plan, &c);
    while (plan_next(&c, &op) && !net_ends(&op))
        if (op.code == OP_UNLINK && rtnl_delete(&k, op.f[0].s) && errno != ENODEV)
            return errno;
    return 0;
}
