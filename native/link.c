/* `wherry-native link FOLDER RNET READY`: the link's process. The main thread stays in the host's network namespace and does the work;
 * a second one is in R-net and makes sockets there; workers move what connections say. docs/internals/link.md. */
#include "link.h"
#include "resolver.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <netinet/ip.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h> /* renameat */
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define LINGER_MS 300    /* without a container: the next command may be near */
#define REQUEST_MAX 128

struct link_state ln;

struct customer { /* a monitor's connection */
    struct watched w;
    struct port *ports[256];
    int n;
};

static int customers, factory[2], setup_error;
static const char *setup_what = "";
static void *graves[1024];
static int graves_n;
static struct watched control, packets, names;

void bury(void *p)
{
    if (graves_n < 1024)
        graves[graves_n++] = p; /* beyond that: lost, 1 kB, rather than used again too early */
}

void never_block(int fd) { fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK); }

int watch(struct watched *w, int fd, on_event *act, unsigned events)
{
    struct epoll_event e = {.events = events, .data.ptr = w};
    w->fd = fd, w->act = act;
    return epoll_ctl(ln.epoll, EPOLL_CTL_ADD, fd, &e);
}

/* --- the thread in R-net --- */

int rnet_make(int family, int type, int protocol)
{
    int ask[3] = {family, type, protocol}, got;
    if (send(factory[0], ask, sizeof ask, MSG_NOSIGNAL) != sizeof ask || recv(factory[0], &got, sizeof got, 0) != sizeof got)
        return -1;
    if (got < 0)
        errno = -got;
    return got < 0 ? -1 : got;
}

static int transparent(int family, int type, const char *address, uint16_t port, uint16_t *got)
{
    union name a;
    socklen_t n = sizeof a;
    int on = 1, six = family == AF_INET6, big = 4 << 20;
    int fd = socket(family, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0 || name_parse(address, port, &a))
        return -1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, type == SOCK_DGRAM ? &big : &on, type == SOCK_DGRAM ? sizeof big : 0);
    if (got && (setsockopt(fd, six ? IPPROTO_IPV6 : IPPROTO_IP, six ? 75 /* IPV6_TRANSPARENT */ : IP_TRANSPARENT, &on, sizeof on)
        || setsockopt(fd, six ? IPPROTO_IPV6 : IPPROTO_IP, six ? 74 /* IPV6_RECVORIGDSTADDR */ : IP_RECVORIGDSTADDR, &on, sizeof on)))
        goto no;
    if (bind(fd, &a.any, name_size(&a)) || (type == SOCK_STREAM && listen(fd, 4096)) || getsockname(fd, &a.any, &n))
        goto no;
    if (got)
        *got = name_port(&a);
    return fd;
no:
    close(fd);
    return -1;
}

static int raw(int family)
{
    int on = 1, six = family == AF_INET6;
    int fd = socket(family, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, IPPROTO_RAW);
    if (fd >= 0)
        setsockopt(fd, six ? IPPROTO_IPV6 : IPPROTO_IP, six ? 36 /* IPV6_HDRINCL */ : IP_HDRINCL, &on, sizeof on);
    return fd;
}

/* What is routed outside: connection requests and what belongs to lost connections, pings. Datagrams have their socket. */
static int packet_socket(void)
{
    static struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 0),
        BPF_STMT(BPF_ALU | BPF_RSH | BPF_K, 4),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 6, 3, 0),
        BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 9),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, IPPROTO_TCP, 3, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, IPPROTO_ICMP, 2, 3),
        BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 6),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, IPPROTO_TCP, 0, 2),
        BPF_STMT(BPF_RET | BPF_K, 0xffff),
        BPF_STMT(BPF_RET | BPF_K, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, IPPROTO_ICMPV6, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, 0xffff),
        BPF_STMT(BPF_RET | BPF_K, 0),
    };
    struct sock_fprog program = {sizeof code / sizeof *code, code};
    struct sockaddr_ll a = {.sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL), .sll_ifindex = (int)if_nametoindex("wherry-in")};
    int big = 8 << 20;
    int fd = socket(AF_PACKET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program) || bind(fd, (struct sockaddr *)&a, sizeof a))
        return -1;
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &big, sizeof big);
    return fd;
}

static int names_sockets[2] = {-1, -1};

static int set_up(void)
{
    setup_what = "entering the network namespace";
    if (setns(ln.rnet, CLONE_NEWNET))
        return errno;
    int bad = rules_make(&setup_what);
    if (bad)
        return bad;
    setup_what = "the sockets";
    ln.raw4 = raw(AF_INET), ln.raw6 = raw(AF_INET6);
    ln.packets = packet_socket();
    ln.listener4 = transparent(AF_INET, SOCK_STREAM, LINK_ADDRESS, 0, &ln.port_tcp4);
    ln.datagrams4 = transparent(AF_INET, SOCK_DGRAM, LINK_ADDRESS, 0, &ln.port_udp4);
    ln.listener6 = transparent(AF_INET6, SOCK_STREAM, LINK_ADDRESS6, 0, &ln.port_tcp6);
    ln.datagrams6 = transparent(AF_INET6, SOCK_DGRAM, LINK_ADDRESS6, 0, &ln.port_udp6);
    names_sockets[0] = transparent(AF_INET, SOCK_DGRAM, NAMES_ADDRESS, 53, NULL);
    names_sockets[1] = transparent(AF_INET, SOCK_STREAM, NAMES_ADDRESS, 53, NULL);
    if (ln.raw4 < 0 || ln.packets < 0 || ln.listener4 < 0 || ln.datagrams4 < 0)
        return errno;
    setup_what = "the rules (the kernel needs nf_tables with socket and tproxy)";
    return rules_commit();
}

static void *in_rnet(void *unused)
{
    int ask[3], got = set_up();
    (void)unused;
    setup_error = got;
    if (send(factory[1], &got, sizeof got, MSG_NOSIGNAL) != sizeof got || setup_error)
        return NULL;
    while (recv(factory[1], ask, sizeof ask, 0) == sizeof ask) {
        got = socket(ask[0], ask[1] | SOCK_CLOEXEC | SOCK_NONBLOCK, ask[2]);
        if (got < 0)
            got = -errno;
        if (send(factory[1], &got, sizeof got, MSG_NOSIGNAL) != sizeof got)
            break;
    }
    return NULL;
}

/* --- what monitors ask for --- */

static void answer(int fd, int error)
{
    char text[32];
    size_t n = text_append(text, sizeof text, 0, error ? "error " : "ok");
    if (error)
        n = text_number(text, sizeof text, n, error);
    send(fd, text, n, MSG_DONTWAIT | MSG_NOSIGNAL);
}

/* "publish tcp 10.88.0.5 80" */
static int publish(struct customer *c, char *text, int fd)
{
    char *word[4], *p = text;
    int64_t port;
    union name to;
    for (int i = 0; i < 4; i++) {
        word[i] = p;
        p += strcspn(p, " ");
        if (*p)
            *p++ = 0;
    }
    if (fd < 0 || strcmp(word[0], "publish") || parse_number(word[3], &port) || port < 1 || port > 65535 || name_parse(word[2], (uint16_t)port, &to))
        return EINVAL;
    int type = !strcmp(word[1], "tcp") ? SOCK_STREAM : !strcmp(word[1], "udp") ? SOCK_DGRAM : 0;
    int real = 0;
    socklen_t n = sizeof real;
    if (!type || getsockopt(fd, SOL_SOCKET, SO_TYPE, &real, &n) || real != type)
        return EINVAL;
    if (c->n == 256)
        return ENOSPC;
    struct port *made = port_open(fd, type, &to);
    if (!made)
        return errno;
    c->ports[c->n++] = made;
    return 0;
}

/* "hello INODE": of the R-net that the monitor knows. One that is not ours has come after the last of ours went. */
static int greet(const char *text)
{
    int64_t inode;
    struct stat st;
    if (*text != ' ' || parse_number(text + 1, &inode) || fstat(ln.rnet, &st))
        return EINVAL;
    return (int64_t)st.st_ino == inode ? 0 : ESTALE;
}

static int end_ports(struct customer *c)
{
    while (c->n)
        port_close(c->ports[--c->n]);
    return 0;
}

static void end_customer(struct customer *c)
{
    end_ports(c);
    close(c->w.fd);
    c->w.fd = -1;
    customers--;
    bury(c);
}

static void asked(struct watched *w, unsigned events)
{
    struct customer *c = (struct customer *)w;
    (void)events;
    char text[REQUEST_MAX + 1];
    union { struct cmsghdr h; char space[CMSG_SPACE(sizeof(int))]; } space;
    struct iovec part = {text, REQUEST_MAX};
    struct msghdr m = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = &space, .msg_controllen = sizeof space};
    ssize_t n = recvmsg(w->fd, &m, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0) {
        end_customer(c);
        return;
    }
    int fd = -1;
    struct cmsghdr *h = CMSG_FIRSTHDR(&m);
    if (h && h->cmsg_level == SOL_SOCKET && h->cmsg_type == SCM_RIGHTS)
        memcpy(&fd, CMSG_DATA(h), sizeof fd);
    text[n] = 0;
    int bad = !strncmp(text, "hello", 5) ? greet(text + 5) : !strcmp(text, "over") ? end_ports(c) : publish(c, text, fd);
    if (bad && fd >= 0)
        close(fd);
    answer(w->fd, bad);
    if (bad == ESTALE && customers == 1)
        exit(0);
}

static void welcome(struct watched *w, unsigned events)
{
    struct ucred peer;
    socklen_t size = sizeof peer;
    (void)events;
    int fd = accept4(w->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0)
        return;
    struct customer *c = calloc(1, sizeof *c);
    if (!c || getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) || peer.uid != geteuid() || watch(&c->w, fd, asked, EPOLLIN)) {
        close(fd);
        free(c);
        return;
    }
    customers++;
}

static void read_packets(struct watched *w, unsigned events)
{
    static uint8_t data[65536];
    (void)events;
    for (int i = 0; i < 256; i++) {
        struct packet p;
        struct sockaddr_ll from;
        socklen_t size = sizeof from;
        ssize_t n = recvfrom(w->fd, data, sizeof data, MSG_DONTWAIT, (struct sockaddr *)&from, &size);
        if (n < 0)
            return;
        if (from.sll_pkttype != PACKET_HOST || packet_read(data, (size_t)n, &p))
            continue;
        if (p.protocol == IPPROTO_TCP)
            tcp_syn(&p);
        else
            echo_request(&p);
    }
}

static void names_ready(struct watched *w, unsigned events)
{
    (void)w, (void)events;
    resolver_work();
}

/* --- start --- */

static int listen_in(int folder)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    copy_text(a.sun_path, sizeof a.sun_path, "link.ctl");
    if (fd < 0 || fchdir(folder) || (unlink("link.ctl") && errno != ENOENT) || bind(fd, (struct sockaddr *)&a, sizeof a) || listen(fd, 256)
        || chdir("/"))
        return -1;
    return fd;
}

static int write_file(int folder, const char *name, const char *text)
{
    int fd = openat(folder, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    int bad = fd < 0 || write_all(fd, text, strlen(text));
    if (fd >= 0)
        close(fd);
    return bad;
}

static void announce(int folder)
{
    char text[64];
    size_t n = text_number(text, sizeof text, 0, getpid());
    n = text_append(text, sizeof text, n, " ");
    n = text_number(text, sizeof text, n, start_time(getpid()));
    n = text_append(text, sizeof text, n, " ");
    n = text_number(text, sizeof text, n, ln.rnet);
    text_append(text, sizeof text, n, "\n");
    if (!write_file(folder, "link.new", text))
        renameat(folder, "link.new", folder, "link");
}

static _Noreturn void failed(int ready, int error, const char *what)
{
    char text[256];
    size_t n = text_number(text, sizeof text, 0, error);
    n = text_append(text, sizeof text, n, " ");
    n = text_append(text, sizeof text, n, what);
    if (write_all(ready, text, n))
        _exit(126);
    _exit(125);
}

static int processors(void)
{
    uint64_t set[16] = {0};
    int n = 0;
    sched_getaffinity(0, sizeof set, (cpu_set_t *)set);
    for (int i = 0; i < 16; i++)
        n += __builtin_popcountll(set[i]);
    return n < 1 ? 1 : n;
}

static void begin(int folder, int ready)
{
    pthread_t thread;
    pthread_attr_t attr;
    int bad;
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, 128 * 1024);
    ln.epoll = epoll_create1(EPOLL_CLOEXEC);
    if (ln.epoll < 0 || socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, factory) || pthread_create(&thread, &attr, in_rnet, NULL)
        || recv(factory[0], &bad, sizeof bad, 0) != sizeof bad)
        failed(ready, errno, "a thread");
    if (bad)
        failed(ready, bad, setup_what);
    if (relay_start(processors()) || tcp_start() || udp_start() || watch(&packets, ln.packets, read_packets, EPOLLIN))
        failed(ready, errno, "the event loop");
    /* The names that the host knows, also for containers whose host has its server on its own loopback. */
    if (names_sockets[0] >= 0 && names_sockets[1] >= 0 && !write_file(folder, "resolv", "servers-of /etc/resolv.conf\n")) {
        resolver_start(folder, names_sockets);
        if (resolver_fd() >= 0)
            watch(&names, resolver_fd(), names_ready, EPOLLIN);
    }
    int fd = listen_in(folder);
    if (fd < 0 || watch(&control, fd, welcome, EPOLLIN))
        failed(ready, errno, "link.ctl");
    announce(folder);
    write_all(ready, "ok", 2);
    close(ready);
}

static void tick(void)
{
    tcp_tick();
    udp_tick();
    ports_tick();
}

int cmd_link(int argc, char **argv)
{
    int64_t rnet, ready;
    struct rlimit files;
    if (argc != 3 || parse_number(argv[1], &rnet) || parse_number(argv[2], &ready))
        return 125;
    int folder = open(argv[0], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    signal(SIGPIPE, SIG_IGN);
    setsid();
    if (folder < 0)
        failed((int)ready, errno, argv[0]);
    if (!getrlimit(RLIMIT_NOFILE, &files)) {
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
    ln.rnet = (int)rnet;
    fcntl(ln.rnet, F_SETFD, FD_CLOEXEC), fcntl((int)ready, F_SETFD, FD_CLOEXEC);
    ln.now = now_ms();
    begin(folder, (int)ready);
    int64_t alone_since = ln.now + 8000, ticked = ln.now;
    for (;;) {
        struct epoll_event e[128];
        int64_t due = resolver_due(), wait = !customers ? 100 : ln.aging ? 500 : -1;
        if (due)
            wait = due <= ln.now ? 0 : wait < 0 || due - ln.now < wait ? due - ln.now : wait;
        int n = epoll_wait(ln.epoll, e, 128, (int)wait);
        ln.now = now_ms();
        for (int i = 0; i < n; i++) {
            struct watched *w = e[i].data.ptr;
            if (w->fd >= 0)
                w->act(w, e[i].events);
        }
        due = resolver_due();
        if (due && due <= ln.now)
            resolver_work();
        if (ln.now - ticked >= 500)
            tick(), ticked = ln.now;
        for (int i = 0; i < graves_n; i++)
            free(graves[i]);
        graves_n = 0;
        if (customers)
            alone_since = ln.now;
        else if (ln.now - alone_since > LINGER_MS)
            return 0;
    }
}
