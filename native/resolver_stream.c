/* The resolver's clients by TCP: one question at a time each, passed on by TCP to one server after the other. */
#include "resolver_inner.h"
#include "wherry.h"
#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#define STREAMS 16
#define IDLE_MS 10000
#define SERVER_MS 2000

enum state { READING, ASKING, SENDING };
struct stream {
    int used, fd, up, server;
    enum state state;
    uint32_t serial;
    uint16_t id;
    int64_t due_ms;
    size_t n, at;      /* bytes in buf; of them already written */
    size_t query_n;
    uint8_t query[DNS_QUERY_MAX + 2];
    uint8_t buf[DNS_MESSAGE_MAX + 2];
};
static int open_streams;
static _Alignas(4096) struct stream streams[STREAMS];

static void end_stream(struct stream *s)
{
    if (s->up >= 0)
        close(s->up);
    close(s->fd);
    s->used = 0, open_streams--;
}

static void listen_to(const struct stream *s, unsigned events)
{
    struct epoll_event e = {.events = events, .data.u64 = (uint64_t)s->serial << 32 | (uint64_t)STREAM << 24 | (uint64_t)(s - streams)};
    epoll_ctl(resolver.epoll, EPOLL_CTL_MOD, s->fd, &e);
}

void streams_accept(void)
{
    int fd = accept4(resolver.tcp, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0)
        return;
    struct stream *s = &streams[0];
    for (int i = 0; i < STREAMS; i++) {
        if (!streams[i].used) {
            s = &streams[i];
            break;
        }
        if (streams[i].serial < s->serial)
            s = &streams[i];
    }
    if (s->used)
        end_stream(s);
    s->used = 1, open_streams++, s->fd = fd, s->up = -1, s->state = READING, s->serial = ++resolver.serial, s->query_n = 0;
    s->due_ms = now_ms() + IDLE_MS;
    if (resolver_watch(fd, STREAM, (unsigned)(s - streams), 0, s->serial, EPOLLIN))
        end_stream(s);
}

static void write_on(struct stream *s)
{
    while (s->at < s->n) {
        ssize_t w = send(s->fd, s->buf + s->at, s->n - s->at, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (w < 0 && errno == EINTR)
            continue;
        if (w < 0 && errno == EAGAIN) {
            listen_to(s, EPOLLOUT);
            return;
        }
        if (w < 0) {
            end_stream(s);
            return;
        }
        s->at += (size_t)w;
    }
    s->state = READING, s->query_n = 0, s->due_ms = now_ms() + IDLE_MS;
    listen_to(s, EPOLLIN);
}

static void say_answer(struct stream *s, size_t n)
{
    dns_put16(s->buf, (unsigned)n);
    s->n = n + 2, s->at = 0, s->state = SENDING;
    write_on(s);
}

static void next_server(struct stream *s)
{
    if (s->up >= 0)
        close(s->up);
    s->up = -1;
    s->n = 0;
    for (; s->server < resolver.servers; s->server++) {
        const union address *a = &resolver.server[s->server];
        s->up = socket(a->any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (s->up < 0)
            continue;
        s->id = resolver_id();
        s->due_ms = now_ms() + SERVER_MS;
        if ((!connect(s->up, &a->any, sizeof *a) || errno == EINPROGRESS)
            && !resolver_watch(s->up, STREAM_SERVER, (unsigned)(s - streams), 0, s->serial, EPOLLOUT)) {
            s->server++;
            return;
        }
        close(s->up);
        s->up = -1;
    }
    struct question q;
    if (dns_parse(s->query + 2, s->query_n - 2, &q))
        end_stream(s);
    else
        say_answer(s, dns_empty(s->query + 2, &q, DNS_SERVFAIL, s->buf + 2));
}

static void read_query(struct stream *s)
{
    size_t want = s->query_n < 2 ? 2 : 2 + (size_t)dns_get16(s->query);
    if (want > sizeof s->query) {
        end_stream(s);
        return;
    }
    if (s->query_n < want) {
        ssize_t n = recv(s->fd, s->query + s->query_n, want - s->query_n, MSG_DONTWAIT);
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
            return;
        if (n <= 0) {
            end_stream(s);
            return;
        }
        s->query_n += (size_t)n;
    }
    if (s->query_n < 2 || s->query_n < 2 + (size_t)dns_get16(s->query))
        return;
    struct question q;
    int rcode = dns_parse(s->query + 2, s->query_n - 2, &q);
    if (rcode < 0) {
        end_stream(s);
        return;
    }
    size_t n = rcode ? dns_empty(s->query + 2, &q, rcode, resolver_out) : resolver_here(s->query + 2, &q, DNS_MESSAGE_MAX);
    if (n) {
        memcpy(s->buf + 2, resolver_out, n);
        say_answer(s, n);
        return;
    }
    s->state = ASKING, s->server = 0;
    listen_to(s, 0);
    next_server(s);
}

static void server_ready(struct stream *s, unsigned events)
{
    if (events & EPOLLOUT) {
        uint8_t message[DNS_QUERY_MAX + 2];
        memcpy(message, s->query, s->query_n);
        dns_put16(message + 2, s->id);
        struct epoll_event e = {.events = EPOLLIN, .data.u64 = (uint64_t)s->serial << 32 | (uint64_t)STREAM_SERVER << 24 | (uint64_t)(s - streams)};
        if (send(s->up, message, s->query_n, MSG_DONTWAIT | MSG_NOSIGNAL) != (ssize_t)s->query_n || epoll_ctl(resolver.epoll, EPOLL_CTL_MOD, s->up, &e))
            next_server(s);
        return;
    }
    size_t want = s->n < 2 ? 2 : 2 + (size_t)dns_get16(s->buf);
    ssize_t n = recv(s->up, s->buf + s->n, want - s->n, MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0) {
        next_server(s);
        return;
    }
    s->n += (size_t)n;
    if (s->n < 2 || s->n < 2 + (size_t)dns_get16(s->buf))
        return;
    struct question q;
    int empty, rcode = -1;
    if (!dns_parse(s->query + 2, s->query_n - 2, &q))
        rcode = dns_is_answer(s->buf + 2, s->n - 2, s->id, s->query + 2, &q, &empty);
    if (rcode < 0 || (rcode != DNS_NOERROR && rcode != DNS_NXDOMAIN && s->server < resolver.servers)) {
        next_server(s);
        return;
    }
    close(s->up);
    s->up = -1;
    dns_put16(s->buf + 2, q.id);
    say_answer(s, s->n - 2);
}

void streams_ready(enum kind kind, unsigned index, uint32_t serial, unsigned events)
{
    if (index >= STREAMS || !streams[index].used || streams[index].serial != serial)
        return;
    struct stream *s = &streams[index];
    if (kind == STREAM_SERVER) {
        if (s->up >= 0)
            server_ready(s, events);
    } else if (s->state == READING) {
        read_query(s);
    } else if (s->state == SENDING) {
        write_on(s);
    } else if (events & (EPOLLHUP | EPOLLERR)) {
        end_stream(s);
    }
}

int64_t streams_due(void)
{
    int64_t due = 0;
    for (int i = 0; i < STREAMS && open_streams; i++)
        if (streams[i].used && (!due || streams[i].due_ms < due))
            due = streams[i].due_ms;
    return due;
}

void streams_late(int64_t now)
{
    for (int i = 0; i < STREAMS && open_streams; i++)
        if (streams[i].used && streams[i].due_ms <= now) {
            if (streams[i].state == ASKING)
                next_server(&streams[i]);
            else
                end_stream(&streams[i]);
        }
}

void streams_stop(void)
{
    for (int i = 0; i < STREAMS && open_streams; i++)
        if (streams[i].used)
            end_stream(&streams[i]);
}

int streams_forget(void)
{
    if (open_streams)
        return 0;
    forget(streams, sizeof streams);
    return 1;
}
