/* Packets that the link reads and writes whole, and names of both families. */
#include "link.h"
#include <arpa/inet.h>
#include <errno.h>
#include <string.h>
#include <unistd.h>

socklen_t name_size(const union name *a) { return a->any.sa_family == AF_INET ? sizeof a->v4 : sizeof a->v6; }

uint16_t name_port(const union name *a) { return ntohs(a->any.sa_family == AF_INET ? a->v4.sin_port : a->v6.sin6_port); }

void name_set_port(union name *a, uint16_t port)
{
    if (a->any.sa_family == AF_INET)
        a->v4.sin_port = htons(port);
    else
        a->v6.sin6_port = htons(port);
}

int name_same(const union name *a, const union name *b)
{
    if (a->any.sa_family != b->any.sa_family || name_port(a) != name_port(b))
        return 0;
    return a->any.sa_family == AF_INET ? a->v4.sin_addr.s_addr == b->v4.sin_addr.s_addr : !memcmp(&a->v6.sin6_addr, &b->v6.sin6_addr, 16);
}

int name_parse(const char *ip, uint16_t port, union name *to)
{
    memset(to, 0, sizeof *to);
    if (inet_pton(AF_INET, ip, &to->v4.sin_addr) == 1)
        to->v4.sin_family = AF_INET;
    else if (inet_pton(AF_INET6, ip, &to->v6.sin6_addr) == 1)
        to->v6.sin6_family = AF_INET6;
    else
        return -1;
    name_set_port(to, port);
    return 0;
}

int flow_same(const struct flow *a, const struct flow *b) { return name_same(&a->from, &b->from) && name_same(&a->to, &b->to); }

static uint32_t mix(uint32_t h, const void *p, size_t n)
{
    for (const uint8_t *b = p; n--; b++)
        h = (h ^ *b) * 16777619u;
    return h;
}

uint32_t flow_hash(const struct flow *f)
{
    uint32_t h = 2166136261u;
    for (int i = 0; i < 2; i++) {
        const union name *a = i ? &f->to : &f->from;
        uint16_t port = name_port(a);
        h = mix(h, &port, 2);
        h = a->any.sa_family == AF_INET ? mix(h, &a->v4.sin_addr, 4) : mix(h, &a->v6.sin6_addr, 16);
    }
    return h ^ h >> 15;
}

/* The address by which others would know the host: that of its route to everywhere. */
static int host_address(union name *to)
{
    union name far;
    uint16_t port = name_port(to);
    if (name_parse(to->any.sa_family == AF_INET ? "192.0.2.1" : "2001:db8::1", 9, &far))
        return 0;
    int fd = socket(far.any.sa_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    socklen_t n = sizeof *to;
    int good = fd >= 0 && !connect(fd, &far.any, name_size(&far)) && !getsockname(fd, &to->any, &n);
    if (fd >= 0)
        close(fd);
    name_set_port(to, port);
    return good;
}

/* What a container may reach: not the host's loopback, by no spelling of it, and nobody who is many. */
int name_outside(const union name *to, union name *real)
{
    *real = *to;
    if (to->any.sa_family == AF_INET) {
        uint32_t a = ntohl(to->v4.sin_addr.s_addr);
        static uint32_t host;
        if (!host)
            host = ntohl(inet_addr(HOST_ADDRESS));
        if (a == host)
            return host_address(real);
        return a >> 24 != 0 && a >> 24 != 127 && a >> 28 < 14;
    }
    const uint8_t *a = to->v6.sin6_addr.s6_addr;
    static struct in6_addr host;
    static const uint8_t zeros[12];
    inet_pton(AF_INET6, HOST_ADDRESS6, &host);
    if (!memcmp(a, &host, 16))
        return host_address(real);
    /* ::, ::1, ::a.b.c.d, ::ffff:a.b.c.d, link-local, multicast */
    return memcmp(a, zeros, 12) && !(!memcmp(a, zeros, 10) && a[10] == 0xff) && a[0] != 0xff && !(a[0] == 0xfe && (a[1] & 0xc0) == 0x80);
}

int packet_read(const uint8_t *d, size_t n, struct packet *p)
{
    size_t head;
    memset(p, 0, sizeof *p);
    p->data = d;
    if (n >= 20 && d[0] >> 4 == 4) {
        size_t total = (size_t)(d[2] << 8 | d[3]);
        head = (size_t)(d[0] & 15) * 4;
        if (head < 20 || total < head || total > n || (d[6] & 0x3f) || d[7]) /* no fragments */
            return -1;
        p->n = total, p->family = AF_INET, p->protocol = d[9];
        p->flow.from.v4.sin_family = p->flow.to.v4.sin_family = AF_INET;
        memcpy(&p->flow.from.v4.sin_addr, d + 12, 4);
        memcpy(&p->flow.to.v4.sin_addr, d + 16, 4);
    } else if (n >= 40 && d[0] >> 4 == 6) {
        size_t total = 40 + (size_t)(d[4] << 8 | d[5]);
        head = 40;
        if (total > n)
            return -1;
        p->n = total, p->family = AF_INET6, p->protocol = d[6];
        p->flow.from.v6.sin6_family = p->flow.to.v6.sin6_family = AF_INET6;
        memcpy(&p->flow.from.v6.sin6_addr, d + 8, 16);
        memcpy(&p->flow.to.v6.sin6_addr, d + 24, 16);
    } else {
        return -1;
    }
    p->transport = d + head, p->transport_n = p->n - head;
    if (p->protocol == IPPROTO_TCP || p->protocol == IPPROTO_UDP) {
        if (p->transport_n < (p->protocol == IPPROTO_TCP ? 20 : 8))
            return -1;
        name_set_port(&p->flow.from, (uint16_t)(p->transport[0] << 8 | p->transport[1]));
        name_set_port(&p->flow.to, (uint16_t)(p->transport[2] << 8 | p->transport[3]));
    }
    return 0;
}

static uint32_t sum(uint32_t s, const uint8_t *p, size_t n)
{
    for (; n > 1; p += 2, n -= 2)
        s += (uint32_t)(p[0] << 8 | p[1]);
    return n ? s + (uint32_t)(p[0] << 8) : s;
}

static void put_sum(uint32_t s, uint8_t *to)
{
    while (s >> 16)
        s = (s & 0xffff) + (s >> 16);
    s = ~s & 0xffff;
    to[0] = (uint8_t)(s >> 8), to[1] = (uint8_t)s;
}

static void put16(uint8_t *to, unsigned v) { to[0] = (uint8_t)(v >> 8), to[1] = (uint8_t)v; }

/* An address header in front of `n` bytes of transport. Returns its length. */
static size_t ip_head(const union name *from, const union name *to, int protocol, size_t n, uint8_t *d)
{
    if (from->any.sa_family == AF_INET) {
        memset(d, 0, 20);
        d[0] = 0x45, d[6] = 0x40, d[8] = 64, d[9] = (uint8_t)protocol;
        put16(d + 2, (unsigned)(20 + n));
        memcpy(d + 12, &from->v4.sin_addr, 4);
        memcpy(d + 16, &to->v4.sin_addr, 4);
        put_sum(sum(0, d, 20), d + 10);
        return 20;
    }
    memset(d, 0, 40);
    d[0] = 0x60, d[6] = (uint8_t)protocol, d[7] = 64;
    put16(d + 4, (unsigned)n);
    memcpy(d + 8, &from->v6.sin6_addr, 16);
    memcpy(d + 24, &to->v6.sin6_addr, 16);
    return 40;
}

/* The transport's checksum with the addresses of the header d; for ICMP of version 4 without. */
static void checksum(uint8_t *d, size_t head, size_t n, int protocol, size_t at)
{
    uint32_t s = 0;
    if (protocol != IPPROTO_ICMP)
        s = sum(sum(0, d + (head == 20 ? 12 : 8), head == 20 ? 8 : 32), (const uint8_t[]){0, (uint8_t)protocol}, 2) + (uint32_t)n;
    put_sum(sum(s, d + head, n), d + head + at);
}

static void emit(const uint8_t *d, size_t n, const union name *to, int mark)
{
    union name a = *to;
    int fd = a.any.sa_family == AF_INET ? ln.raw4 : ln.raw6;
    static int marks[2] = {0, 0};
    int *now = &marks[a.any.sa_family == AF_INET];
    name_set_port(&a, 0);
    if (*now != mark)
        setsockopt(fd, SOL_SOCKET, SO_MARK, &mark, sizeof mark), *now = mark;
    sendto(fd, d, n, MSG_DONTWAIT, &a.any, name_size(&a));
}

/* Let a connection request in that the outside has granted: only what carries this mark reaches the listener. Its checksum may have
 * been left to a device that it never came to. */
void packet_inject(const struct packet *p)
{
    uint8_t d[256];
    if (p->n > sizeof d)
        return;
    size_t head = (size_t)(p->transport - p->data);
    memcpy(d, p->data, p->n);
    d[head + 16] = d[head + 17] = 0;
    uint32_t s = sum(0, d + (p->family == AF_INET ? 12 : 8), p->family == AF_INET ? 8 : 32) + IPPROTO_TCP + (uint32_t)p->transport_n;
    put_sum(sum(s, d + head, p->transport_n), d + head + 16);
    emit(d, p->n, &p->flow.to, MARK_INJECT);
}

/* What a closed port would answer. */
void packet_reset(const struct packet *p)
{
    uint8_t d[80];
    const uint8_t *t = p->transport;
    if (t[13] & 4)
        return;
    size_t head = ip_head(&p->flow.to, &p->flow.from, IPPROTO_TCP, 20, d);
    uint8_t *r = d + head;
    memset(r, 0, 20);
    memcpy(r, t + 2, 2);
    memcpy(r + 2, t, 2);
    r[12] = 0x50;
    if (t[13] & 16) { /* it carried an acknowledgement: that is our sequence number */
        memcpy(r + 4, t + 8, 4);
        r[13] = 4;
    } else {
        size_t offset = (size_t)(t[12] >> 4) * 4;
        uint32_t seq = (uint32_t)t[4] << 24 | (uint32_t)t[5] << 16 | (uint32_t)t[6] << 8 | t[7];
        seq += (t[13] & 2 ? 1 : 0) + (t[13] & 1 ? 1 : 0) + (uint32_t)(p->transport_n > offset ? p->transport_n - offset : 0);
        put16(r + 8, seq >> 16), put16(r + 10, seq & 0xffff);
        r[13] = 4 | 16;
    }
    checksum(d, head, 20, IPPROTO_TCP, 16);
    emit(d, head + 20, &p->flow.from, 0);
}

/* Nobody there: with as much of the flow's packet as its sender needs to know it again; for a datagram its ports will do. */
void packet_unreachable(const struct flow *f, int protocol, const uint8_t transport[8], enum unreachable why)
{
    uint8_t d[160];
    int six = f->from.any.sa_family == AF_INET6;
    size_t inner = (six ? 40 : 20) + 8, head = ip_head(&f->to, &f->from, six ? IPPROTO_ICMPV6 : IPPROTO_ICMP, 8 + inner, d);
    uint8_t *r = d + head;
    memset(r, 0, 8 + inner);
    r[0] = six ? 1 : 3;
    r[1] = (uint8_t)(six ? (why == NO_NET ? 0 : why == NO_HOST ? 3 : 4) : (why == NO_NET ? 0 : why == NO_HOST ? 1 : 3));
    size_t inner_head = ip_head(&f->from, &f->to, protocol, 8, r + 8);
    put16(r + 8 + inner_head, name_port(&f->from));
    put16(r + 8 + inner_head + 2, name_port(&f->to));
    if (transport)
        memcpy(r + 8 + inner_head, transport, 8);
    checksum(d, head, 8 + inner, six ? IPPROTO_ICMPV6 : IPPROTO_ICMP, 2);
    emit(d, head + 8 + inner, &f->from, 0);
}

/* The answer to a ping, as if its far end had sent it. */
void packet_echo(const struct flow *f, uint16_t id, uint16_t seq, const uint8_t *data, size_t n)
{
    uint8_t d[40 + 8 + 1400];
    int six = f->from.any.sa_family == AF_INET6;
    if (n > 1400)
        return;
    size_t head = ip_head(&f->to, &f->from, six ? IPPROTO_ICMPV6 : IPPROTO_ICMP, 8 + n, d);
    uint8_t *r = d + head;
    r[0] = six ? 129 : 0, r[1] = r[2] = r[3] = 0;
    put16(r + 4, id), put16(r + 6, seq);
    memcpy(r + 8, data, n);
    checksum(d, head, 8 + n, six ? IPPROTO_ICMPV6 : IPPROTO_ICMP, 2);
    emit(d, head + 8 + n, &f->from, 0);
}
