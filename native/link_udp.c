/* Datagrams of containers to the outside, and their pings. The first datagram of a flow comes to a socket that hears all of them; then
 * the flow has two sockets of its own, one in R-net in the far end's name and one of the host's. */
#include "link.h"
#include <errno.h>
#include <netinet/ip.h>
#include <netinet/ip_icmp.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#define FLOWS 4096
#define BUCKETS 1024
#define ONCE_MS 30000    /* a question and its answer */
#define LASTING_MS 180000

struct datagrams {
    struct watched inside, outside;
    struct datagrams *next;
    struct flow flow;
    int64_t last;
    unsigned sent, answered;
    int protocol;
    uint16_t id;         /* of a ping: the sender's, which the host's socket doesn't keep */
};
static struct datagrams *table[BUCKETS];
static struct watched listener[2];
static uint8_t data[65536];

static unsigned bucket(const struct flow *f, uint16_t id) { return (flow_hash(f) ^ id) % BUCKETS; }

static struct datagrams **find(const struct flow *f, int protocol, uint16_t id)
{
    struct datagrams **at = &table[bucket(f, id)];
    while (*at && ((*at)->protocol != protocol || (*at)->id != id || !flow_same(&(*at)->flow, f)))
        at = &(*at)->next;
    return at;
}

static void end_flow(struct datagrams **at)
{
    struct datagrams *d = *at;
    *at = d->next;
    if (d->inside.fd >= 0)
        close(d->inside.fd);
    if (d->outside.fd >= 0)
        close(d->outside.fd);
    d->inside.fd = d->outside.fd = -1;
    ln.aging--, ln.flows--;
    bury(d);
}

static void make_room(void)
{
    struct datagrams **oldest = NULL;
    if (ln.flows < FLOWS)
        return;
    for (int i = 0; i < BUCKETS; i++)
        for (struct datagrams **at = &table[i]; *at; at = &(*at)->next)
            if (!oldest || (*at)->last < (*oldest)->last)
                oldest = at;
    if (oldest)
        end_flow(oldest);
}

static void pass_out(struct datagrams *d, size_t n)
{
    d->last = ln.now, d->sent++;
    if (send(d->outside.fd, data, n, MSG_DONTWAIT | MSG_NOSIGNAL) < 0) {
        if (errno == ECONNREFUSED) /* about an earlier one; this one may find somebody */
            send(d->outside.fd, data, n, MSG_DONTWAIT | MSG_NOSIGNAL);
        else if (errno == ENETUNREACH || errno == EHOSTUNREACH)
            packet_unreachable(&d->flow, IPPROTO_UDP, NULL, errno == ENETUNREACH ? NO_NET : NO_HOST);
    }
}

static void inside_ready(struct watched *w, unsigned events)
{
    struct datagrams *d = (struct datagrams *)w;
    (void)events;
    for (int i = 0; i < 64 && w->fd >= 0; i++) {
        ssize_t n = recv(w->fd, data, sizeof data, MSG_DONTWAIT);
        if (n < 0)
            return;
        pass_out(d, (size_t)n);
    }
}

static void outside_ready(struct watched *w, unsigned events)
{
    struct datagrams *d = (struct datagrams *)((uint8_t *)w - offsetof(struct datagrams, outside));
    (void)events;
    for (int i = 0; i < 64 && w->fd >= 0; i++) {
        ssize_t n = recv(w->fd, data, sizeof data, MSG_DONTWAIT);
        if (n < 0) {
            if (errno == ECONNREFUSED && d->protocol == IPPROTO_UDP)
                packet_unreachable(&d->flow, IPPROTO_UDP, NULL, NO_PORT);
            return;
        }
        d->last = ln.now, d->answered++;
        if (d->protocol == IPPROTO_UDP)
            send(d->inside.fd, data, (size_t)n, MSG_DONTWAIT | MSG_NOSIGNAL);
        else if (n >= 8)
            packet_echo(&d->flow, d->id, (uint16_t)(data[6] << 8 | data[7]), data + 8, (size_t)n - 8);
    }
}

static struct datagrams *new_flow(const struct flow *f, int protocol, uint16_t id)
{
    union name real;
    struct datagrams *d = calloc(1, sizeof *d);
    int on = 1, family = f->to.any.sa_family, six = family == AF_INET6;
    if (!d)
        return NULL;
    make_room();
    d->flow = *f, d->protocol = protocol, d->id = id, d->inside.fd = d->outside.fd = -1;
    int fd = -1, own = -1;
    if (!name_outside(&f->to, &real))
        goto no;
    if (protocol != IPPROTO_UDP)
        name_set_port(&real, 0);
    fd = socket(real.any.sa_family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, protocol == IPPROTO_UDP ? 0 : protocol);
    if (fd < 0 || connect(fd, &real.any, name_size(&real)))
        goto no;
    if (protocol == IPPROTO_UDP) {
        own = rnet_make(family, SOCK_DGRAM, 0);
        if (own < 0 || setsockopt(own, six ? IPPROTO_IPV6 : IPPROTO_IP, six ? 75 /* IPV6_TRANSPARENT */ : IP_TRANSPARENT, &on, sizeof on)
            || setsockopt(own, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) || bind(own, &f->to.any, name_size(&f->to))
            || connect(own, &f->from.any, name_size(&f->from)) || watch(&d->inside, own, inside_ready, EPOLLIN))
            goto no;
    }
    if (watch(&d->outside, fd, outside_ready, EPOLLIN))
        goto no;
    struct datagrams **head = &table[bucket(f, id)];
    d->next = *head, *head = d;
    ln.aging++, ln.flows++;
    return d;
no:
    if (errno == ENETUNREACH || errno == EHOSTUNREACH || errno == EAFNOSUPPORT)
        packet_unreachable(f, protocol, NULL, NO_NET);
    if (fd >= 0)
        close(fd);
    if (own >= 0)
        close(own);
    free(d);
    return NULL;
}

/* Where a datagram was going that has come to the socket for all of them. */
static int original(struct msghdr *m, union name *to)
{
    for (struct cmsghdr *h = CMSG_FIRSTHDR(m); h; h = CMSG_NXTHDR(m, h)) {
        if (h->cmsg_level == IPPROTO_IP && h->cmsg_type == IP_ORIGDSTADDR) {
            memcpy(&to->v4, CMSG_DATA(h), sizeof to->v4);
            return 0;
        }
        if (h->cmsg_level == IPPROTO_IPV6 && h->cmsg_type == 74 /* IPV6_ORIGDSTADDR */) {
            memcpy(&to->v6, CMSG_DATA(h), sizeof to->v6);
            return 0;
        }
    }
    return -1;
}

static void first_datagrams(struct watched *w, unsigned events)
{
    (void)events;
    for (int i = 0; i < 64; i++) {
        struct flow f;
        union { struct cmsghdr h; char space[256]; } control;
        struct iovec part = {data, sizeof data};
        memset(&f, 0, sizeof f);
        struct msghdr m = {.msg_name = &f.from, .msg_namelen = sizeof f.from, .msg_iov = &part, .msg_iovlen = 1,
            .msg_control = &control, .msg_controllen = sizeof control};
        ssize_t n = recvmsg(w->fd, &m, MSG_DONTWAIT);
        if (n < 0)
            return;
        if (original(&m, &f.to))
            continue;
        struct datagrams *d = *find(&f, IPPROTO_UDP, 0);
        if (!d)
            d = new_flow(&f, IPPROTO_UDP, 0);
        if (d)
            pass_out(d, (size_t)n);
    }
}

/* Goes out by a ping socket of the host's, if net.ipv4.ping_group_range lets the user have one. */
void echo_request(const struct packet *p)
{
    int six = p->family == AF_INET6;
    if (p->transport_n < 8 || p->transport[0] != (six ? 128 : 8) || p->transport_n > sizeof data)
        return;
    uint16_t id = (uint16_t)(p->transport[4] << 8 | p->transport[5]);
    struct datagrams *d = *find(&p->flow, p->protocol, id);
    if (!d)
        d = new_flow(&p->flow, p->protocol, id);
    if (!d)
        return;
    memcpy(data, p->transport, p->transport_n);
    d->last = ln.now, d->sent++;
    send(d->outside.fd, data, p->transport_n, MSG_DONTWAIT | MSG_NOSIGNAL);
}

void udp_tick(void)
{
    for (int i = 0; i < BUCKETS && ln.flows; i++)
        for (struct datagrams **at = &table[i]; *at;) {
            int64_t patience = (*at)->answered > 1 && (*at)->sent > 1 ? LASTING_MS : ONCE_MS;
            if ((*at)->last + patience < ln.now)
                end_flow(at);
            else
                at = &(*at)->next;
        }
}

int udp_start(void)
{
    for (int i = 0; i < 2; i++) {
        int fd = i ? ln.datagrams6 : ln.datagrams4;
        if (fd >= 0 && watch(&listener[i], fd, first_datagrams, EPOLLIN))
            return -1;
    }
    return 0;
}
