/* L1 and L2: the child of the monitor that enters the container's namespaces, and the container's first process, which it leaves
 * behind. Their order is that of docs/internals/launch.md. */
#include "wherry.h"
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

extern char **environ;

/* Unlocks it, gives it the plan's size (before anybody can ask for it: the monitor would come too late) and opens its other end. */
int pty_open(const struct plan *plan, int ptmx, int *slave)
{
    struct op stdio;
    int unlock = 0;
    struct statfs fs;
    /* What the container calls ptmx must be one of a devpts, not a device or a pipe that only looks so. */
    if (fstatfs(ptmx, &fs) || fs.f_type != 0x1cd1 /* DEVPTS_SUPER_MAGIC */)
        return errno = ENOTTY, -1;
    if (ioctl(ptmx, 0x40045431 /* TIOCSPTLCK */, &unlock))
        return -1;
    if (plan_find(plan, OP_STDIO, &stdio) && stdio.f[3].i && stdio.f[4].i) {
        unsigned short size[4] = {(unsigned short)stdio.f[3].i, (unsigned short)stdio.f[4].i, 0, 0};
        ioctl(ptmx, 0x5414 /* TIOCSWINSZ */, size);
    }
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
static int exec_terminal(const struct plan *plan, int sock, const struct report *r)
{
    int slave = -1;
    int ptmx = open("/dev/pts/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC | O_NOFOLLOW);
    if (ptmx < 0 || pty_open(plan, ptmx, &slave) || send_fd(sock, ptmx))
        fail(r, errno, "a terminal in the container's /dev/pts");
    close(ptmx);
    return slave;
}

static _Noreturn void second(const struct plan *plan, struct slots *slots, const struct stage *s, int proc)
{
    int sock = s->sock, tty = s->tty;
    struct report r = {sock, -1};
    int slave = -1;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    /* M may have died before that took hold: then nobody reads this. It learns our pid from the message's credentials, which no
     * death of L1 can keep from it. */
    if (send_record(sock, SYNC_INIT, 0, NULL, 0, 0))
        _exit(125);
    umask(0);
    if (s->is_exec) {
        if (tty)
            slave = exec_terminal(plan, sock, &r);
    } else {
        rootfs_build(plan, slots, sock, &r, &slave, &proc);
    }
    umask(0022);
    if (!tty)
        for (int i = 0; i < 3; i++)
            dup2(s->stdio[i], i);
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

static _Noreturn void enter(const struct plan *plan, const struct stage *s)
{
    static struct slots slots;
    struct report r = {s->sock, -1};
    struct op op;
    /* The host's procfs: an exec finds itself in it by its pid there, whatever the container made of its own. */
    int proc = s->is_exec ? open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC) : -1;
    if (plan_find(plan, OP_INIT, &op))
        reaper_prepare();
    join_v1_groups(plan, &r);
    outer_limits(plan, &r);
    /* An ordinary user may take parts of the mount tree only in a mount namespace that his R owns. It ends with us; what host
     * mounts and unmounts meanwhile travels in, so that nothing of the host's is kept busy. */
    if (!s->is_exec && plan_find(plan, OP_USERNS_ROOT, &op) && op.f[0].i) {
        r.op = op.index;
        if (unshare(CLONE_NEWNS) || mount(NULL, "/", NULL, MS_SLAVE | MS_REC, NULL))
            fail(&r, errno, "a mount namespace");
        r.op = -1;
    }
    sources_open(plan, &slots, s->userns, &r);
    /* From here to the payload's exec nobody in a container may trace us or look into our /proc files (CVE-2019-5736, CVE-2016-9962). */
    prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
    join_namespaces(plan, s->userns, &r);
    if (s->userns >= 0)
        close(s->userns);
    /* The parent of pid 1 must be M, which outlives us, so that it sees its end and its death ends it. */
    struct { uint64_t a[8]; } args;
    memset(&args, 0, sizeof args);
    args.a[0] = CLONE_PARENT;
    pid_t pid = (pid_t)syscall(SYS_clone3, &args, sizeof args);
    if (pid < 0)
        fail(&r, errno, "clone");
    if (pid == 0)
        second(plan, &slots, s, proc);
    _exit(0);
}

/* Hand a descriptor over to ourselves, executed again. */
static char *passed(int fd, char *text, size_t size)
{
    if (fd >= 0)
        fcntl(fd, F_SETFD, 0);
    text_number(text, size, 0, fd);
    return text;
}

/* M's child. Never lets this program's own, writable file into the container: see seal.c. */
_Noreturn void stage_first(const struct plan *plan, const struct stage *s)
{
    struct report r = {s->sock, -1};
    sigset_t none;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    signal(SIGPIPE, SIG_DFL);
    if (seal_done())
        enter(plan, s);
    int image = seal_image();
    if (image < 0)
        fail(&r, errno, "a sealed copy of the launcher in memory (vm.memfd_noexec must be below 2)");
    char number[8][24];
    char *argv[] = {(char *)"wherry-native", (char *)"launch", passed(s->plan_fd, number[0], 24), passed(s->sock, number[1], 24),
        passed(s->userns, number[2], 24), passed(s->stdio[0], number[3], 24), passed(s->stdio[1], number[4], 24),
        passed(s->stdio[2], number[5], 24), (char *)(uintptr_t)(s->tty ? "tty" : "-"), (char *)(uintptr_t)(s->is_exec ? "exec" : "-"), NULL};
    char *env[] = {NULL};
    struct cursor c;
    struct op op;
    plan_rewind(plan, &c);
    while (plan_next(&c, &op))
        if (op.code == OP_NS_FD)
            fcntl((int)op.f[1].i, F_SETFD, 0);
    syscall(SYS_execveat, image, "", argv, env, 0x1000 /* AT_EMPTY_PATH */);
    fail(&r, errno, "executing the launcher's sealed copy");
}

/* `launch …`: M's child again, out of a sealed image. Nobody else calls it. */
int cmd_launch(int argc, char **argv)
{
    struct plan plan;
    char why[256];
    int fd[6];
    if (argc != 8 || !seal_done())
        return 125;
    for (int i = 0; i < 6; i++) {
        int64_t n;
        fd[i] = parse_number(argv[i], &n) || n > 1 << 20 ? -1 : (int)n;
        if (fd[i] >= 0)
            fcntl(fd[i], F_SETFD, FD_CLOEXEC);
    }
    struct stage s = {fd[0], fd[1], fd[2], {fd[3], fd[4], fd[5]}, argv[6][0] == 't', argv[7][0] == 'e'};
    /* The exec cleared neither of these, but M may have died before it. */
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    struct report r = {s.sock, -1};
    if (plan_read(s.plan_fd, &plan, why, sizeof why))
        fail(&r, EINVAL, why);
    enter(&plan, &s);
}
