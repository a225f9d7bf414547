/* R-net from the outside. The monitor stays in the host's network namespace, which an ordinary user could not come back to; what has to be
 * done in R-net goes by netlink sockets that a child makes there. */
#include "rnet.h"
#include "net.h"
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define PORTS 256
static struct { int fd, protocol, port; char address[46]; } ports[PORTS];
static int ports_n, rnet = -1, folder = -1, link_fd = -1;
static char folder_path[4096];
static int64_t due, delay_ms;

int rnet_is(void) { return rnet >= 0; }
int rnet_fd(void) { return link_fd; }
int64_t rnet_due(void) { return due; }

/* A descriptor that a child gets for us where we can't go: a socket of this protocol, or (-1) the namespace that it has made. */
static int by_child(int netns, int protocol)
{
    int pair[2], status = 0, got = -1;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair))
        return -1;
    pid_t pid = fork();
    if (pid == 0) {
        prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
        if (protocol >= 0) {
            if (!setns(netns, CLONE_NEWNET))
                got = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, protocol);
        } else if (!unshare(CLONE_NEWNET)) {
            struct rtnl k = {socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, 0), 0};
            if (k.fd >= 0 && !rtnl_up(&k, "lo")) {
                /* Who is behind a bridge is asked by the bridge's own rules, not by those for what is routed; absent without br_netfilter. */
                static const char *const settings[][2] = {{"ipv4/ip_forward", "1"}, {"ipv6/conf/all/forwarding", "1"},
                    {"ipv4/conf/all/rp_filter", "0"}, {"ipv4/conf/default/rp_filter", "0"}, {"ipv4/conf/lo/rp_filter", "0"},
                    {"bridge/bridge-nf-call-iptables", "0"}, {"bridge/bridge-nf-call-ip6tables", "0"}, {"bridge/bridge-nf-call-arptables", "0"}};
                int dir = open("/proc/sys/net", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
                for (size_t i = 0; dir >= 0 && i < sizeof settings / sizeof *settings; i++)
                    write_file_at(dir, settings[i][0], settings[i][1]);
                got = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
            }
        }
        if (got < 0 || send_fd(pair[1], got))
            _exit(errno > 0 && errno < 255 ? errno : ECHILD);
        _exit(0);
    }
    int e = pid < 0 ? errno : ECHILD;
    close(pair[1]);
    if (pid > 0)
        got = recv_fd(pair[0]);
    close(pair[0]);
    while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
        continue;
    if (got < 0)
        errno = WIFEXITED(status) && WEXITSTATUS(status) ? WEXITSTATUS(status) : e;
    return got;
}

int net_socket_in(int netns, int protocol) { return by_child(netns, protocol); }

int net_socket(int protocol)
{
    return rnet >= 0 ? by_child(rnet, protocol) : socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, protocol);
}

/* --- the link --- */

/* Say it, with a descriptor or without, and hear the answer: 0, or an errno. */
static int tell(int fd, const char *text, int with)
{
    struct iovec part = {(void *)(uintptr_t)text, strlen(text)};
    union { struct cmsghdr h; char space[CMSG_SPACE(sizeof(int))]; } c;
    memset(&c, 0, sizeof c);
    struct msghdr m = {.msg_iov = &part, .msg_iovlen = 1};
    if (with >= 0) {
        m.msg_control = &c, m.msg_controllen = sizeof c.space;
        struct cmsghdr *h = CMSG_FIRSTHDR(&m);
        h->cmsg_level = SOL_SOCKET, h->cmsg_type = SCM_RIGHTS, h->cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(h), &with, sizeof with);
    }
    char answer[64];
    struct pollfd w = {fd, POLLIN, 0};
    if (sendmsg(fd, &m, MSG_NOSIGNAL) < 0)
        return errno;
    if (poll(&w, 1, 5000) <= 0)
        return ETIMEDOUT;
    ssize_t n = recv(fd, answer, sizeof answer - 1, MSG_DONTWAIT);
    if (n <= 0)
        return ECONNRESET;
    answer[n] = 0;
    int64_t error = EIO;
    if (!strcmp(answer, "ok"))
        return 0;
    if (!strncmp(answer, "error ", 6))
        parse_number(answer + 6, &error);
    return (int)error;
}

static int tell_port(int i)
{
    char text[128];
    size_t n = text_append(text, sizeof text, 0, ports[i].protocol == IPPROTO_UDP ? "publish udp " : "publish tcp ");
    n = text_append(text, sizeof text, n, ports[i].address);
    n = text_append(text, sizeof text, n, " ");
    text_number(text, sizeof text, n, ports[i].port);
    return tell(link_fd, text, ports[i].fd);
}

/* A socket's address holds 108 bytes; the folder's path may be longer. */
static int call_link(void)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    size_t n = text_append(a.sun_path, sizeof a.sun_path, 0, "/proc/self/fd/");
    n = text_number(a.sun_path, sizeof a.sun_path, n, folder);
    text_append(a.sun_path, sizeof a.sun_path, n, "/link.ctl");
    char hello[40];
    struct stat st;
    n = text_append(hello, sizeof hello, 0, "hello ");
    if (fstat(rnet, &st))
        return -1;
    text_number(hello, sizeof hello, n, (int64_t)st.st_ino);
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (fd >= 0 && (connect(fd, (struct sockaddr *)&a, sizeof a) || tell(fd, hello, -1))) {
        close(fd);
        fd = -1;
    }
    if (fd < 0)
        return -1;
    link_fd = fd;
    for (int i = 0; i < ports_n; i++)
        if (tell_port(i)) {
            close(link_fd);
            link_fd = -1;
            return -1;
        }
    return 0;
}

static void become_link(int ready)
{
    char number[2][24];
    sigset_t none;
    fcntl(rnet, F_SETFD, 0), fcntl(ready, F_SETFD, 0);
    text_number(number[0], sizeof number[0], 0, rnet), text_number(number[1], sizeof number[1], 0, ready);
    char *argv[] = {(char *)"wherry-native", (char *)"link", folder_path, number[0], number[1], NULL}, *env[] = {NULL};
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    const int keep[] = {rnet, ready};
    close_from(3, keep, 2);
    execve("/proc/self/exe", argv, env);
}

/* 0; or -1 with errno and a few words. With `patient` the lock is waited for. */
static int ensure_link(int patient, char *why, size_t why_size)
{
    char said[256] = "";
    int ready[2];
    why[0] = 0;
    if (!call_link())
        return 0;
    int lock = openat(folder, "link.lock", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (lock < 0 || flock(lock, LOCK_EX | (patient ? 0 : LOCK_NB))) {
        int e = errno;
        if (lock >= 0)
            close(lock);
        return errno = e, -1;
    }
    int bad = call_link() ? ECHILD : 0;
    if (bad && !pipe2(ready, O_CLOEXEC)) {
        pid_t pid = fork();
        if (pid == 0) {
            become_link(ready[1]);
            _exit(125);
        }
        close(ready[1]);
        struct pollfd w = {ready[0], POLLIN, 0};
        ssize_t n = pid > 0 && poll(&w, 1, 10000) > 0 ? read(ready[0], said, sizeof said - 1) : -1;
        close(ready[0]);
        if (n == 2 && said[0] == 'o') {
            bad = call_link() ? ECONNREFUSED : 0;
        } else if (n > 0) {
            int64_t error = ECHILD;
            char *words = strchr(said, ' ');
            if (words) {
                *words = 0;
                parse_number(said, &error);
                text_append(why, why_size, text_append(why, why_size, 0, "the link: "), words + 1);
            }
            bad = (int)error;
        }
    }
    close(lock);
    return errno = bad, bad ? -1 : 0;
}

void rnet_enter(const struct op *op, const struct report *r)
{
    char why[200];
    if (op->f[0].i == 0)
        return;
    if (copy_text(folder_path, sizeof folder_path, op->f[2].s))
        fail(r, ENAMETOOLONG, op->f[2].s);
    rnet = op->f[0].i == 1 ? (int)op->f[1].i : by_child(-1, -1);
    if (rnet < 0)
        fail(r, errno, "a network namespace");
    fcntl(rnet, F_SETFD, FD_CLOEXEC);
    folder = open(folder_path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (folder < 0)
        fail(r, errno, folder_path);
    if (ensure_link(1, why, sizeof why))
        fail(r, errno, why[0] ? why : "the link to the host's network");
}

int rnet_publish(const struct op *op)
{
    union { struct sockaddr any; struct sockaddr_in v4; struct sockaddr_in6 v6; } a;
    memset(&a, 0, sizeof a);
    int six = strchr(op->f[1].s, ':') != NULL, on = 1, protocol = (int)op->f[0].i;
    if (ports_n == PORTS)
        return errno = ENOSPC, -1;
    if (inet_pton(six ? AF_INET6 : AF_INET, op->f[1].s, six ? (void *)&a.v6.sin6_addr : (void *)&a.v4.sin_addr) != 1
        || copy_text(ports[ports_n].address, sizeof ports[0].address, op->f[3].s))
        return errno = EINVAL, -1;
    a.any.sa_family = six ? AF_INET6 : AF_INET;
    a.v4.sin_port = htons((uint16_t)op->f[2].i); /* sin6_port lies at the same place */
    int fd = socket(a.any.sa_family, (protocol == IPPROTO_UDP ? SOCK_DGRAM : SOCK_STREAM) | SOCK_CLOEXEC, protocol);
    if (fd < 0)
        return -1;
    if (six)
        setsockopt(fd, SOL_IPV6, IPV6_V6ONLY, &on, sizeof on);
    /* Connections of an earlier container on this port may still be in TIME_WAIT. */
    if (protocol != IPPROTO_UDP)
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(fd, &a.any, six ? sizeof a.v6 : sizeof a.v4) || (protocol != IPPROTO_UDP && listen(fd, 4096))) {
        int e = errno;
        close(fd);
        return errno = e, -1;
    }
    ports[ports_n].fd = fd, ports[ports_n].protocol = protocol, ports[ports_n].port = (int)op->f[4].i;
    int bad = tell_port(ports_n++);
    return errno = bad, bad ? -1 : 0;
}

void rnet_over(void)
{
    if (link_fd >= 0 && ports_n)
        tell(link_fd, "over", -1);
    while (ports_n)
        close(ports[--ports_n].fd);
}

/* The link never speaks by itself: what comes is its end. All of its monitors notice; the one that gets the lock starts another. */
void rnet_work(void)
{
    char why[200];
    if (link_fd >= 0) {
        char byte;
        if (recv(link_fd, &byte, 1, MSG_DONTWAIT) < 0 && (errno == EAGAIN || errno == EINTR))
            return;
        close(link_fd);
        link_fd = -1, delay_ms = 0;
    } else if (!due || due > now_ms()) {
        return;
    }
    due = 0;
    if (!ensure_link(0, why, sizeof why))
        return;
    delay_ms = delay_ms ? delay_ms * 2 : 40;
    if (delay_ms > 5000)
        delay_ms = 5000;
    due = now_ms() + delay_ms;
}
