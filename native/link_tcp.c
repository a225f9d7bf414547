/* Connections of containers to the outside. A connection request is read off the device that it was routed to, and held: first the host
 * connects; only when that has succeeded is the request let in, to a listener that accepts it in the far end's name. So a refused
 * port is refused, and a silent one stays silent. */
#include "link.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#define WAITING 4096      /* requests without an answer; more are dropped, their senders ask again */
#define BUCKETS 1024
#define GIVE_UP_MS 130000 /* a little more than a sender tries */
#define ACCEPT_MS 10000
#define SYN_MAX 160

struct attempt {
    struct watched w;     /* the host's socket */
    struct attempt *next;
    struct flow flow;
    int64_t until;
    int done;             /* connected: the request has been let in */
    uint16_t n;
    uint8_t syn[SYN_MAX];
};
static struct attempt *table[BUCKETS];
static int attempts;
static struct watched listener[2];

static struct attempt **find(const struct flow *f)
{
    struct attempt **at = &table[flow_hash(f) % BUCKETS];
    while (*at && !flow_same(&(*at)->flow, f))
        at = &(*at)->next;
    return at;
}

static void forget_attempt(struct attempt **at, int close_too)
{
    struct attempt *a = *at;
    *at = a->next;
    if (close_too)
        close(a->w.fd);
    free(a);
    attempts--, ln.aging--;
}

static void let_in(struct attempt *a)
{
    struct packet p;
    a->done = 1, a->until = ln.now + ACCEPT_MS;
    if (!packet_read(a->syn, a->n, &p))
        packet_inject(&p);
}

static void refuse(struct attempt *a, int error)
{
    struct packet p;
    if (packet_read(a->syn, a->n, &p))
        return;
    if (error == ECONNREFUSED || error == ECONNRESET)
        packet_reset(&p);
    else if (error == ENETUNREACH || error == EAFNOSUPPORT || error == EADDRNOTAVAIL)
        packet_unreachable(&a->flow, IPPROTO_TCP, p.transport, NO_NET);
    else if (error != ETIMEDOUT)
        packet_unreachable(&a->flow, IPPROTO_TCP, p.transport, NO_HOST);
}

static void connected(struct watched *w, unsigned events)
{
    struct attempt *a = (struct attempt *)w;
    int error = 0;
    socklen_t n = sizeof error;
    (void)events;
    if (a->done) /* it has something to say before our side has accepted: it waits */
        return;
    if (getsockopt(w->fd, SOL_SOCKET, SO_ERROR, &error, &n))
        error = errno;
    if (!error) {
        epoll_ctl(ln.epoll, EPOLL_CTL_DEL, w->fd, NULL);
        let_in(a);
        return;
    }
    refuse(a, error);
    struct attempt **at = find(&a->flow);
    if (*at == a)
        forget_attempt(at, 1);
}

void tcp_syn(const struct packet *p)
{
    union name real;
    if ((p->transport[13] & (2 | 16 | 4)) != 2 || p->n > SYN_MAX) {
        packet_reset(p); /* of a connection that was another link's */
        return;
    }
    struct attempt **at = find(&p->flow);
    if (*at) {
        if ((*at)->done) /* our side didn't hear it, or it wasn't heard */
            packet_inject(p);
        return;
    }
    if (attempts >= WAITING)
        return;
    struct attempt *a = calloc(1, sizeof *a);
    if (!a)
        return;
    a->flow = p->flow, a->n = (uint16_t)p->n, a->until = ln.now + GIVE_UP_MS;
    memcpy(a->syn, p->data, p->n);
    if (!name_outside(&p->flow.to, &real)) {
        refuse(a, ENETUNREACH);
        free(a);
        return;
    }
    int fd = socket(real.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int bad = fd < 0 || (connect(fd, &real.any, name_size(&real)) && errno != EINPROGRESS);
    if (bad || watch(&a->w, fd, connected, EPOLLOUT | EPOLLET)) {
        refuse(a, errno);
        if (fd >= 0)
            close(fd);
        free(a);
        return;
    }
    *at = a;
    attempts++, ln.aging++;
}

static void accepted(struct watched *w, unsigned events)
{
    (void)events;
    for (int i = 0; i < 64; i++) {
        struct flow f;
        socklen_t n = sizeof f.from, m = sizeof f.to;
        memset(&f, 0, sizeof f);
        int fd = accept4(w->fd, &f.from.any, &n, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd < 0)
            return;
        struct attempt **at = getsockname(fd, &f.to.any, &m) ? NULL : find(&f);
        if (!at || !*at || !(*at)->done) {
            close(fd);
            continue;
        }
        int host = (*at)->w.fd;
        forget_attempt(at, 0);
        relay(fd, host);
    }
}

void tcp_tick(void)
{
    for (int i = 0; i < BUCKETS; i++)
        for (struct attempt **at = &table[i]; *at;) {
            if ((*at)->until < ln.now)
                forget_attempt(at, 1);
            else
                at = &(*at)->next;
        }
}

int tcp_start(void)
{
    for (int i = 0; i < 2; i++) {
        int fd = i ? ln.listener6 : ln.listener4;
        if (fd >= 0 && watch(&listener[i], fd, accepted, EPOLLIN))
            return -1;
    }
    return 0;
}
