/* The control socket: who is connected, what they ask. docs/internals/monitor.md has the records. */
#include "health.h"
#include "monitor.h"
#include "resolver.h"
#include "net.h"
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

void drop_client(struct client *c)
{
    int had_stdin = c->attached && (c->streams & IN);
    close(c->fd);
    memset(c, 0, sizeof *c);
    c->fd = -1;
    if (had_stdin && (m.stdin_once || m.exec)) {
        m.in_eof = 1;
        write_input();
    }
}

int say(struct client *c, int type, uint32_t tag, const void *p, size_t n)
{
    if (send_record(c->fd, type, tag, p, n, MSG_DONTWAIT) == 0)
        return 0;
    if (errno != EAGAIN && errno != EWOULDBLOCK && errno != ENOBUFS)
        drop_client(c);
    return -1;
}

static void error_to(struct client *c, uint32_t tag, int err, const char *text)
{
    uint8_t p[8 + 128];
    size_t n = strlen(text);
    put64(p, err);
    memcpy(p + 8, text, n);
    say(c, SAY_ERROR, tag, p, 8 + n);
}

void exit_to(struct client *c)
{
    uint8_t p[16];
    put64(p, m.code);
    put64(p + 8, (m.oom ? 1 : 0) | (m.signal ? 2 : 0));
    /* The answer that everything waits for: a client that lets its buffer fill up may delay us a little, not for ever. */
    for (int tries = 0; c->fd >= 0 && tries < 200; tries++) {
        if (say(c, SAY_EXIT, c->wait_tag, p, sizeof p) == 0 || c->fd < 0)
            return;
        struct pollfd w = {c->fd, POLLOUT, 0};
        poll(&w, 1, 50);
    }
}

void tell_health(int64_t code)
{
    uint8_t p[16] = {0};
    put64(p, code);
    for (int i = 0; i < CLIENTS; i++)
        if (m.clients[i].fd >= 0 && m.clients[i].waits_health) {
            m.clients[i].waits_health = 0;
            say(&m.clients[i], SAY_EXIT, m.clients[i].wait_tag, p, sizeof p);
        }
}

struct client *new_client(int fd)
{
    for (int i = 0; i < CLIENTS; i++)
        if (m.clients[i].fd < 0) {
            memset(&m.clients[i], 0, sizeof m.clients[i]);
            m.clients[i].fd = fd;
            return &m.clients[i];
        }
    close(fd);
    return NULL;
}

static int others_have_stdin(const struct client *me)
{
    for (int i = 0; i < CLIENTS; i++)
        if (&m.clients[i] != me && m.clients[i].fd >= 0 && m.clients[i].attached && (m.clients[i].streams & IN))
            return 1;
    return 0;
}

static void request(struct client *c, uint8_t *p, size_t n)
{
    int type = p[0] | p[1] << 8;
    uint32_t tag = get32(p + 4);
    const uint8_t *body = p + HEADER;
    n -= HEADER;
    switch (type) {
    case ATTACH:
        c->streams = n >= 4 ? get32(body) : OUT | ERR;
        c->attached = 1;
        say(c, SAY_OK, tag, NULL, 0);
        break;
    case STDIN:
        take_input(body, n);
        break;
    case STDIN_EOF:
        c->streams &= ~(unsigned)IN;
        if (m.exec || m.stdin_once || !others_have_stdin(c)) {
            m.in_eof = 1;
            write_input();
        }
        break;
    case RESIZE:
        if (n >= 8)
            set_size(get32(body), get32(body + 4));
        if (!m.exec)
            say(c, SAY_OK, tag, NULL, 0);
        break;
    case SIGNAL:
        if (n >= 16 && (get64(body + 8) & 1))
            m.by_hand = 1;
        if (n < 16 || kill_init((int)get64(body)))
            error_to(c, tag, n < 16 ? EINVAL : errno, "");
        else
            say(c, SAY_OK, tag, NULL, 0);
        break;
    case STOP:
        say(c, SAY_OK, tag, NULL, 0);
        if (n >= 16)
            stop(get64(body), get64(body + 8));
        break;
    case WAIT:
        c->waits = 1, c->wait_tag = tag;
        break;
    case NEXT_EXIT:
        c->waits_next = 1, c->wait_tag = tag;
        break;
    case STATUS: {
        char text[4096];
        say(c, SAY_STATUS, tag, text, state_text(text, sizeof text));
        break;
    }
    case POLICY: {
        size_t len = 0;
        while (len < n && len < sizeof m.policy - 1 && body[len])
            len++;
        if (n < len + 9) {
            error_to(c, tag, EINVAL, "");
            break;
        }
        memcpy(m.policy, body, len);
        m.policy[len] = 0;
        m.max_retries = get64(body + len + 1);
        say(c, SAY_OK, tag, NULL, 0);
        break;
    }
    case PAUSE:
        if (n < 8 || !m.running || pause_or_go_on(get64(body) != 0))
            error_to(c, tag, n < 8 ? EINVAL : !m.running ? ESRCH : errno, "");
        else
            say(c, SAY_OK, tag, NULL, 0);
        break;
    case RELOAD: {
        int e = m.exec ? ENOSYS : net_change(m.run_fd, &m.plan_fd, m.running ? m.proc.init : 0);
        if (e)
            error_to(c, tag, e, "");
        else
            say(c, SAY_OK, tag, NULL, 0);
        break;
    }
    case HEALTH:
        if (health_probe())
            error_to(c, tag, errno, errno == ENOENT ? "the container has no health check" : "");
        else
            c->waits_health = 1, c->wait_tag = tag;
        break;
    case CLAIM:
        c->claims = 1;
        say(c, SAY_OK, tag, NULL, 0);
        break;
    case NAMES: {
        /* Connected to its first network with names while it runs. */
        int sockets[2];
        if (m.exec || !m.running || (resolver_fd() < 0 && resolver_join(m.proc.init_pidfd, sockets))) {
            error_to(c, tag, m.running ? errno : ESRCH, "the resolver's sockets on 127.0.0.11");
            break;
        }
        if (resolver_fd() < 0)
            resolver_start(m.run_fd, sockets);
        say(c, SAY_OK, tag, NULL, 0);
        break;
    }
    default:
        error_to(c, tag, ENOSYS, "this monitor doesn't know that request");
    }
}

static _Alignas(4096) uint8_t record[RECORD_MAX + HEADER];

void ctl_forget(void) { forget(record, sizeof record); }

void read_client(struct client *c)
{
    ssize_t n = recv(c->fd, record, sizeof record, MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n < HEADER) {
        drop_client(c);
        return;
    }
    request(c, record, (size_t)n);
}

/* What clients have said and we haven't heard: a CLAIM counts, and a socket that is closed with words unread in it
 * greets the other side with ECONNRESET. */
void take_last_words(void)
{
    for (int i = 0; i < CLIENTS; i++)
        for (int tries = 0; tries < 64 && m.clients[i].fd >= 0; tries++) {
            struct pollfd w = {m.clients[i].fd, POLLIN, 0};
            if (poll(&w, 1, 0) <= 0 || !(w.revents & POLLIN))
                break;
            read_client(&m.clients[i]);
        }
}

void welcome(void)
{
    struct { pid_t pid; uid_t uid; gid_t gid; } peer;
    socklen_t size = sizeof peer;
    int fd = accept4(m.listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0)
        return;
    /* 65534: host root, seen from inside a user's R, where it has no number. The run folder lets nobody else in. */
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) || (peer.uid != geteuid() && peer.uid != 0 && peer.uid != 65534)) {
        close(fd);
        return;
    }
    new_client(fd);
}
