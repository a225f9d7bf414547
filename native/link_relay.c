/* Two connected sockets, made one: workers move what comes by one to the other, small things by a buffer, much by a pipe that only
 * passes pages on (splice). Half-closed stays half-closed, a reset is passed on as one. */
#include "link.h"
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#define WORKERS 4
#define BUFFER (64 * 1024)
#define TURN (1024 * 1024)    /* bytes for one connection before others have their turn */
#define PIPES 8               /* kept by a worker for the next that need one; these are large */
#define PIPE_SIZE (512 * 1024)

struct pair;
struct half { /* what goes from one side to the other */
    struct pair *pair;
    int from, to;
    int pipe[2];
    size_t held;              /* bytes in the pipe */
    size_t room;              /* of the pipe */
    int bulk, eof, shut;
    int ended;                /* the other side has said that it will say no more: read on until there is nothing */
};
struct pair {
    struct half half[2];
    struct pair *next;        /* in the list of those whose turn was over too early */
    int queued, dead;
};
struct worker {
    pthread_t thread;
    int epoll, inbox[2];      /* addresses of pairs that are its from now on */
    int pipes[PIPES][2], pipes_n;
    struct pair *again, *graves;
    uint8_t buffer[BUFFER];
};
static struct worker *workers[WORKERS];
static int workers_n, turn;

static int take_pipe(struct worker *w, struct half *h)
{
    if (h->pipe[0] >= 0)
        return 0;
    if (w->pipes_n) {
        w->pipes_n--;
        h->pipe[0] = w->pipes[w->pipes_n][0], h->pipe[1] = w->pipes[w->pipes_n][1];
    } else if (pipe2(h->pipe, O_NONBLOCK | O_CLOEXEC)) {
        h->pipe[0] = h->pipe[1] = -1;
        return -1;
    } else {
        fcntl(h->pipe[1], F_SETPIPE_SZ, PIPE_SIZE);
    }
    int size = fcntl(h->pipe[1], F_GETPIPE_SZ);
    h->room = size > 0 ? (size_t)size : 4096;
    return 0;
}

static void give_pipe(struct worker *w, struct half *h)
{
    if (h->pipe[0] < 0)
        return;
    if (!h->held && w->pipes_n < PIPES) {
        w->pipes[w->pipes_n][0] = h->pipe[0], w->pipes[w->pipes_n++][1] = h->pipe[1];
    } else {
        close(h->pipe[0]);
        close(h->pipe[1]);
    }
    h->pipe[0] = h->pipe[1] = -1, h->held = 0;
}

/* Nothing is freed before all events of the round have been looked at: some may be about it. */
static void end_pair(struct worker *w, struct pair *p, int reset)
{
    if (p->dead)
        return;
    for (int i = 0; i < 2; i++) {
        struct linger now = {1, 0};
        if (reset)
            setsockopt(p->half[i].from, SOL_SOCKET, SO_LINGER, &now, sizeof now);
        give_pipe(w, &p->half[i]);
    }
    close(p->half[0].from);
    close(p->half[1].from);
    p->dead = 1;
    if (!p->queued)
        p->next = w->graves, w->graves = p;
}

enum moved { STUCK, MORE, BROKEN };

static enum moved from_pipe(struct half *h)
{
    while (h->held) {
        ssize_t n = splice(h->pipe[0], NULL, h->to, NULL, h->held, SPLICE_F_NONBLOCK | SPLICE_F_MOVE);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return errno == EAGAIN ? STUCK : BROKEN;
        if (n == 0)
            return BROKEN;
        h->held -= (size_t)n;
    }
    return MORE;
}

static enum moved by_buffer(struct worker *w, struct half *h)
{
    ssize_t n = recv(h->from, w->buffer, BUFFER, MSG_DONTWAIT);
    if (n < 0)
        return errno == EAGAIN || errno == EINTR ? STUCK : BROKEN;
    if (n == 0) {
        h->eof = 1;
        return MORE;
    }
    h->bulk = n > BUFFER / 4;
    int all = n < BUFFER && !h->ended; /* what comes later is told by another event */
    ssize_t sent = send(h->to, w->buffer, (size_t)n, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent < 0 && errno != EAGAIN && errno != EINTR)
        return BROKEN;
    if (sent < 0)
        sent = 0;
    if (sent < n) {
        /* It fits: an empty pipe takes as much as the buffer holds. */
        if (take_pipe(w, h) || h->room < BUFFER || write(h->pipe[1], w->buffer + sent, (size_t)(n - sent)) != n - sent)
            return BROKEN;
        h->held = (size_t)(n - sent);
        return MORE;
    }
    return all ? STUCK : MORE;
}

static enum moved by_pipe(struct worker *w, struct half *h)
{
    if (take_pipe(w, h)) {
        h->bulk = 0;
        return by_buffer(w, h);
    }
    ssize_t n = splice(h->from, NULL, h->pipe[1], NULL, h->room, SPLICE_F_NONBLOCK | SPLICE_F_MOVE);
    if (n < 0)
        return errno == EAGAIN || errno == EINTR ? STUCK : BROKEN;
    if (n == 0)
        h->eof = 1;
    h->held += (size_t)n;
    h->bulk = n > BUFFER / 8;
    return MORE;
}

/* BROKEN: reset both. MORE: its turn is over, but not its data. */
static enum moved move(struct worker *w, struct half *h)
{
    for (size_t total = 0; total < TURN; total += BUFFER) {
        enum moved m = from_pipe(h);
        if (m != MORE)
            return m;
        if (h->eof) {
            if (!h->shut)
                shutdown(h->to, SHUT_WR);
            h->shut = 1;
            give_pipe(w, h);
            return STUCK;
        }
        m = h->bulk ? by_pipe(w, h) : by_buffer(w, h);
        if (m == STUCK && !h->held)
            give_pipe(w, h);
        if (m != MORE)
            return m;
    }
    return MORE;
}

static void serve(struct worker *w, struct pair *p, int halves)
{
    int more = 0;
    for (int i = 0; i < 2 && !p->dead; i++) {
        if (!(halves & 1 << i))
            continue;
        enum moved m = move(w, &p->half[i]);
        if (m == BROKEN)
            end_pair(w, p, 1);
        more |= m == MORE;
    }
    if (!p->dead && p->half[0].shut && p->half[1].shut)
        end_pair(w, p, 0);
    if (!p->dead && more && !p->queued) {
        p->queued = 1;
        p->next = w->again, w->again = p;
    }
}

static void take_over(struct worker *w)
{
    struct pair *p;
    while (read(w->inbox[0], &p, sizeof p) == sizeof p) {
        /* The address of the half that reads there. */
        for (int i = 0; i < 2 && !p->dead; i++) {
            struct epoll_event e = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data.ptr = &p->half[i]};
            if (epoll_ctl(w->epoll, EPOLL_CTL_ADD, p->half[i].from, &e))
                end_pair(w, p, 1);
        }
    }
}

static void *work(void *of)
{
    struct worker *w = of;
    struct epoll_event e[64];
    for (;;) {
        int n = epoll_wait(w->epoll, e, 64, w->again ? 0 : -1);
        for (int i = 0; i < n; i++) {
            struct half *h = e[i].data.ptr;
            if (!h) {
                take_over(w);
                continue;
            }
            struct pair *p = h->pair;
            int side = h == &p->half[1], halves = 0;
            if (p->dead)
                continue;
            if (e[i].events & (EPOLLRDHUP | EPOLLHUP))
                h->ended = 1;
            if (e[i].events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP))
                halves |= 1 << side;
            if ((e[i].events & EPOLLOUT) && p->half[!side].held) /* what has waited for room here */
                halves |= 1 << !side;
            if (e[i].events & EPOLLERR) {
                int error = 0;
                socklen_t size = sizeof error;
                for (int k = 0; k < 2 && !error; k++)
                    getsockopt(p->half[k].from, SOL_SOCKET, SO_ERROR, &error, &size);
                if (error) {
                    end_pair(w, p, 1);
                    continue;
                }
            }
            serve(w, p, halves);
        }
        struct pair *list = w->again;
        w->again = NULL;
        while (list) {
            struct pair *p = list;
            list = p->next, p->queued = 0;
            if (p->dead)
                p->next = w->graves, w->graves = p;
            else
                serve(w, p, 3);
        }
        while (w->graves) {
            struct pair *p = w->graves;
            w->graves = p->next;
            free(p);
        }
    }
    return NULL;
}

static void keep_alive(int fd, int idle_s)
{
    int on = 1, interval = 15, count = 4;
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle_s, sizeof idle_s);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval, sizeof interval);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &count, sizeof count);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

/* a is the socket in R-net: its container may vanish without a word, with its namespace. */
void relay(int a, int b)
{
    struct pair *p = calloc(1, sizeof *p);
    if (!p) {
        close(a), close(b);
        return;
    }
    keep_alive(a, 60);
    keep_alive(b, 600);
    for (int i = 0; i < 2; i++)
        p->half[i] = (struct half){.pair = p, .from = i ? b : a, .to = i ? a : b, .pipe = {-1, -1}};
    struct worker *w = workers[turn++ % workers_n];
    if (write(w->inbox[1], &p, sizeof p) != sizeof p) {
        close(a), close(b);
        free(p);
    }
}

int relay_start(int count)
{
    pthread_attr_t attr;
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, 64 * 1024);
    for (workers_n = 0; workers_n < count && workers_n < WORKERS; workers_n++) {
        struct worker *w = calloc(1, sizeof *w);
        if (!w)
            return -1;
        workers[workers_n] = w;
        w->epoll = epoll_create1(EPOLL_CLOEXEC);
        struct epoll_event e = {.events = EPOLLIN};
        if (w->epoll < 0 || pipe2(w->inbox, O_CLOEXEC) || fcntl(w->inbox[0], F_SETFL, O_NONBLOCK)
            || epoll_ctl(w->epoll, EPOLL_CTL_ADD, w->inbox[0], &e) || pthread_create(&w->thread, &attr, work, w))
            return -1;
    }
    return workers_n ? 0 : -1;
}
