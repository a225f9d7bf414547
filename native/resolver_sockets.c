/* The resolver's sockets inside a container. They listen on ports of the kernel's choice, so that the container's own server may
 * take port 53 of all addresses; four rules without state change the port on the way, both ways (docker does it with NAT, which
 * makes the kernel track every connection of the container). Without nf_tables they listen on port 53 itself. */
#include "nft.h"
#include "resolver.h"
#include "wherry.h"
#include <arpa/inet.h>
#include <errno.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <netinet/in.h>
#include <sched.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

static const uint8_t ADDRESS[4] = {127, 0, 0, 11};
enum { SOURCE_PORT = 0, TARGET_PORT = 2, UDP_SUM = 6, TCP_SUM = 16, SOURCE = 12, TARGET = 16 };

static int listener(int type, uint16_t *port)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(*port)};
    socklen_t n = sizeof a;
    memcpy(&a.sin_addr, ADDRESS, 4);
    int fd = socket(AF_INET, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -1;
    /* Nobody outside reaches it, whatever the container does to its routes. */
    setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, "lo", 3);
    if (bind(fd, (struct sockaddr *)&a, sizeof a) || (type == SOCK_STREAM && listen(fd, 16)) || getsockname(fd, (struct sockaddr *)&a, &n)) {
        int e = errno;
        close(fd);
        return errno = e, -1;
    }
    *port = ntohs(a.sin_port);
    return fd;
}

static void change_port(struct nft *b, int protocol, int side, int port_at, uint16_t from, uint16_t to)
{
    uint16_t was = htons(from), is = htons(to);
    nft_rule(b, "names");
    nft_match(b, NFT_NETWORK, side, ADDRESS, 4);
    nft_proto(b, protocol);
    nft_match(b, NFT_TRANSPORT, port_at, &was, 2);
    nft_put(b, NFT_R0, &is, 2);
    nft_store(b, NFT_TRANSPORT, port_at, 2, NFT_R0, protocol == IPPROTO_UDP ? UDP_SUM : TCP_SUM);
    nft_end_rule(b);
}

static int redirect(uint16_t udp, uint16_t tcp, int again)
{
    uint8_t space[4096];
    struct nft b;
    nft_open(&b, space, sizeof space, NFPROTO_IPV4, "wherry_names");
    if (again)
        nft_drop_table(&b);
    nft_new_table(&b, !again);
    nft_chain(&b, "names", "filter", NF_INET_LOCAL_OUT, -150);
    change_port(&b, IPPROTO_UDP, TARGET, TARGET_PORT, 53, udp);
    change_port(&b, IPPROTO_UDP, SOURCE, SOURCE_PORT, udp, 53);
    change_port(&b, IPPROTO_TCP, TARGET, TARGET_PORT, 53, tcp);
    change_port(&b, IPPROTO_TCP, SOURCE, SOURCE_PORT, tcp, 53);
    int bad = nft_commit(&b);
    return bad && errno == EEXIST && !again ? redirect(udp, tcp, 1) : bad;
}

int resolver_sockets(int out[2])
{
    for (uint16_t fixed = 0;; fixed = 53) {
        uint16_t udp = fixed, tcp = fixed;
        out[0] = listener(SOCK_DGRAM, &udp);
        out[1] = out[0] < 0 ? -1 : listener(SOCK_STREAM, &tcp);
        if (out[1] >= 0 && (fixed || redirect(udp, tcp, 0) == 0))
            return 0;
        int e = errno;
        for (int i = 0; i < 2; i++)
            if (out[i] >= 0)
                close(out[i]);
        out[0] = out[1] = -1;
        if (fixed)
            return errno = e, -1;
    }
}

int resolver_join(int pidfd, int out[2])
{
    int pair[2], status = 0, bad = ECHILD;
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair))
        return -1;
    pid_t pid = fork();
    if (pid == 0) {
        prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
        if (setns(pidfd, CLONE_NEWNET) || resolver_sockets(out) || send_record_fds(pair[1], SYNC_RESOLVER, out, 2))
            _exit(errno > 0 && errno < 255 ? errno : ECHILD);
        _exit(0);
    }
    if (pid < 0)
        bad = errno;
    close(pair[1]);
    union { struct cmsghdr h; char space[CMSG_SPACE(2 * sizeof(int))]; } control;
    uint8_t head[HEADER];
    struct iovec part = {head, sizeof head};
    struct msghdr m = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
    ssize_t n = pid < 0 ? -1 : recvmsg(pair[0], &m, MSG_CMSG_CLOEXEC);
    struct cmsghdr *h = n > 0 ? CMSG_FIRSTHDR(&m) : NULL;
    if (h && h->cmsg_level == SOL_SOCKET && h->cmsg_type == SCM_RIGHTS && h->cmsg_len >= CMSG_LEN(2 * sizeof(int))) {
        memcpy(out, CMSG_DATA(h), 2 * sizeof(int));
        bad = 0;
    }
    close(pair[0]);
    while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
        continue;
    if (bad == ECHILD && WIFEXITED(status) && WEXITSTATUS(status))
        bad = WEXITSTATUS(status);
    return errno = bad, bad ? -1 : 0;
}
