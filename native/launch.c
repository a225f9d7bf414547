/* One start of a container or of an exec, as the monitor sees it: groups, pipes and user namespace are made, a child does the rest. */
#include "net.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static void note_plain(const uint8_t *path, size_t n, struct launched *out)
{
    if (out->plain_size + n + 8 < sizeof out->plain) {
        char *to = out->plain + out->plain_size;
        memcpy(to, "idmap=plain:", 12);
        if (out->plain_size + n + 13 < sizeof out->plain) {
            memcpy(to + 12, path, n);
            for (size_t i = 0; i < n; i++)
                if (to[12 + i] == '\n')
                    to[12 + i] = ' ';
            to[12 + n] = '\n';
            out->plain_size += 13 + n;
        }
    }
}

static _Alignas(4096) uint8_t message[RECORD_MAX + HEADER + 1];

void launch_forget(void) { forget(message, sizeof message); }

/* What L1 and L2 say until the payload's exec closes their end. 0: the payload runs; -1: they have said what failed; 1: they ended
 * without a word. */
static int listen_to_children(const struct plan *plan, int sock, int status, int tty, struct launched *out)
{
    int failed = 0, going = 0;
    for (;;) {
        ssize_t n;
        union { struct cmsghdr h; char space[CMSG_SPACE(2 * sizeof(int)) + CMSG_SPACE(sizeof(struct ucred))]; } control;
        struct iovec part = {message, sizeof message - 1};
        struct msghdr m = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
        n = recvmsg(sock, &m, MSG_CMSG_CLOEXEC);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return failed ? -1 : going ? 0 : 1;
        struct ucred sender = {0};
        int got = -1, more[2], count = 0;
        for (struct cmsghdr *h = CMSG_FIRSTHDR(&m); h; h = CMSG_NXTHDR(&m, h)) {
            if (h->cmsg_level == SOL_SOCKET && h->cmsg_type == SCM_RIGHTS) {
                count = h->cmsg_len >= CMSG_LEN(sizeof more) ? 2 : 1;
                memcpy(more, CMSG_DATA(h), (size_t)count * sizeof(int));
                got = more[0];
            } else if (h->cmsg_level == SOL_SOCKET && h->cmsg_type == SCM_CREDENTIALS)
                memcpy(&sender, CMSG_DATA(h), sizeof sender);
        }
        if (count == 2) {
            memcpy(out->resolver, more, sizeof more);
            continue;
        }
        if (got >= 0) {
            if (tty && out->stdio[1] < 0)
                out->stdio[1] = got;
            else
                close(got);
            continue;
        }
        if (n < HEADER)
            continue;
        int type = message[0] | message[1] << 8;
        if (type == SYNC_INIT) {
            out->init = sender.pid;
            /* Its namespaces are there, and while it mounts, its links are made. It waits for our word at NET_WAIT. */
            if (net_is_wanted(plan) && !failed) {
                if (net_links(plan, sender.pid, status))
                    failed = 1, kill(sender.pid, SIGKILL);
                else
                    send_record(sock, SYNC_NET, 0, NULL, 0, 0);
            }
        }
        else if (type == SYNC_GOING)
            going = 1;
        else if (type == SYNC_PLAIN)
            note_plain(message + HEADER, (size_t)n - HEADER, out);
        else if (type == 3 && status >= 0)
            send(status, message, (size_t)n, MSG_NOSIGNAL | MSG_DONTWAIT);
        else if (type == 2) {
            failed = 1;
            message[n] = 0;
            if (n >= HEADER + 20)
                report_failed(status, (int)get64(message + HEADER), (int)get64(message + HEADER + 8), (const char *)message + HEADER + 20);
        }
    }
}

static void close_all(int *fds, int n)
{
    for (int i = 0; i < n; i++)
        if (fds[i] >= 0) {
            close(fds[i]);
            fds[i] = -1;
        }
}

/* The payload's ends go to theirs[], ours to out->stdio[]. With a terminal there are none yet. */
static int make_pipes(int theirs[3], int open_stdin, struct launched *out)
{
    for (int i = 0; i < 3; i++) {
        int p[2];
        if (i == 0 && !open_stdin) {
            theirs[0] = open("/dev/null", O_RDONLY | O_CLOEXEC);
            continue;
        }
        if (pipe2(p, O_CLOEXEC))
            return -1;
        theirs[i] = p[i ? 1 : 0];
        out->stdio[i] = p[i ? 0 : 1];
        /* The payload's own user may open /dev/stdout again by its name. */
        fchmod(theirs[i], 0666);
    }
    return 0;
}

static void reap_child(pid_t pid)
{
    int ignored;
    while (waitpid(pid, &ignored, 0) < 0 && errno == EINTR)
        continue;
}

/* One start. The reason of a failure is reported to `status`; then no process of it is left. */
int launch(const struct plan *plan, int plan_fd, int status, int tty, int open_stdin, int is_exec, struct launched *out)
{
    int sync[2] = {-1, -1}, theirs[3] = {-1, -1, -1}, bad = -1, on = 1;
    struct report r = {status, -1};
    memset(out, 0, sizeof *out);
    out->stdio[0] = out->stdio[1] = out->stdio[2] = out->init_pidfd = out->resolver[0] = out->resolver[1] = -1;
    int v2 = make_groups(plan, status, is_exec, status < 0), userns = -1;
    if (v2 == -2)
        return -1;
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sync) || setsockopt(sync[0], SOL_SOCKET, SO_PASSCRED, &on, sizeof on)
        || (!tty && make_pipes(theirs, open_stdin, out))) {
        report_failed(status, -1, errno, "the launcher's descriptors");
        goto over;
    }
    userns = userns_make(plan, &r);
    if (userns == -2)
        goto over;
    pid_t pid = sys_clone3_into(0, v2, NULL);
    if (pid < 0) {
        report_failed(status, -1, errno, "clone");
        goto over;
    }
    if (pid == 0) {
        close(sync[0]);
        struct stage s = {plan_fd, sync[1], userns, {theirs[0], theirs[1], theirs[2]}, tty, is_exec};
        stage_first(plan, &s);
    }
    close_all(&sync[1], 1);
    close_all(theirs, 3);
    bad = listen_to_children(plan, sync[0], status, tty, out);
    if (out->init > 0) {
        out->init_pidfd = sys_pidfd_open(out->init); /* close-on-exec by itself */
        out->init_start = start_time(out->init);
    }
    reap_child(pid);
    if (bad > 0)
        report_failed(status, -1, ECHILD, "the launcher was killed");
    if (bad && out->init > 0) {
        kill(out->init, SIGKILL);
        reap_child(out->init);
        close_all(&out->init_pidfd, 1);
        out->init = 0;
    }
over:
    close_all(sync, 2);
    close_all(theirs, 3);
    if (v2 >= 0)
        close(v2);
    if (userns >= 0)
        close(userns);
    if (bad) {
        close_all(out->stdio, 3);
        close_all(out->resolver, 2);
    }
    return bad ? -1 : 0;
}
