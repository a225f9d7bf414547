/* Published ports: clients of the host's sockets are passed on in their own name, by transparent sockets in R-net. Only who comes from
 * the host's loopback, or by another family than the container's, appears as the gateway. */
#include "link.h"
#include <errno.h>
#include <netinet/ip.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#define CLIENTS 1024 /* of one published UDP port */
#define BUCKETS 64
#define IDLE_MS 180000

struct client {
    struct watched w;    /* in R-net, connected to the container */
    struct client *next;
    struct port *port;
    union name from, at; /* the client; which of our addresses it spoke to */
    int64_t last;
};
struct port {
    struct watched w;
    struct port *next;
    int type;
    union name to;
    int clients;
    struct client *table[BUCKETS];
};
static struct port *ports;
static uint8_t data[65536];

/* ::ffff:a.b.c.d is a.b.c.d */
static void plain(union name *a)
{
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
    if (a->any.sa_family != AF_INET6 || memcmp(&a->v6.sin6_addr, mapped, 12))
        return;
    struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = a->v6.sin6_port};
    memcpy(&v4.sin_addr, (uint8_t *)&a->v6.sin6_addr + 12, 4);
    memset(a, 0, sizeof *a);
    a->v4 = v4;
}

static int is_loopback(const union name *a)
{
    static const struct in6_addr one = {.s6_addr = {[15] = 1}};
    return a->any.sa_family == AF_INET ? ntohl(a->v4.sin_addr.s_addr) >> 24 == 127 : !memcmp(&a->v6.sin6_addr, &one, 16);
}

/* A socket in R-net that is about to be connected to the container, in the client's name where that can be. */
static int inside(const struct port *p, const union name *client)
{
    int on = 1, six = p->to.any.sa_family == AF_INET6;
    int fd = rnet_make(p->to.any.sa_family, p->type, 0);
    if (fd < 0)
        return -1;
    if (client->any.sa_family == p->to.any.sa_family && !is_loopback(client)
        && !setsockopt(fd, six ? IPPROTO_IPV6 : IPPROTO_IP, six ? 75 /* IPV6_TRANSPARENT */ : IP_TRANSPARENT, &on, sizeof on)) {
        union name from = *client;
        if (six)
            from.v6.sin6_scope_id = 0;
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
        bind(fd, &from.any, name_size(&from));
    }
    if (connect(fd, &p->to.any, name_size(&p->to)) && errno != EINPROGRESS) {
        int e = errno;
        close(fd);
        return errno = e, -1;
    }
    return fd;
}

static void accepted(struct watched *w, unsigned events)
{
    struct port *p = (struct port *)w;
    (void)events;
    for (int i = 0; i < 64; i++) {
        union name client;
        socklen_t n = sizeof client;
        memset(&client, 0, sizeof client);
        int fd = accept4(w->fd, &client.any, &n, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd < 0) {
            if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS)
                usleep(1000); /* they wait in the queue; some connection will end */
            return;
        }
        plain(&client);
        int own = inside(p, &client);
        if (own >= 0) {
            relay(own, fd);
        } else {
            struct linger now = {1, 0};
            setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
            close(fd);
        }
    }
}

static void end_client(struct client **at)
{
    struct client *c = *at;
    *at = c->next;
    close(c->w.fd);
    c->w.fd = -1;
    c->port->clients--, ln.aging--;
    bury(c);
}

/* From the address that the client spoke to. */
static void answered(struct watched *w, unsigned events)
{
    struct client *c = (struct client *)w;
    (void)events;
    for (int i = 0; i < 64 && w->fd >= 0; i++) {
        ssize_t n = recv(w->fd, data, sizeof data, MSG_DONTWAIT);
        if (n < 0)
            return;
        c->last = ln.now;
        union { struct cmsghdr h; char space[CMSG_SPACE(sizeof(struct in6_pktinfo))]; } control;
        struct iovec part = {data, (size_t)n};
        struct msghdr m = {.msg_name = &c->from, .msg_namelen = name_size(&c->from), .msg_iov = &part, .msg_iovlen = 1,
            .msg_control = &control, .msg_controllen = sizeof control};
        memset(&control, 0, sizeof control);
        struct cmsghdr *h = CMSG_FIRSTHDR(&m);
        if (c->at.any.sa_family == AF_INET) {
            struct in_pktinfo info = {.ipi_spec_dst = c->at.v4.sin_addr};
            *h = (struct cmsghdr){.cmsg_len = CMSG_LEN(sizeof info), .cmsg_level = IPPROTO_IP, .cmsg_type = IP_PKTINFO};
            memcpy(CMSG_DATA(h), &info, sizeof info);
            m.msg_controllen = CMSG_SPACE(sizeof info);
        } else if (c->at.any.sa_family == AF_INET6) {
            struct in6_pktinfo info = {.ipi6_addr = c->at.v6.sin6_addr};
            *h = (struct cmsghdr){.cmsg_len = CMSG_LEN(sizeof info), .cmsg_level = IPPROTO_IPV6, .cmsg_type = IPV6_PKTINFO};
            memcpy(CMSG_DATA(h), &info, sizeof info);
            m.msg_controllen = CMSG_SPACE(sizeof info);
        } else {
            m.msg_control = NULL, m.msg_controllen = 0;
        }
        sendmsg(c->port->w.fd, &m, MSG_DONTWAIT | MSG_NOSIGNAL);
    }
}

static struct client **find(struct port *p, const union name *from)
{
    struct flow f = {*from, p->to};
    struct client **at = &p->table[flow_hash(&f) % BUCKETS];
    while (*at && !name_same(&(*at)->from, from))
        at = &(*at)->next;
    return at;
}

static struct client *new_client(struct port *p, const union name *from)
{
    union name shown = *from;
    plain(&shown);
    if (p->clients >= CLIENTS) {
        struct client **oldest = NULL;
        for (int i = 0; i < BUCKETS; i++)
            for (struct client **at = &p->table[i]; *at; at = &(*at)->next)
                if (!oldest || (*at)->last < (*oldest)->last)
                    oldest = at;
        end_client(oldest);
    }
    struct client *c = calloc(1, sizeof *c);
    int fd = c ? inside(p, &shown) : -1;
    if (fd < 0 || watch(&c->w, fd, answered, EPOLLIN)) {
        if (fd >= 0)
            close(fd);
        free(c);
        return NULL;
    }
    c->port = p, c->from = *from;
    struct client **at = find(p, from);
    *at = c;
    p->clients++, ln.aging++;
    return c;
}

static void asked(struct watched *w, unsigned events)
{
    struct port *p = (struct port *)w;
    (void)events;
    for (int i = 0; i < 64 && w->fd >= 0; i++) {
        union name from;
        union { struct cmsghdr h; char space[256]; } control;
        struct iovec part = {data, sizeof data};
        struct msghdr m = {.msg_name = &from, .msg_namelen = sizeof from, .msg_iov = &part, .msg_iovlen = 1,
            .msg_control = &control, .msg_controllen = sizeof control};
        memset(&from, 0, sizeof from);
        ssize_t n = recvmsg(w->fd, &m, MSG_DONTWAIT);
        if (n < 0)
            return;
        struct client *c = *find(p, &from);
        if (!c)
            c = new_client(p, &from);
        if (!c)
            continue;
        c->last = ln.now;
        for (struct cmsghdr *h = CMSG_FIRSTHDR(&m); h; h = CMSG_NXTHDR(&m, h)) {
            if (h->cmsg_level == IPPROTO_IP && h->cmsg_type == IP_PKTINFO) {
                struct in_pktinfo info;
                memcpy(&info, CMSG_DATA(h), sizeof info);
                c->at.v4 = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr = info.ipi_spec_dst};
            } else if (h->cmsg_level == IPPROTO_IPV6 && h->cmsg_type == IPV6_PKTINFO) {
                struct in6_pktinfo info;
                memcpy(&info, CMSG_DATA(h), sizeof info);
                c->at.v6 = (struct sockaddr_in6){.sin6_family = AF_INET6, .sin6_addr = info.ipi6_addr};
            }
        }
        if (send(c->w.fd, data, (size_t)n, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 && errno == ECONNREFUSED)
            send(c->w.fd, data, (size_t)n, MSG_DONTWAIT | MSG_NOSIGNAL);
    }
}

struct port *port_open(int fd, int type, const union name *to)
{
    struct port *p = calloc(1, sizeof *p);
    int on = 1;
    if (!p)
        return NULL;
    p->type = type, p->to = *to;
    never_block(fd);
    if (type == SOCK_DGRAM) {
        setsockopt(fd, IPPROTO_IP, IP_PKTINFO, &on, sizeof on);
        setsockopt(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, &on, sizeof on);
    }
    if ((type == SOCK_STREAM && listen(fd, 4096)) || watch(&p->w, fd, type == SOCK_STREAM ? accepted : asked, EPOLLIN)) {
        int e = errno;
        free(p);
        return errno = e, NULL;
    }
    p->next = ports, ports = p;
    return p;
}

void port_close(struct port *p)
{
    for (struct port **at = &ports; *at; at = &(*at)->next)
        if (*at == p) {
            *at = p->next;
            break;
        }
    for (int i = 0; i < BUCKETS; i++)
        while (p->table[i])
            end_client(&p->table[i]);
    close(p->w.fd);
    p->w.fd = -1;
    bury(p);
}

void ports_tick(void)
{
    for (struct port *p = ports; p; p = p->next)
        for (int i = 0; i < BUCKETS && p->clients; i++)
            for (struct client **at = &p->table[i]; *at;) {
                if ((*at)->last + IDLE_MS < ln.now)
                    end_client(at);
                else
                    at = &(*at)->next;
            }
}
