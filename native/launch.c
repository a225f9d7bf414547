/* One start of a container or of an exec: what M, L1 and L2 do, in the order of docs/internals/launch.md. */
#include "wherry.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>


int pty_open(int ptmx, int *slave)
{
    int unlock = 0;
    if (ioctl(ptmx, 0x40045431 /* TIOCSPTLCK */, &unlock))
        return -1;
    *slave = ioctl(ptmx, 0x5441 /* TIOCGPTPEER */, O_RDWR | O_NOCTTY | O_CLOEXEC);
    return *slave < 0 ? -1 : 0;
}

static void join_namespaces(const struct plan *plan, int userns, const struct report *report)
{
    struct cursor c;
    struct op op;
    int inside = 0;
    plan_rewind(plan, &c);
    while (plan_next(&c, &op)) {
        struct report r = {report->fd, op.index};
        if (op.code == OP_USERNS_NEW || (op.code == OP_NS_JOIN && (op.f[0].i & CLONE_NEWUSER) && !inside)) {
            if (setns(userns, CLONE_NEWUSER))
                fail(&r, errno, "entering the user namespace");
            inside = 1;
            if (syscall(SYS_setgroups, 0, NULL) && errno != EPERM)
                fail(&r, errno, "setgroups");
            if (syscall(SYS_setresgid, 0, 0, 0) || syscall(SYS_setresuid, 0, 0, 0))
                fail(&r, errno, "becoming root in the user namespace");
            prctl(PR_SET_PDEATHSIG, SIGKILL);
        }
        if (op.code == OP_NS_JOIN) {
            int fd = sys_pidfd_open((pid_t)op.f[1].i);
            if (fd < 0 || start_time((pid_t)op.f[1].i) != op.f[2].i)
                fail(&r, ESRCH, "the process whose namespaces are joined has ended");
            int flags = (int)(op.f[0].i & ~(int64_t)CLONE_NEWUSER);
            if (flags && setns(fd, flags))
                fail(&r, errno, "entering the namespaces");
            close(fd);
        } else if (op.code == OP_NS_FD) {
            if (setns((int)op.f[1].i, (int)op.f[0].i))
                fail(&r, errno, "entering a namespace");
        } else if (op.code == OP_NS_NEW && op.f[0].i) {
            if (unshare((int)op.f[0].i))
                fail(&r, errno, "unshare");
        }
    }
}

/* `exec` gets its terminal from the container's own devpts, which the process sees as /dev/pts/N. */
static int exec_terminal(int sock, const struct report *r)
{
    int slave = -1;
    int ptmx = open("/dev/pts/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC | O_NOFOLLOW);
    if (ptmx < 0 || pty_open(ptmx, &slave) || send_fd(sock, ptmx))
        fail(r, errno, "a terminal in the container's /dev/pts");
    close(ptmx);
    return slave;
}

static _Noreturn void second(const struct plan *plan, struct slots *slots, int sock, const int stdio[3], int tty, int is_exec, int proc)
{
    struct report r = {sock, -1};
    int slave = -1;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    /* M may have died before that took hold: then nobody reads this. */
    if (send_record(sock, 13, 0, NULL, 0, 0))
        _exit(125);
    umask(0);
    if (is_exec) {
        if (tty)
            slave = exec_terminal(sock, &r);
    } else {
        rootfs_build(plan, slots, sock, &r, &slave, &proc);
    }
    umask(0022);
    if (!tty)
        for (int i = 0; i < 3; i++)
            dup2(stdio[i], i);
    if (setsid() < 0 && errno != EPERM)
        fail(&r, errno, "setsid");
    if (tty) {
        ioctl(slave, 0x540E /* TIOCSCTTY */, 0);
        dup2(slave, 0), dup2(slave, 1), dup2(slave, 2);
        if (slave > 2)
            close(slave);
    }
    become(plan, -1, proc, &r);
}

static _Noreturn void first(const struct plan *plan, int sock, int userns, const int stdio[3], int tty, int is_exec)
{
    static struct slots slots;
    struct report r = {sock, -1};
    struct op op;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    signal(SIGPIPE, SIG_DFL);
    /* The host's procfs: an exec finds itself in it by its pid there, whatever the container made of its own. */
    int proc = is_exec ? open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC) : -1;
    if (plan_find(plan, OP_INIT, &op))
        reaper_prepare();
    join_v1_groups(plan, &r);
    outer_limits(plan, &r);
    /* An ordinary user may take parts of the mount tree only in a mount namespace that his R owns. It ends with us; what host
     * mounts and unmounts meanwhile travels in, so that nothing of the host's is kept busy. */
    if (!is_exec && plan_find(plan, OP_USERNS_ROOT, &op) && op.f[0].i) {
        r.op = op.index;
        if (unshare(CLONE_NEWNS) || mount(NULL, "/", NULL, MS_SLAVE | MS_REC, NULL))
            fail(&r, errno, "a mount namespace");
        r.op = -1;
    }
    sources_open(plan, &slots, userns, &r);
    /* See seal() in main.c: from here to the payload's exec nobody in a container may look into us. */
    prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
    join_namespaces(plan, userns, &r);
    if (userns >= 0)
        close(userns);
    /* The parent of pid 1 must be M, which outlives us, so that it sees its end and its death ends it. */
    struct { uint64_t a[8]; } args;
    memset(&args, 0, sizeof args);
    args.a[0] = CLONE_PARENT;
    pid_t pid = (pid_t)syscall(SYS_clone3, &args, sizeof args);
    if (pid < 0)
        fail(&r, errno, "clone");
    if (pid == 0)
        second(plan, &slots, sock, stdio, tty, is_exec, proc);
    uint8_t number[8];
    put64(number, pid);
    send_record(sock, 10, 0, number, sizeof number, 0);
    _exit(0);
}

static void note_plain(const uint8_t *path, size_t n, struct launched *out)
{
    if (out->plain_size + n + 8 < sizeof out->plain) {
        char *to = out->plain + out->plain_size;
        memcpy(to, "idmap=plain:", 12);
        if (out->plain_size + n + 13 < sizeof out->plain) {
            memcpy(to + 12, path, n);
            to[12 + n] = '\n';
            out->plain_size += 13 + n;
        }
    }
}

/* What L1 and L2 say until the payload's exec closes their end. 0: the payload runs. */
static int listen_to_children(int sock, int status, int tty, struct launched *out)
{
    static uint8_t message[RECORD_MAX + HEADER];
    int failed = 0;
    for (;;) {
        ssize_t n;
        union { struct cmsghdr h; char space[CMSG_SPACE(sizeof(int))]; } control;
        struct iovec part = {message, sizeof message};
        struct msghdr m = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
        n = recvmsg(sock, &m, MSG_CMSG_CLOEXEC);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return failed ? -1 : 0;
        struct cmsghdr *h = CMSG_FIRSTHDR(&m);
        if (h && h->cmsg_type == SCM_RIGHTS && tty) {
            memcpy(&out->stdio[1], CMSG_DATA(h), sizeof(int));
            continue;
        }
        if (n < HEADER)
            continue;
        int type = message[0] | message[1] << 8;
        if (type == 10 && n >= 16)
            out->init = (pid_t)get64(message + HEADER);
        else if (type == 11)
            note_plain(message + HEADER, (size_t)n - HEADER, out);
        else if (type == 3 && status >= 0)
            send(status, message, (size_t)n, MSG_NOSIGNAL | MSG_DONTWAIT);
        else if (type == 2) {
            failed = 1;
            if (n >= HEADER + 20) {
                out->error = (int)get64(message + HEADER + 8);
                size_t len = get32(message + HEADER + 16);
                if (len >= sizeof out->detail)
                    len = sizeof out->detail - 1;
                memcpy(out->detail, message + HEADER + 20, len);
                out->detail[len] = 0;
            }
            if (status >= 0)
                send(status, message, (size_t)n, MSG_NOSIGNAL);
        }
    }
}

int launch(const struct plan *plan, int status, int tty, int open_stdin, int is_exec, struct launched *out)
{
    int sync[2], pipes[3][2] = {{-1, -1}, {-1, -1}, {-1, -1}}, theirs[3] = {-1, -1, -1};
    memset(out, 0, sizeof *out);
    out->stdio[0] = out->stdio[1] = out->stdio[2] = out->init_pidfd = -1;
    int v2 = make_groups(plan, status, is_exec);
    if (v2 == -2)
        return -1;
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sync))
        return report_failed(status, -1, errno, "socketpair"), -1;
    if (!tty) {
        for (int i = 0; i < 3; i++)
            if (i || open_stdin) {
                if (pipe2(pipes[i], O_CLOEXEC))
                    return report_failed(status, -1, errno, "pipe"), -1;
                theirs[i] = pipes[i][i ? 1 : 0];
                out->stdio[i] = pipes[i][i ? 0 : 1];
                /* The payload's own user may open /dev/stdout again by its name. */
                fchmod(theirs[i], 0666);
            } else {
                theirs[i] = open("/dev/null", O_RDONLY | O_CLOEXEC);
            }
    }
    int userns;
    struct report r = {status, -1};
    userns = userns_make(plan, &r);
    if (userns == -2)
        return -1;
    pid_t pid = sys_clone3_into(0, v2, NULL);
    if (pid < 0)
        return report_failed(status, -1, errno, "clone"), -1;
    if (pid == 0) {
        close(sync[0]);
        first(plan, sync[1], userns, theirs, tty, is_exec);
    }
    close(sync[1]);
    if (v2 >= 0)
        close(v2);
    if (userns >= 0)
        close(userns);
    for (int i = 0; i < 3; i++)
        if (theirs[i] >= 0)
            close(theirs[i]);
    int bad = listen_to_children(sync[0], status, tty, out);
    close(sync[0]);
    if (out->init > 0) {
        out->init_pidfd = sys_pidfd_open(out->init);
        if (out->init_pidfd >= 0)
            fcntl(out->init_pidfd, F_SETFD, FD_CLOEXEC);
        out->init_start = start_time(out->init);
    }
    int ignored;
    while (waitpid(pid, &ignored, 0) < 0 && errno == EINTR)
        continue;
    if (!bad && out->init <= 0) {
        report_failed(status, -1, ECHILD, "the launcher was killed");
        bad = 1;
    }
    if (bad && out->init > 0) {
        kill(out->init, SIGKILL);
        while (waitpid(out->init, &ignored, 0) < 0 && errno == EINTR)
            continue;
        if (out->init_pidfd >= 0)
            close(out->init_pidfd);
    }
    if (bad)
        for (int i = 0; i < 3; i++)
            if (out->stdio[i] >= 0)
                close(out->stdio[i]);
    return bad ? -1 : 0;
}
