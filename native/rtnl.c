/* Links, addresses and routes by netlink: what `ip` does, in a few microseconds each. */
#include "net.h"
#include "rnet.h"
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <net/if.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

struct request {
    union { struct nlmsghdr h; uint8_t bytes[1024]; } u;
};

int rtnl_open(struct rtnl *k)
{
    k->fd = net_socket(NETLINK_ROUTE);
    k->seq = 0;
    return k->fd < 0 ? -1 : 0;
}

int rtnl_index(const struct rtnl *k, const char *name)
{
    struct ifreq q;
    memset(&q, 0, sizeof q);
    if (copy_text(q.ifr_name, sizeof q.ifr_name, name))
        return 0;
    return ioctl(k->fd, SIOCGIFINDEX, &q) ? 0 : q.ifr_ifindex;
}

static void begin(struct request *q, int type, int flags, const void *head, size_t n)
{
    memset(q, 0, sizeof *q);
    q->u.h.nlmsg_type = (uint16_t)type;
    q->u.h.nlmsg_flags = (uint16_t)(NLM_F_REQUEST | NLM_F_ACK | flags);
    memcpy(q->u.bytes + NLMSG_HDRLEN, head, n);
    q->u.h.nlmsg_len = NLMSG_HDRLEN + (uint32_t)NLMSG_ALIGN(n);
}

static size_t put(struct request *q, int type, const void *value, size_t n)
{
    size_t at = q->u.h.nlmsg_len;
    if (at + NLA_HDRLEN + n + 4 > sizeof q->u.bytes)
        return at; /* names and addresses are short: validated before */
    struct nlattr a = {(uint16_t)(NLA_HDRLEN + n), (uint16_t)type};
    memcpy(q->u.bytes + at, &a, sizeof a);
    if (n)
        memcpy(q->u.bytes + at + NLA_HDRLEN, value, n);
    q->u.h.nlmsg_len = (uint32_t)(at + NLA_ALIGN(NLA_HDRLEN + n));
    return at;
}

static void put_text(struct request *q, int type, const char *s) { put(q, type, s, strlen(s) + 1); }
static void put_number(struct request *q, int type, uint32_t v) { put(q, type, &v, sizeof v); }
static size_t nest(struct request *q, int type) { return put(q, type | NLA_F_NESTED, NULL, 0); }

static void end_nest(struct request *q, size_t at)
{
    uint16_t n = (uint16_t)(q->u.h.nlmsg_len - at);
    memcpy(q->u.bytes + at, &n, sizeof n);
}

static int ask(struct rtnl *k, struct request *q)
{
    union { struct nlmsghdr h; uint8_t bytes[4096]; } a;
    q->u.h.nlmsg_seq = ++k->seq;
    if (send(k->fd, q->u.bytes, q->u.h.nlmsg_len, 0) < 0)
        return -1;
    for (;;) {
        ssize_t n = recv(k->fd, a.bytes, sizeof a.bytes, 0);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < (ssize_t)sizeof(struct nlmsghdr))
            return n < 0 ? -1 : (errno = EIO, -1);
        if (a.h.nlmsg_type != NLMSG_ERROR || a.h.nlmsg_seq != k->seq)
            continue;
        int code;
        memcpy(&code, a.bytes + NLMSG_HDRLEN, sizeof code);
        return code ? (errno = -code, -1) : 0;
    }
}

static int mac_bytes(const char *text, uint8_t out[6])
{
    for (int i = 0; i < 12; i++) {
        char c = text[i / 2 * 3 + i % 2];
        int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
        if (digit < 0)
            return errno = EINVAL, -1;
        out[i / 2] = (uint8_t)(i % 2 ? out[i / 2] << 4 | digit : digit);
        if (i % 2 && i < 11 && text[i / 2 * 3 + 2] != ':')
            return errno = EINVAL, -1;
    }
    return text[17] ? (errno = EINVAL, -1) : 0;
}

static int put_mac(struct request *q, const char *mac)
{
    uint8_t bytes[6];
    if (!mac[0])
        return 0;
    if (mac_bytes(mac, bytes))
        return -1;
    put(q, IFLA_ADDRESS, bytes, 6);
    return 0;
}

static int name_ok(const char *name)
{
    return strlen(name) < IFNAMSIZ ? 1 : (errno = EINVAL, 0);
}

/* No error if there is one of that name already: then it is as somebody made it. */
int rtnl_bridge(struct rtnl *k, const char *name, const char *mac, int mtu)
{
    struct request q;
    struct ifinfomsg head = {.ifi_family = AF_UNSPEC};
    if (!name_ok(name))
        return -1;
    begin(&q, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, &head, sizeof head);
    put_text(&q, IFLA_IFNAME, name);
    if (put_mac(&q, mac))
        return -1;
    if (mtu > 0)
        put_number(&q, IFLA_MTU, (uint32_t)mtu);
    size_t info = nest(&q, IFLA_LINKINFO);
    put_text(&q, IFLA_INFO_KIND, "bridge");
    end_nest(&q, info);
    return ask(k, &q) && errno != EEXIST ? -1 : 0;
}

int rtnl_veth(struct rtnl *k, const char *bridge, const char *outside, const char *inside, const char *mac, int mtu, int netns)
{
    struct request q;
    struct ifinfomsg head = {.ifi_family = AF_UNSPEC, .ifi_flags = IFF_UP, .ifi_change = IFF_UP};
    int master = rtnl_index(k, bridge);
    if (!master)
        return errno = ENODEV, -1;
    if (!name_ok(outside) || !name_ok(inside))
        return -1;
    begin(&q, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, &head, sizeof head);
    put_text(&q, IFLA_IFNAME, outside);
    put_number(&q, IFLA_MASTER, (uint32_t)master);
    if (mtu > 0)
        put_number(&q, IFLA_MTU, (uint32_t)mtu);
    size_t info = nest(&q, IFLA_LINKINFO);
    put_text(&q, IFLA_INFO_KIND, "veth");
    size_t data = nest(&q, IFLA_INFO_DATA);
    /* Its own end can't be up before this one is there. */
    static const struct ifinfomsg other;
    size_t peer = put(&q, VETH_INFO_PEER | NLA_F_NESTED, &other, sizeof other);
    put_text(&q, IFLA_IFNAME, inside);
    if (mtu > 0)
        put_number(&q, IFLA_MTU, (uint32_t)mtu);
    if (put_mac(&q, mac))
        return -1;
    put_number(&q, IFLA_NET_NS_FD, (uint32_t)netns);
    end_nest(&q, peer);
    end_nest(&q, data);
    end_nest(&q, info);
    return ask(k, &q);
}

int rtnl_port(struct rtnl *k, const char *name, int isolated, int hairpin)
{
    struct request q;
    struct ifinfomsg head = {.ifi_family = AF_BRIDGE, .ifi_index = rtnl_index(k, name)};
    uint8_t on = 1;
    begin(&q, RTM_SETLINK, 0, &head, sizeof head);
    size_t port = nest(&q, IFLA_PROTINFO);
    if (hairpin)
        put(&q, IFLA_BRPORT_MODE, &on, 1);
    if (isolated)
        put(&q, IFLA_BRPORT_ISOLATED, &on, 1);
    end_nest(&q, port);
    return ask(k, &q);
}

int rtnl_sublink(struct rtnl *k, const char *kind, int mode, const char *parent, const char *inside, const char *mac, int mtu, int netns)
{
    struct request q;
    struct ifinfomsg head = {.ifi_family = AF_UNSPEC};
    int index = rtnl_index(k, parent);
    if (!index)
        return errno = ENODEV, -1;
    if (!name_ok(inside))
        return -1;
    begin(&q, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, &head, sizeof head);
    put_text(&q, IFLA_IFNAME, inside);
    put_number(&q, IFLA_LINK, (uint32_t)index);
    put_number(&q, IFLA_NET_NS_FD, (uint32_t)netns);
    if (mtu > 0)
        put_number(&q, IFLA_MTU, (uint32_t)mtu);
    int mac_wanted = !strcmp(kind, "macvlan");
    if (mac_wanted && put_mac(&q, mac))
        return -1;
    size_t info = nest(&q, IFLA_LINKINFO);
    put_text(&q, IFLA_INFO_KIND, kind);
    size_t data = nest(&q, IFLA_INFO_DATA);
    if (mac_wanted) {
        put_number(&q, IFLA_MACVLAN_MODE, (uint32_t)mode);
    } else {
        uint16_t short_mode = (uint16_t)mode;
        put(&q, IFLA_IPVLAN_MODE, &short_mode, 2);
    }
    end_nest(&q, data);
    end_nest(&q, info);
    return ask(k, &q);
}

int rtnl_up(struct rtnl *k, const char *name)
{
    struct request q;
    struct ifinfomsg head = {.ifi_family = AF_UNSPEC, .ifi_index = rtnl_index(k, name), .ifi_flags = IFF_UP, .ifi_change = IFF_UP};
    begin(&q, RTM_NEWLINK, 0, &head, sizeof head);
    return ask(k, &q);
}

int rtnl_delete(struct rtnl *k, const char *name)
{
    struct request q;
    struct ifinfomsg head = {.ifi_family = AF_UNSPEC, .ifi_index = rtnl_index(k, name)};
    if (!head.ifi_index)
        return errno = ENODEV, -1;
    begin(&q, RTM_DELLINK, 0, &head, sizeof head);
    return ask(k, &q);
}

/* ADDRESS[/PREFIX] → family, bytes, prefix (all bits without one) */
static int parse(const char *text, int *family, uint8_t bytes[16], int *prefix)
{
    char address[64];
    int64_t bits = -1;
    const char *slash = strchr(text, '/');
    size_t n = slash ? (size_t)(slash - text) : strlen(text);
    if (n >= sizeof address)
        return errno = EINVAL, -1;
    memcpy(address, text, n);
    address[n] = 0;
    *family = strchr(address, ':') ? AF_INET6 : AF_INET;
    int most = *family == AF_INET ? 32 : 128;
    if (inet_pton(*family, address, bytes) != 1 || (slash && (parse_number(slash + 1, &bits) || bits < 0 || bits > most)))
        return errno = EINVAL, -1;
    *prefix = slash ? (int)bits : most;
    return 0;
}

int rtnl_address(struct rtnl *k, const char *name, const char *text)
{
    struct request q;
    uint8_t bytes[16];
    int family, prefix;
    if (parse(text, &family, bytes, &prefix))
        return -1;
    struct ifaddrmsg head = {.ifa_family = (uint8_t)family, .ifa_prefixlen = (uint8_t)prefix,
        /* the address is leased: nobody else has it, and the search would keep it from being used for a second */
        .ifa_flags = family == AF_INET6 ? IFA_F_NODAD : 0, .ifa_index = (uint32_t)rtnl_index(k, name)};
    size_t n = family == AF_INET ? 4 : 16;
    begin(&q, RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, &head, sizeof head);
    put(&q, IFA_LOCAL, bytes, n);
    put(&q, IFA_ADDRESS, bytes, n);
    if (family == AF_INET && prefix < 31) {
        for (int i = prefix; i < 32; i++)
            bytes[i / 8] |= (uint8_t)(0x80 >> i % 8);
        put(&q, IFA_BROADCAST, bytes, 4);
    }
    return ask(k, &q) && errno != EEXIST ? -1 : 0;
}

int rtnl_route(struct rtnl *k, const char *name, const char *text)
{
    struct request q;
    uint8_t to[16] = {0}, gate[16] = {0};
    char target[80];
    int family = AF_INET, prefix = 0, gate_family = 0, ignored;
    const char *via = strstr(text, " via ");
    size_t n = via ? (size_t)(via - text) : strlen(text);
    if (n >= sizeof target)
        return errno = EINVAL, -1;
    memcpy(target, text, n);
    target[n] = 0;
    if (via && parse(via + 5, &gate_family, gate, &ignored))
        return -1;
    if (!strcmp(target, "default"))
        family = gate_family ? gate_family : AF_INET;
    else if (!strcmp(target, "default6"))
        family = AF_INET6;
    else if (parse(target, &family, to, &prefix))
        return -1;
    if (gate_family && gate_family != family)
        return errno = EINVAL, -1;
    struct rtmsg head = {.rtm_family = (uint8_t)family, .rtm_dst_len = (uint8_t)prefix, .rtm_table = RT_TABLE_MAIN,
        .rtm_protocol = RTPROT_STATIC, .rtm_scope = via ? RT_SCOPE_UNIVERSE : RT_SCOPE_LINK, .rtm_type = RTN_UNICAST};
    size_t size = family == AF_INET ? 4 : 16;
    begin(&q, RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL, &head, sizeof head);
    if (prefix)
        put(&q, RTA_DST, to, size);
    if (via)
        put(&q, RTA_GATEWAY, gate, size);
    put_number(&q, RTA_OIF, (uint32_t)rtnl_index(k, name));
    return ask(k, &q) && errno != EEXIST ? -1 : 0;
}

/* One batch, from its begin to its end. */
static int one_batch(int fd, const uint8_t *p, size_t n)
{
    uint8_t answer[8192];
    int wanted = 0, first = 0;
    for (size_t at = 0; at + NLMSG_HDRLEN <= n;) {
        struct nlmsghdr h;
        memcpy(&h, p + at, sizeof h);
        wanted += h.nlmsg_flags & NLM_F_ACK ? 1 : 0;
        at += NLMSG_ALIGN(h.nlmsg_len);
    }
    if (send(fd, p, n, 0) < 0)
        return -1;
    while (wanted > 0) {
        ssize_t got = recv(fd, answer, sizeof answer, 0);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return got < 0 ? -1 : (errno = EIO, -1);
        for (size_t at = 0; at + NLMSG_HDRLEN + 4 <= (size_t)got;) {
            struct nlmsghdr h;
            int code;
            memcpy(&h, answer + at, sizeof h);
            memcpy(&code, answer + at + NLMSG_HDRLEN, sizeof code);
            if (h.nlmsg_len < NLMSG_HDRLEN)
                break;
            if (h.nlmsg_type == NLMSG_ERROR) {
                wanted--;
                if (code && !first)
                    first = -code;
            }
            at += NLMSG_ALIGN(h.nlmsg_len);
        }
        if (first)
            break; /* nothing of the batch is in force, and not every message gets an answer then */
    }
    return first ? (errno = first, -1) : 0;
}

/* Several batches behind each other: each is in force as a whole or not at all, and a failed one doesn't keep the next. */
int nfnl_batch(const void *data, size_t n, int last)
{
    const uint8_t *p = data;
    int first = 0, much = 1 << 20, room = (int)n + 65536, fd = -1;
    for (size_t at = 0, begun = 0; at + NLMSG_HDRLEN <= n;) {
        struct nlmsghdr h;
        memcpy(&h, p + at, sizeof h);
        if (h.nlmsg_len < NLMSG_HDRLEN || h.nlmsg_len > n - at)
            return errno = EINVAL, -1;
        at += NLMSG_ALIGN(h.nlmsg_len);
        if (h.nlmsg_type != NFNL_MSG_BATCH_END)
            continue;
        if (fd < 0) {
            fd = net_socket(NETLINK_NETFILTER);
            if (fd < 0)
                return -1;
            if (setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &room, sizeof room))
                setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &room, sizeof room);
            setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &much, sizeof much);
        }
        if (one_batch(fd, p + begun, at - begun)) {
            if (!first)
                first = errno;
            /* The rest of its answers would be taken for the next one's. */
            close(fd);
            fd = -1;
        }
        begun = at;
    }
    /* The kernel waits for all processors, 10 ms, when a socket is closed after something was taken away: so the last one of a
     * monitor stays, at a high number, and is closed after all that others wait for. */
    if (fd >= 0 && last)
        fcntl(fd, F_DUPFD_CLOEXEC, 900);
    if (fd >= 0)
        close(fd);
    return first ? (errno = first, -1) : 0;
}
