/* User namespaces: the user's R, which the monitor lives in, and the container's own. */
#include "wherry.h"
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static size_t proc_path(char *to, size_t size, pid_t pid, const char *file)
{
    size_t at = text_append(to, size, 0, "/proc/");
    at = text_number(to, size, at, pid);
    return text_append(to, size, at, file);
}

/* "inside outside count" triples as the lines that a map file wants. */
static int map_text(const struct field *triples, char *to, size_t size)
{
    const uint8_t *at = NULL;
    uint32_t left;
    size_t n = 0;
    to[0] = 0;
    for (const char *s; (s = list_next(triples, &at, &left));) {
        if (n + strlen(s) + 2 > size)
            return -1;
        n = text_append(to, size, n, s);
        n = text_append(to, size, n, "\n");
    }
    return 0;
}

static int write_map(pid_t pid, const char *file, const char *text)
{
    char path[64];
    proc_path(path, sizeof path, pid, file);
    return write_file_at(AT_FDCWD, path, text);
}

/* Become root of the namespace that we have just entered or made. */
static int become_root(int groups_too)
{
    if (groups_too && syscall(SYS_setgroups, 0, NULL) && errno != EPERM)
        return -1;
    if (syscall(SYS_setresgid, 0, 0, 0) || syscall(SYS_setresuid, 0, 0, 0))
        return -1;
    /* A change of ids makes a process undumpable, and its /proc files root's of the host: others could not find R by us. */
    prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
    return 0;
}

static _Noreturn void run_map_helper(const char *program, pid_t target, const struct field *triples)
{
    char numbers[64][24], *argv[66];
    char pid[24];
    int argc = 2, used = 0;
    text_number(pid, sizeof pid, 0, target);
    argv[0] = (char *)(uintptr_t)program, argv[1] = pid;
    const uint8_t *at = NULL;
    uint32_t left;
    for (const char *s; (s = list_next(triples, &at, &left));) {
        while (*s && used < 63) {
            size_t n = 0;
            while (*s && *s != ' ' && n < 23)
                numbers[used][n++] = *s++;
            numbers[used][n] = 0;
            argv[argc++] = numbers[used++];
            while (*s == ' ')
                s++;
        }
    }
    argv[argc] = NULL;
    char *environment[] = {(char *)"PATH=/usr/sbin:/usr/bin:/sbin:/bin", NULL};
    execve(program, argv, environment);
    _exit(127);
}

/* A child that stays outside R writes R's maps with the set-uid helpers, both at once. Its exit status tells. */
static _Noreturn void map_from_outside(pid_t target, int go, const struct op *op)
{
    char byte;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (read(go, &byte, 1) != 1)
        _exit(1);
    const uint8_t *at = NULL;
    uint32_t left;
    char uid_helper[256], gid_helper[256];
    const char *s = list_next(&op->f[4], &at, &left);
    if (!s || copy_text(uid_helper, sizeof uid_helper, s))
        _exit(127);
    s = list_next(&op->f[4], &at, &left);
    if (!s || copy_text(gid_helper, sizeof gid_helper, s))
        _exit(127);
    pid_t gids = fork();
    if (gids == 0)
        run_map_helper(gid_helper, target, &op->f[3]);
    pid_t uids = fork();
    if (uids == 0)
        run_map_helper(uid_helper, target, &op->f[2]);
    int a = 1, b = 1;
    if (gids < 0 || uids < 0 || waitpid(gids, &a, 0) < 0 || waitpid(uids, &b, 0) < 0)
        _exit(1);
    _exit(a ? (WIFEXITED(a) ? WEXITSTATUS(a) : 1) : b ? (WIFEXITED(b) ? WEXITSTATUS(b) : 1) : 0);
}

/* Enter or make the user's namespace R. On success we are root in it. */
int userns_enter_root(const struct op *op, const struct report *r)
{
    int64_t mode = op->f[0].i;
    if (mode == 0)
        return 0;
    if (mode == 1) {
        int fd = (int)op->f[1].i;
        if (setns(fd, CLONE_NEWUSER))
            fail(r, errno, "entering the user namespace of the running containers");
        close(fd);
        if (become_root(1))
            fail(r, errno, "becoming root in the user namespace");
        return 0;
    }
    int go[2] = {-1, -1};
    pid_t helper = -1;
    pid_t self = getpid();
    if (mode == 2) {
        if (pipe2(go, O_CLOEXEC))
            fail(r, errno, "pipe");
        helper = fork();
        if (helper < 0)
            fail(r, errno, "fork");
        if (helper == 0) {
            close(go[1]);
            map_from_outside(self, go[0], op);
        }
        close(go[0]);
    }
    char uid_text[2048], gid_text[2048];
    if (map_text(&op->f[2], uid_text, sizeof uid_text) || map_text(&op->f[3], gid_text, sizeof gid_text))
        fail(r, E2BIG, "the id map");
    if (unshare(CLONE_NEWUSER))
        fail(r, errno, "unshare(CLONE_NEWUSER)");
    if (mode == 2) {
        int status = 1;
        if (write(go[1], "g", 1) != 1 || waitpid(helper, &status, 0) < 0)
            fail(r, errno, "waiting for newuidmap");
        close(go[1]);
        if (status)
            fail(r, EPERM, "newuidmap or newgidmap refused the ids of /etc/subuid and /etc/subgid");
    } else if (write_map(self, "/setgroups", "deny") || write_map(self, "/uid_map", uid_text) || write_map(self, "/gid_map", gid_text)) {
        fail(r, errno, "writing the id map");
    }
    if (become_root(mode == 2))
        fail(r, errno, "becoming root in the user namespace");
    return 0;
}

static int open_ns_user(pid_t pid)
{
    char path[64];
    proc_path(path, sizeof path, pid, "/ns/user");
    return open(path, O_RDONLY | O_CLOEXEC);
}

/* The container's own user namespace: made by a child that does nothing else, so that its maps are written from outside
 * (only a process in the parent namespace may write several ranges) and no launcher process is ever half in it. */
static int make(const struct op *op, const struct report *r)
{
    char uid_text[2048], gid_text[2048];
    if (map_text(&op->f[0], uid_text, sizeof uid_text) || map_text(&op->f[1], gid_text, sizeof gid_text))
        return report_failed(r->fd, r->op, E2BIG, "the id map"), -2;
    pid_t pid = sys_clone3_into(CLONE_NEWUSER, -1, NULL);
    if (pid < 0)
        return report_failed(r->fd, r->op, errno, "clone(CLONE_NEWUSER)"), -2;
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        for (;;)
            pause();
    }
    int bad = 0;
    const char *what = "";
    /* setgroups is decided before gid_map, which fixes it (CVE-2014-8989). */
    if (op->f[2].i && write_map(pid, "/setgroups", "deny"))
        bad = errno, what = "setgroups";
    if (!bad && write_map(pid, "/gid_map", gid_text))
        bad = errno, what = "gid_map";
    if (!bad && write_map(pid, "/uid_map", uid_text))
        bad = errno, what = "uid_map";
    int fd = bad ? -1 : open_ns_user(pid);
    if (!bad && fd < 0)
        bad = errno, what = "ns/user";
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    if (bad)
        return report_failed(r->fd, r->op, bad, what), -2;
    return fd;
}

/* fd of the container's user namespace, -1 when it has none of its own, -2 after a reported failure */
int userns_make(const struct plan *plan, const struct report *report)
{
    struct cursor c;
    struct op op;
    plan_rewind(plan, &c);
    while (plan_next(&c, &op)) {
        struct report r = {report->fd, op.index};
        if (op.code == OP_USERNS_NEW)
            return make(&op, &r);
        if (op.code == OP_NS_JOIN && (op.f[0].i & CLONE_NEWUSER)) {
            int fd = open_ns_user((pid_t)op.f[1].i);
            if (fd < 0 || start_time((pid_t)op.f[1].i) != op.f[2].i)
                return report_failed(r.fd, r.op, ESRCH, "the container whose namespaces are joined has ended"), -2;
            return fd;
        }
    }
    return -1;
}
