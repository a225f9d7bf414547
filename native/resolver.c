/* Names of the container's networks are answered at once, from files; what is left goes to all servers in parallel, from the host's
 * network namespace, each question from a socket and a port of its own. One epoll set, which the monitor polls as one descriptor. */
#include "resolver_inner.h"
#include "wherry.h"
#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <unistd.h>

#define PENDING 128 /* questions that servers have; the oldest gives way */
#define TRIES 4
#define TRY_MS 1000
#define AT_ONCE 64  /* events handled before the monitor looks after its other work */

struct pending {
    int used, tries;
    uint32_t serial;
    int fd[SERVERS];
    uint8_t held[SERVERS], done[SERVERS]; /* an answer waits in the socket for those of better servers; nothing more will come */
    uint16_t id;
    uint16_t size;
    int64_t due_ms;
    struct sockaddr_in client;
    uint8_t query[DNS_QUERY_MAX];
};

struct resolver resolver = {.epoll = -1, .udp = -1, .tcp = -1};
static int waiting; /* how many of pending are in use */
static _Alignas(4096) struct pending pending[PENDING];
_Alignas(4096) uint8_t resolver_in[DNS_MESSAGE_MAX + 1], resolver_out[DNS_MESSAGE_MAX + 1];
#define in resolver_in
#define out resolver_out

int resolver_fd(void) { return resolver.epoll; }

int resolver_watch(int fd, enum kind kind, unsigned index, unsigned sub, uint32_t serial, unsigned events)
{
    struct epoll_event e = {.events = events, .data.u64 = (uint64_t)serial << 32 | (uint64_t)kind << 24 | sub << 16 | index};
    return epoll_ctl(resolver.epoll, EPOLL_CTL_ADD, fd, &e);
}

uint16_t resolver_id(void)
{
    uint16_t id;
    if (getrandom(&id, sizeof id, GRND_NONBLOCK) != sizeof id)
        id = (uint16_t)((uint32_t)now_ms() * 40503u ^ resolver.serial * 2654435761u);
    return id;
}

static void finish(struct pending *p)
{
    for (int i = 0; i < SERVERS; i++)
        if (p->fd[i] >= 0)
            close(p->fd[i]);
    p->used = 0, waiting--;
}

static void reply(const struct pending *p, const uint8_t *message, size_t n)
{
    sendto(resolver.udp, message, n, MSG_DONTWAIT | MSG_NOSIGNAL, (const struct sockaddr *)&p->client, sizeof p->client);
}

static void refuse(struct pending *p)
{
    struct question q;
    uint8_t small[DNS_HEAD + 300];
    if (!dns_parse(p->query, p->size, &q))
        reply(p, small, dns_empty(p->query, &q, DNS_SERVFAIL, small));
    finish(p);
}

/* One socket for each try and server: the kernel picks the port, and lets only that server's answers in. */
static void ask(struct pending *p, unsigned index)
{
    int any = 0;
    p->due_ms = now_ms() + TRY_MS;
    for (unsigned i = 0; i < (unsigned)resolver.servers; i++) {
        if (p->fd[i] < 0 && !p->done[i]) {
            p->fd[i] = socket(resolver.server[i].any.sa_family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
            if (p->fd[i] < 0 || connect(p->fd[i], &resolver.server[i].any, sizeof resolver.server[i]) || resolver_watch(p->fd[i], SERVER, index, i, p->serial, EPOLLIN)) {
                if (p->fd[i] >= 0)
                    close(p->fd[i]);
                p->fd[i] = -1, p->done[i] = 1;
                continue;
            }
        }
        if (p->fd[i] >= 0 && !p->held[i]) {
            uint8_t message[DNS_QUERY_MAX];
            memcpy(message, p->query, p->size);
            dns_put16(message, p->id);
            send(p->fd[i], message, p->size, MSG_DONTWAIT | MSG_NOSIGNAL);
        }
        any |= p->fd[i] >= 0;
    }
    if (!any)
        refuse(p);
}

static void forward(const uint8_t *query, size_t n, const struct sockaddr_in *client)
{
    struct pending *p = &pending[0];
    for (int i = 0; i < PENDING; i++) {
        if (!pending[i].used) {
            p = &pending[i];
            break;
        }
        if (pending[i].serial < p->serial)
            p = &pending[i];
    }
    if (p->used)
        finish(p);
    p->used = 1, waiting++, p->tries = 1, p->serial = ++resolver.serial, p->size = (uint16_t)n, p->client = *client;
    memcpy(p->query, query, n);
    memset(p->fd, 0xff, sizeof p->fd);
    memset(p->held, 0, sizeof p->held);
    memset(p->done, 0, sizeof p->done);
    p->id = resolver_id();
    ask(p, (unsigned)(p - pending));
}

/* Server i has said something. A positive answer counts at once. That there is no such name counts when all servers before this
 * one have spoken or had their second: the first one may know names that the others don't. */
static int take(struct pending *p, int i, int last)
{
    struct question q;
    for (;;) {
        ssize_t n = recv(p->fd[i], in, sizeof in, MSG_DONTWAIT | MSG_PEEK);
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
            return 0;
        int empty = 0, rcode = -1;
        if (n >= 0 && !dns_parse(p->query, p->size, &q))
            rcode = dns_is_answer(in, (size_t)n, p->id, p->query, &q, &empty);
        if (rcode >= 0 && (rcode == DNS_NOERROR || rcode == DNS_NXDOMAIN)) {
            int wait = 0;
            for (int k = 0; k < i && (empty || rcode); k++)
                wait |= p->fd[k] >= 0 && !p->held[k];
            if (wait && !last) {
                p->held[i] = 1;
                epoll_ctl(resolver.epoll, EPOLL_CTL_DEL, p->fd[i], NULL);
                return 0;
            }
            dns_put16(in, q.id);
            reply(p, in, (size_t)n);
            finish(p);
            return 1;
        }
        if (n >= 0)
            recv(p->fd[i], in, 1, MSG_DONTWAIT | MSG_TRUNC);
        if (n < 0 || rcode > 0) { /* nobody there, or it can't say */
            close(p->fd[i]);
            p->fd[i] = -1, p->done[i] = 1, p->held[i] = 0;
            return 0;
        }
    }
}

/* After server i has spoken: what better answers were waiting for may count now; if nobody is left, so it is said. */
static void weigh(struct pending *p, int last)
{
    int left = 0;
    for (int i = 0; i < SERVERS; i++)
        if (p->fd[i] >= 0 && p->held[i] && take(p, i, last))
            return;
    for (int i = 0; i < SERVERS; i++)
        left |= p->fd[i] >= 0;
    if (!left)
        refuse(p);
}

static void try_again(struct pending *p)
{
    weigh(p, 1);
    if (!p->used)
        return;
    if (++p->tries > TRIES)
        refuse(p);
    else
        ask(p, (unsigned)(p - pending));
}

static void take_datagrams(void)
{
    for (int i = 0; i < 32; i++) {
        struct sockaddr_in client;
        socklen_t size = sizeof client;
        struct question q;
        ssize_t n = recvfrom(resolver.udp, in, sizeof in, MSG_DONTWAIT, (struct sockaddr *)&client, &size);
        if (n < 0)
            return;
        int rcode = dns_parse(in, (size_t)n, &q);
        if (rcode < 0)
            continue;
        size_t m = rcode ? dns_empty(in, &q, rcode, out) : resolver_here(in, &q, q.room);
        if (m)
            sendto(resolver.udp, out, m, MSG_DONTWAIT | MSG_NOSIGNAL, (struct sockaddr *)&client, sizeof client);
        else
            forward(in, (size_t)n, &client);
    }
}

int64_t resolver_due(void)
{
    int64_t due = 0;
    if (resolver.epoll < 0)
        return 0;
    for (int i = 0; i < PENDING && waiting; i++)
        if (pending[i].used && (!due || pending[i].due_ms < due))
            due = pending[i].due_ms;
    int64_t stream = streams_due();
    return stream && (!due || stream < due) ? stream : due;
}

void resolver_work(void)
{
    struct epoll_event e[AT_ONCE];
    if (resolver.epoll < 0)
        return;
    int n = epoll_wait(resolver.epoll, e, AT_ONCE, 0);
    for (int k = 0; k < n; k++) {
        uint64_t data = e[k].data.u64;
        unsigned index = data & 0xffff, sub = data >> 16 & 0xff, kind = data >> 24 & 0xff;
        uint32_t serial = (uint32_t)(data >> 32);
        if (kind == UDP_LISTENER)
            take_datagrams();
        else if (kind == TCP_LISTENER)
            streams_accept();
        else if (kind == STREAM || kind == STREAM_SERVER)
            streams_ready(kind, index, serial, e[k].events);
        else if (kind == SERVER && pending[index].used && pending[index].serial == serial && pending[index].fd[sub] >= 0)
            if (!take(&pending[index], (int)sub, 0))
                weigh(&pending[index], 0);
    }
    int64_t now = now_ms();
    for (int i = 0; i < PENDING && waiting; i++)
        if (pending[i].used && pending[i].due_ms <= now)
            try_again(&pending[i]);
    streams_late(now);
}

void resolver_start(int run_fd, const int sockets[2])
{
    resolver_stop();
    resolver.run_fd = run_fd, resolver.udp = sockets[0], resolver.tcp = sockets[1];
    resolver.epoll = epoll_create1(EPOLL_CLOEXEC);
    if (resolver.epoll < 0 || resolver_watch(resolver.udp, UDP_LISTENER, 0, 0, 0, EPOLLIN) || resolver_watch(resolver.tcp, TCP_LISTENER, 0, 0, 0, EPOLLIN))
        resolver_stop();
}

void resolver_stop(void)
{
    if (resolver.epoll >= 0) {
        for (int i = 0; i < PENDING && waiting; i++)
            if (pending[i].used)
                finish(&pending[i]);
        streams_stop();
        close(resolver.epoll);
    }
    if (resolver.udp >= 0)
        close(resolver.udp);
    if (resolver.tcp >= 0)
        close(resolver.tcp);
    resolver_drop_settings();
    resolver.epoll = resolver.udp = resolver.tcp = -1;
}

void resolver_forget(void)
{
    if (waiting || !streams_forget())
        return;
    forget(pending, sizeof pending);
    forget(in, sizeof in);
    forget(out, sizeof out);
}
