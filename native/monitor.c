/* The monitor of a container (and the supervisor of an exec): one loop over poll, no heap, nothing but what is due.
 * docs/internals/monitor.md has its files and its protocol. */
#include "health.h"
#include "log.h"
#include "monitor.h"
#include "resolver.h"
#include "net.h"
#include "rnet.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h> /* renameat */
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

struct monitor m;

static void reap(void)
{
    int status;
    for (pid_t pid; (pid = waitpid(-1, &status, WNOHANG)) > 0;)
        if (m.running && pid == m.proc.init)
            process_ended(status);
}

static int due_ms(void)
{
    int64_t now = now_ms(), next = -1;
    const int64_t times[] = {
        m.running ? m.kill_at_ms : 0, m.restart_at_ms, m.busy ? now + 1000 : 0, resolver_due(), rnet_due(), health_due()};
    for (int i = 0; i < 6; i++)
        if (times[i] && (next < 0 || times[i] < next))
            next = times[i];
    if (next < 0)
        return -1;
    return next <= now ? 0 : next - now > 60000 ? 60000 : (int)(next - now);
}

/* Input that the container hasn't taken holds its senders back, as a full pipe would. */
static int must_wait(const struct client *c) { return (c->streams & IN) && m.in_at < m.in_n; }

static void settle_again(void);

static void loop(void)
{
    struct pollfd p[CLIENTS + 10];
    struct client *of[CLIENTS + 10];
    for (;;) {
        int n = 0, held = behind();
        p[n].fd = m.signal_fd, p[n].events = POLLIN, of[n++] = NULL;
        if (!m.exec)
            p[n].fd = m.listen_fd, p[n].events = POLLIN, of[n++] = NULL;
        int names_at = n;
        if (resolver_fd() >= 0)
            p[n].fd = resolver_fd(), p[n].events = POLLIN, of[n++] = NULL;
        int link_at = n;
        if (rnet_fd() >= 0)
            p[n].fd = rnet_fd(), p[n].events = POLLIN, of[n++] = NULL;
        int first_client = n;
        for (int i = 0; i < CLIENTS; i++) {
            struct client *c = &m.clients[i];
            if (c->fd < 0)
                continue;
            p[n].fd = must_wait(c) && !c->behind ? -c->fd : c->fd; /* not even its end is news now */
            p[n].events = (short)((must_wait(c) ? 0 : POLLIN) | (c->behind ? POLLOUT : 0));
            of[n++] = c;
        }
        int out_at = n;
        for (int i = 1; i < 3 && !held; i++)
            if (m.proc.stdio[i] >= 0)
                p[n].fd = m.proc.stdio[i], p[n].events = POLLIN, of[n++] = NULL;
        if (input_fd() >= 0 && m.in_at < m.in_n)
            p[n].fd = input_fd(), p[n].events = POLLOUT, of[n++] = NULL;
        if (!m.running && !m.restart_at_ms) {
            /* The process is gone: take what its pipes still hold, then go on. A client that has stopped reading is not waited for on a stop. */
            int busy = held && !m.stopping;
            /* No more than can have been in a pipe: one that shares the host's pids may leave somebody who writes for ever. */
            for (int i = 1; i < 3 && !busy; i++)
                for (int chunks = 0; chunks < 64 && m.proc.stdio[i] >= 0 && read_output(i); chunks++)
                    if (behind() && !m.stopping) {
                        busy = 1;
                        break;
                    }
            if (!busy)
                settle();
            if (!busy)
                continue;
        }
        int oom_at = n;
        p[n].fd = m.running ? m.oom_fd : -1, p[n].events = POLLIN, p[n].revents = 0, of[n++] = NULL;
        int health_at = n;
        p[n].fd = health_fd(), p[n].events = POLLIN, p[n].revents = 0, of[n++] = NULL;
        int ready = poll(p, (nfds_t)n, due_ms());
        if (ready < 0 && errno != EINTR)
            _exit(125);
        if (ready > 0)
            m.busy = 1;
        else if (m.busy)
            rest();
        if (p[0].revents) {
            struct signalfd_siginfo info;
            int again = 0;
            while (read(m.signal_fd, &info, sizeof info) > 0)
                again |= info.ssi_signo == SIGUSR1;
            if (again)
                settle_again();
            reap();
        }
        if (!m.exec && p[1].revents)
            welcome();
        int64_t names_due = resolver_due();
        int64_t link_due = rnet_due();
        if ((link_at < first_client && p[link_at].revents) || (link_due && link_due <= now_ms()))
            rnet_work();
        if ((names_at < link_at && p[names_at].revents) || (names_due && names_due <= now_ms()))
            resolver_work();
        for (int i = first_client; i < out_at; i++) {
            if (of[i]->fd != p[i].fd)
                continue;
            if (p[i].revents & POLLOUT)
                pass_on(1);
            /* One that was heard just before may have brought input that still has to go. */
            if (of[i]->fd == p[i].fd && (p[i].revents & (POLLIN | POLLHUP | POLLERR)) && !must_wait(of[i]))
                read_client(of[i]);
        }
        for (int i = out_at; i < n; i++) {
            if (!p[i].revents || i == oom_at || i == health_at)
                continue;
            if (p[i].events == POLLOUT)
                write_input();
            else if (!behind())
                read_output(p[i].fd == m.proc.stdio[2] ? 2 : 1);
        }
        if (p[oom_at].revents)
            out_of_memory();
        int64_t now = now_ms(), health_at_ms = health_due();
        if (p[health_at].revents || (health_at_ms && health_at_ms <= now))
            health_work();
        if (m.running && m.kill_at_ms && now >= m.kill_at_ms) {
            m.kill_at_ms = 0;
            kill_init(SIGKILL);
        }
        if (!m.running && m.restart_at_ms && now >= m.restart_at_ms)
            start_again();
    }
}

/* What a caller that is no daemon leaves behind must not reach the container: nohup's ignored HUP, masks, nice, … */
static void reset_inheritance(void)
{
    sigset_t none;
    umask(022);
    /* By the system call: C libraries keep signals 32 to 34 for themselves and would leave them as the caller had them. */
    static const uint64_t by_default[4];
    for (int sig = 1; sig < 65; sig++)
        syscall(SYS_rt_sigaction, sig, by_default, NULL, 8);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    setsid();
    prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
    prctl(PR_SET_PDEATHSIG, 0, 0, 0, 0);
    syscall(SYS_keyctl, 1 /* JOIN_SESSION_KEYRING */, NULL);
    setpriority(PRIO_PROCESS, 0, 0);
    uint64_t processors[16]; /* all that the cpuset allows */
    memset(processors, 0xff, sizeof processors);
    syscall(SYS_sched_setaffinity, 0, sizeof processors, processors);
    static const int plain_policy; /* struct sched_param's priority for SCHED_OTHER */
    syscall(SYS_sched_setscheduler, 0, 0, &plain_policy);
    syscall(SYS_ioprio_set, 1, 0, 0); /* none: derived from the niceness */
    syscall(SYS_personality, 0);
    write_file_at(AT_FDCWD, "/proc/self/oom_score_adj", "0");
}

static void read_settings(const struct plan *plan)
{
    struct cursor c;
    struct op op;
    copy_text(m.policy, sizeof m.policy, "no");
    plan_rewind(plan, &c);
    while (plan_next(&c, &op) && op.code < 20) {
        switch (op.code) {
        case OP_ID: copy_text(m.id, sizeof m.id, op.f[0].s); break;
        case OP_RUN_DIR: copy_text(m.run_dir, sizeof m.run_dir, op.f[0].s); break;
        case OP_STATE_DIR: copy_text(m.state_dir, sizeof m.state_dir, op.f[0].s); break;
        case OP_RESTART:
            copy_text(m.policy, sizeof m.policy, op.f[0].s);
            m.max_retries = op.f[1].i;
            break;
        case OP_TIMEOUT: m.timeout_ms = op.f[0].i; break;
        case OP_CLEANUP: m.remove = op.f[0].i == 1; break;
        case OP_STDIO:
            m.tty = (int)op.f[0].i, m.open_stdin = (int)op.f[1].i, m.stdin_once = (int)op.f[2].i;
            break;
        default: break;
        }
    }
}

static void open_places(int status)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    m.run_fd = open(m.run_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    m.state_fd = open(m.state_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    m.live_fd = openat(m.run_fd, "../live", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    m.listen_fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    /* A socket's address holds 108 bytes; the run root's path may be longer, so it is bound from inside. */
    copy_text(address.sun_path, sizeof address.sun_path, "ctl");
    if (m.run_fd < 0 || m.state_fd < 0 || m.live_fd < 0 || m.listen_fd < 0 || fchdir(m.run_fd)
        || (unlink("ctl") && errno != ENOENT) || bind(m.listen_fd, (struct sockaddr *)&address, sizeof address)
        || chmod("ctl", 0600) || listen(m.listen_fd, 64) || chdir("/")) {
        report_failed(status, -1, errno, "the run folder");
        _exit(125);
    }
    size_t n = text_number(m.live, sizeof m.live, 0, m.self);
    n = text_append(m.live, sizeof m.live, n, ".");
    n = text_number(m.live, sizeof m.live, n, m.self_start);
    n = text_append(m.live, sizeof m.live, n, ".");
    text_append(m.live, sizeof m.live, n, m.id);
    int fd = openat(m.live_fd, m.live, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0) {
        report_failed(status, -1, errno, "the folder of live monitors");
        _exit(125);
    }
    close(fd);
}

/* A command has found our folder deleted and has made another (store/regain.py). */
static void settle_again(void)
{
    struct stat st;
    int there = m.exec ? -1 : open(m.run_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (there < 0)
        return;
    close(there);
    if (fstat(m.run_fd, &st) == 0 && st.st_nlink)
        return;
    close(m.run_fd), close(m.state_fd), close(m.live_fd), close(m.listen_fd);
    open_places(-1);
    write_state();
}

static void say_started(int status)
{
    uint8_t p[32];
    put64(p, m.proc.init), put64(p + 8, m.proc.init_start), put64(p + 16, m.self), put64(p + 24, m.self_start);
    send_record(status, 1, 0, p, sizeof p, 0);
}

/* After a failed start nothing may stay: the groups, the socket, the entry among the living. */
static _Noreturn void give_up(const struct plan *plan)
{
    if (!m.exec) {
        net_over(plan);
        remove_groups(plan);
        unlinkat(m.run_fd, "ctl", 0);
        unlinkat(m.run_fd, "state", 0);
        unlinkat(m.live_fd, m.live, 0);
    }
    report_release();
    _exit(125);
}

static _Noreturn void monitor(int plan_fd, int status, int attach, int exec, const char *pidfile)
{
    struct plan plan;
    struct op op;
    char why[256];
    int keep[12] = {plan_fd, status, attach, -1}, keeps = 4;
    reset_inheritance();
    for (int i = 0; i < CLIENTS; i++)
        m.clients[i].fd = -1;
    m.proc.stdio[0] = m.proc.stdio[1] = m.proc.stdio[2] = -1;
    m.exec = exec, m.plan_fd = plan_fd;
    if (plan_read(plan_fd, &plan, why, sizeof why)) {
        report_failed(status, -1, EINVAL, why);
        _exit(125);
    }
    struct report r = {status, -1};
    if (plan_find(&plan, OP_USERNS_ROOT, &op) && op.f[0].i == 1)
        keep[3] = (int)op.f[1].i;
    struct cursor c;
    plan_rewind(&plan, &c);
    while (plan_next(&c, &op) && keeps < 12)
        if (op.code == OP_NS_FD || (op.code == OP_NETNS_ROOT && op.f[0].i == 1))
            keep[keeps++] = (int)op.f[1].i;
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (null >= 0) {
        dup2(null, 0), dup2(null, 1), dup2(null, 2);
        if (null > 2)
            close(null);
    }
    close_from(3, keep, keeps);
    for (int i = 0; i < keeps; i++)
        if (keep[i] >= 0)
            fcntl(keep[i], F_SETFD, FD_CLOEXEC);
    if (chdir("/"))
        _exit(125);
    read_settings(&plan);
    health_settings(&plan);
    if (plan_find(&plan, OP_USERNS_ROOT, &op)) {
        r.op = op.index;
        userns_enter_root(&op, &r);
    }
    if (!exec)
        net_enter_root(&plan, &r);
    prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
    m.self = getpid(), m.self_start = start_time(m.self);
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGCHLD);
    sigaddset(&set, SIGUSR1);
    sigprocmask(SIG_BLOCK, &set, NULL);
    signal(SIGPIPE, SIG_IGN);
    m.signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    m.listen_fd = m.run_fd = m.state_fd = m.live_fd = m.oom_fd = -1;
    log_off();
    if (!exec) {
        open_places(status);
        report_hold(status);
        if (plan_find(&plan, OP_LOG_TO, &op) && log_to_open(&op)) {
            report_failed(status, op.index, errno, op.f[1].s);
            give_up(&plan);
        }
        if (plan_find(&plan, OP_LOG, &op) && log_open(&op)) {
            report_failed(status, op.index, errno, op.f[0].s);
            give_up(&plan);
        }
    }
    if (attach >= 0) {
        unblock(attach);
        struct client *c = new_client(attach);
        c->attached = 1, c->streams = OUT | ERR | (m.open_stdin ? IN : 0u);
    }
    if (start(&plan, status))
        give_up(&plan);
    struct stat st;
    if (!exec && (fstat(m.run_fd, &st) || st.st_nlink == 0)) {
        /* The command that wanted us was killed before we were among the living, and another one has swept its folder away. */
        kill_init(SIGKILL);
        give_up(&plan);
    }
    if (exec) {
        m.run_dir[0] = 0;
        if (pidfile) {
            char text[80];
            size_t n = text_number(text, sizeof text, 0, m.proc.init);
            n = text_append(text, sizeof text, n, " ");
            n = text_number(text, sizeof text, n, m.proc.init_start);
            n = text_append(text, sizeof text, n, "\n");
            copy_text(m.run_dir, sizeof m.run_dir, pidfile);
            int fd = open(pidfile, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
            if (fd >= 0) {
                write_all(fd, text, n);
                close(fd);
            }
        }
    }
    m.busy = 1;
    say_started(status);
    close(status);
    plan_free(&plan);
    loop();
    _exit(0);
}

static int begin(int plan_fd, int status, int attach, int exec, const char *pidfile)
{
    struct plan plan;
    char why[256];
    int aside = -1;
    if (plan_read(plan_fd, &plan, why, sizeof why) == 0) { /* if it's bad the monitor says so */
        aside = monitors_group(&plan);
        plan_free(&plan);
    }
    pid_t pid = aside < 0 ? -1 : sys_clone3_into(0, aside, NULL);
    if (pid < 0)
        pid = fork();
    if (pid < 0) {
        report_failed(status, -1, errno, "fork");
        return 125;
    }
    if (pid == 0)
        monitor(plan_fd, status, attach, exec, pidfile);
    return 0;
}

static int fd_word(const char *s)
{
    int64_t n;
    return parse_number(s, &n) || n > 1 << 20 ? -1 : (int)n;
}

int cmd_run(int argc, char **argv)
{
    if (argc < 2)
        return 125;
    int plan = open(argv[0], O_RDONLY | O_CLOEXEC), status = fd_word(argv[1]);
    if (plan < 0) {
        report_failed(status, -1, errno, argv[0]);
        return 125;
    }
    return begin(plan, status, argc > 2 ? fd_word(argv[2]) : -1, 0, NULL);
}

int cmd_exec(int argc, char **argv)
{
    if (argc < 3)
        return 125;
    return begin(fd_word(argv[0]), fd_word(argv[1]), fd_word(argv[2]), 1, argc > 3 ? argv[3] : NULL);
}
