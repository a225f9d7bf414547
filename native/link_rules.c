/* What R-net needs for the link: a pair of devices that the default route leads into, so that what containers send outside comes by at
 * one place after all rules of the networks; addresses for the link's own listeners; and a table of rules. */
#include "link.h"
#include "nft.h"
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fib_rules.h>
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <net/if.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define OUT "wherry-out"
#define IN "wherry-in"
/* Both ends have the same address and ask for nobody's: what one sends, the other takes for its own. */
static const uint8_t MAC[6] = {0x02, 0x77, 0x68, 0x65, 0x72, 0x72};

struct request { struct nlmsghdr h; uint8_t body[1000]; };

static void *put(struct request *q, const void *p, size_t n)
{
    uint8_t *at = (uint8_t *)q + q->h.nlmsg_len;
    if (n)
        memcpy(at, p, n);
    q->h.nlmsg_len += (uint32_t)((n + 3) & ~(size_t)3);
    return at;
}

static void begin(struct request *q, int type, int flags, const void *head, size_t n)
{
    memset(q, 0, sizeof *q);
    q->h = (struct nlmsghdr){sizeof q->h, (uint16_t)type, (uint16_t)(NLM_F_REQUEST | NLM_F_ACK | flags), 1, 0};
    put(q, head, n);
}

static struct rtattr *attr(struct request *q, int type, const void *p, size_t n)
{
    struct rtattr a = {(uint16_t)(sizeof a + n), (uint16_t)type};
    struct rtattr *at = put(q, &a, sizeof a);
    put(q, p, n);
    return at;
}

static void end(struct request *q, struct rtattr *a) { a->rta_len = (uint16_t)((uint8_t *)q + q->h.nlmsg_len - (uint8_t *)a); }

/* 0, or an errno; `fine` is not one. */
static int talk(int fd, struct request *q, int fine)
{
    struct { struct nlmsghdr h; int error; uint8_t rest[1024]; } answer;
    if (send(fd, q, q->h.nlmsg_len, 0) < 0 || recv(fd, &answer, sizeof answer, 0) < (ssize_t)(sizeof answer.h + sizeof(int)))
        return errno;
    return -answer.error == fine ? 0 : -answer.error;
}

static int make_pair(int fd)
{
    struct request q;
    struct ifinfomsg none = {0};
    begin(&q, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, &none, sizeof none);
    uint32_t mtu = 65535;
    attr(&q, IFLA_IFNAME, OUT, sizeof OUT);
    attr(&q, IFLA_ADDRESS, MAC, 6);
    attr(&q, IFLA_MTU, &mtu, 4);
    struct rtattr *info = attr(&q, IFLA_LINKINFO, NULL, 0);
    attr(&q, IFLA_INFO_KIND, "veth", 5);
    struct rtattr *data = attr(&q, IFLA_INFO_DATA, NULL, 0), *peer = attr(&q, VETH_INFO_PEER, &none, sizeof none);
    attr(&q, IFLA_IFNAME, IN, sizeof IN);
    attr(&q, IFLA_ADDRESS, MAC, 6);
    attr(&q, IFLA_MTU, &mtu, 4);
    end(&q, peer), end(&q, data), end(&q, info);
    return talk(fd, &q, EEXIST);
}

static int device_up(int fd, const char *name)
{
    struct request q;
    struct ifinfomsg m = {.ifi_index = (int)if_nametoindex(name), .ifi_flags = IFF_UP | IFF_NOARP, .ifi_change = IFF_UP | IFF_NOARP};
    begin(&q, RTM_NEWLINK, 0, &m, sizeof m);
    return talk(fd, &q, 0);
}

static int add_address(int fd, const char *device, const char *text)
{
    struct request q;
    union name a;
    name_parse(text, 0, &a);
    int six = a.any.sa_family == AF_INET6;
    struct ifaddrmsg m = {(uint8_t)a.any.sa_family, six ? 128 : 32, IFA_F_NODAD, RT_SCOPE_UNIVERSE, if_nametoindex(device)};
    const void *bytes = six ? (const void *)&a.v6.sin6_addr : &a.v4.sin_addr;
    begin(&q, RTM_NEWADDR, NLM_F_CREATE | NLM_F_REPLACE, &m, sizeof m);
    attr(&q, IFA_LOCAL, bytes, six ? 16 : 4);
    attr(&q, IFA_ADDRESS, bytes, six ? 16 : 4);
    return talk(fd, &q, EEXIST);
}

/* Everything by this device, in this table; from our own address where we are the ones who send. */
static int add_route(int fd, int family, const char *device, int table, int type, const char *source)
{
    struct request q;
    struct rtmsg m = {.rtm_family = (uint8_t)family, .rtm_table = (uint8_t)table, .rtm_protocol = RTPROT_STATIC, .rtm_type = (uint8_t)type,
        .rtm_scope = type == RTN_LOCAL ? RT_SCOPE_HOST : RT_SCOPE_LINK};
    int index = (int)if_nametoindex(device);
    begin(&q, RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE, &m, sizeof m);
    attr(&q, RTA_OIF, &index, 4);
    union name a;
    if (source && !name_parse(source, 0, &a))
        attr(&q, RTA_PREFSRC, family == AF_INET6 ? (const void *)&a.v6.sin6_addr : &a.v4.sin_addr, family == AF_INET6 ? 16 : 4);
    return talk(fd, &q, 0);
}

static int add_mark_rule(int fd, int family, uint32_t mark)
{
    struct request q;
    struct fib_rule_hdr m = {.family = (uint8_t)family, .table = TABLE_LOCAL, .action = FR_ACT_TO_TBL};
    uint32_t mask = 0xffffffff, priority = 100;
    begin(&q, RTM_NEWRULE, NLM_F_CREATE | NLM_F_EXCL, &m, sizeof m);
    attr(&q, FRA_FWMARK, &mark, 4);
    attr(&q, FRA_FWMASK, &mask, 4);
    attr(&q, FRA_PRIORITY, &priority, 4);
    return talk(fd, &q, EEXIST);
}

static void to_listener(struct nft *b, int family, const char *address, uint16_t port)
{
    union name a;
    uint16_t p = htons(port);
    uint8_t proto = family == AF_INET ? NFPROTO_IPV4 : NFPROTO_IPV6;
    name_parse(address, port, &a);
    if (family == AF_INET)
        nft_put(b, NFT_R0, &a.v4.sin_addr, 4);
    else
        nft_put(b, NFT_REG_2, &a.v6.sin6_addr, 16);
    nft_put(b, family == AF_INET ? NFT_R1 : NFT_REG_1, &p, 2);
    nft_tproxy(b, proto, family == AF_INET ? NFT_R0 : NFT_REG_2, family == AF_INET ? NFT_R1 : NFT_REG_1);
}

static void mark_and_take(struct nft *b)
{
    uint32_t mark = MARK_LOCAL;
    nft_put(b, NFT_R0, &mark, 4);
    nft_set_meta(b, NFT_META_MARK, NFT_R0);
    nft_verdict(b, NF_ACCEPT);
    nft_end_rule(b);
}

static int make_rules(int again)
{
    static uint8_t space[16384];
    struct nft b;
    uint32_t in = if_nametoindex(IN), lo = 1, mark = MARK_INJECT;
    uint8_t yes = 1;
    nft_open(&b, space, sizeof space, NFPROTO_INET, "wherry_link");
    if (again)
        nft_drop_table(&b);
    nft_new_table(&b, !again);
    nft_chain(&b, "pre", "filter", NF_INET_PRE_ROUTING, -150);
    /* Flows that have a socket of the link's. */
    nft_rule(&b, "pre");
    nft_socket(&b, NFT_SOCKET_TRANSPARENT, NFT_R0);
    nft_is(&b, NFT_R0, NFT_CMP_EQ, &yes, 1);
    mark_and_take(&b);
    for (int i = 0; i < 2; i++) {
        int family = i ? AF_INET6 : AF_INET;
        const char *own = i ? LINK_ADDRESS6 : LINK_ADDRESS;
        /* Datagrams to the outside that begin one. */
        nft_rule(&b, "pre");
        nft_meta(&b, NFT_META_IIF, NFT_R0);
        nft_is(&b, NFT_R0, NFT_CMP_EQ, &in, 4);
        nft_family(&b, i ? NFPROTO_IPV6 : NFPROTO_IPV4);
        nft_proto(&b, IPPROTO_UDP);
        to_listener(&b, family, own, i ? ln.port_udp6 : ln.port_udp4);
        mark_and_take(&b);
        /* Connection requests that the link lets in. */
        nft_rule(&b, "pre");
        nft_meta(&b, NFT_META_IIF, NFT_R0);
        nft_is(&b, NFT_R0, NFT_CMP_EQ, &lo, 4);
        nft_meta(&b, NFT_META_MARK, NFT_R0);
        nft_is(&b, NFT_R0, NFT_CMP_EQ, &mark, 4);
        nft_family(&b, i ? NFPROTO_IPV6 : NFPROTO_IPV4);
        nft_proto(&b, IPPROTO_TCP);
        to_listener(&b, family, own, i ? ln.port_tcp6 : ln.port_tcp4);
        nft_verdict(&b, NF_ACCEPT);
        nft_end_rule(&b);
    }
    /* The rest is the link's to read from the device. */
    nft_rule(&b, "pre");
    nft_meta(&b, NFT_META_IIF, NFT_R0);
    nft_is(&b, NFT_R0, NFT_CMP_EQ, &in, 4);
    nft_verdict(&b, NF_DROP);
    nft_end_rule(&b);
    if (!nft_commit(&b))
        return 0;
    return errno == EEXIST && !again ? make_rules(1) : errno;
}

int rules_make(const char **what)
{
    int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE), bad = fd < 0 ? errno : 0;
    struct timeval patience = {5, 0};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    *what = "the devices";
    if (!bad)
        bad = make_pair(fd);
    if (!bad)
        bad = device_up(fd, OUT);
    if (!bad)
        bad = device_up(fd, IN);
    if (!bad)
        *what = "the addresses", bad = add_address(fd, "lo", LINK_ADDRESS);
    if (!bad)
        bad = add_address(fd, "lo", NAMES_ADDRESS);
    if (!bad)
        *what = "the routes", bad = add_route(fd, AF_INET, OUT, RT_TABLE_MAIN, RTN_UNICAST, LINK_ADDRESS);
    if (!bad)
        bad = add_route(fd, AF_INET, "lo", TABLE_LOCAL, RTN_LOCAL, NULL);
    for (uint32_t mark = MARK_LOCAL; !bad && mark <= MARK_INJECT; mark++)
        bad = add_mark_rule(fd, AF_INET, mark);
    /* A host without IPv6 has none of it in R-net either. */
    if (!bad && !add_address(fd, "lo", LINK_ADDRESS6)) {
        bad = add_route(fd, AF_INET6, OUT, RT_TABLE_MAIN, RTN_UNICAST, NULL);
        if (!bad)
            bad = add_route(fd, AF_INET6, "lo", TABLE_LOCAL, RTN_LOCAL, NULL);
        for (uint32_t mark = MARK_LOCAL; !bad && mark <= MARK_INJECT; mark++)
            bad = add_mark_rule(fd, AF_INET6, mark);
    }
    if (fd >= 0)
        close(fd);
    return bad;
}

int rules_commit(void) { return make_rules(0); }
