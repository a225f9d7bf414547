/* The monitor of a container (and the supervisor of an exec): one loop over poll, no heap, nothing but what is due.
 * docs/internals/monitor.md has its files and its protocol. */
#include "log.h"
#include "tree.h"
#include "wherry.h"
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

enum { ATTACH = 1, STDIN, STDIN_EOF, RESIZE, SIGNAL, STOP, WAIT, STATUS, POLICY, CLAIM, NEXT_EXIT };
enum { SAY_OUT = 101, SAY_ERR, SAY_EXIT, SAY_ERROR, SAY_OK, SAY_STATUS };
enum { IN = 1, OUT = 2, ERR = 4 };
#define CLIENTS 48
#define CHUNK (32 * 1024)

struct client {
    int fd;
    unsigned streams;
    int attached, waits, waits_next, claims, behind;
    uint32_t wait_tag;
};

static struct {
    int exec, tty, open_stdin, stdin_once;
    char id[80], run_dir[4096], state_dir[4096], live[200];
    int run_fd, state_fd, live_fd, listen_fd, signal_fd;
    int plan_fd;
    struct launched proc;
    int running;
    /* policy */
    char policy[20];
    int64_t max_retries, restarts, delay_ms, restart_at_ms, started_ms;
    int by_hand, stopping, remove;
    int64_t kill_at_ms;
    int64_t timeout_ms;
    /* last run */
    int code, signal, oom;
    char started[32], finished[32], error[512];
    pid_t self;
    int64_t self_start;
    struct client clients[CLIENTS];
    /* output that some client has not taken yet */
    size_t out_n;
    int out_type;
    char out[CHUNK];
    /* input that the container has not taken yet */
    size_t in_n, in_at;
    int in_eof;
    char in[RECORD_MAX];
} m;

/* -- files ----------------------------------------------------------------------------------------------------------- */

static size_t key(char *to, size_t size, size_t at, const char *name, const char *value)
{
    at = text_append(to, size, at, name);
    at = text_append(to, size, at, "=");
    at = text_append(to, size, at, value);
    return text_append(to, size, at, "\n");
}

static size_t key_number(char *to, size_t size, size_t at, const char *name, int64_t value)
{
    char text[24];
    text_number(text, sizeof text, 0, value);
    return key(to, size, at, name, text);
}

static size_t key_pair(char *to, size_t size, size_t at, const char *name, int64_t a, int64_t b)
{
    char text[48];
    text_number(text, sizeof text, text_append(text, sizeof text, text_number(text, sizeof text, 0, a), " "), b);
    return key(to, size, at, name, text);
}

static size_t state_text(char *to, size_t size)
{
    const char *status = m.running ? (m.stopping ? "stopping" : "running") : "restarting";
    size_t n = key(to, size, 0, "version", "1");
    n = key(to, size, n, "status", status);
    n = key_pair(to, size, n, "monitor", m.self, m.self_start);
    n = key_pair(to, size, n, "init", m.running ? m.proc.init : 0, m.running ? m.proc.init_start : 0);
    n = key(to, size, n, "started", m.started);
    n = key_number(to, size, n, "restarts", m.restarts);
    if (m.finished[0]) {
        n = key_number(to, size, n, "exit", m.code);
        n = key(to, size, n, "finished", m.finished);
    }
    if (m.proc.plain_size && n + m.proc.plain_size < size) {
        memcpy(to + n, m.proc.plain, m.proc.plain_size);
        n += m.proc.plain_size;
        to[n] = 0;
    }
    return n;
}

static void replace_file(int dir, const char *temporary, const char *name, const char *text, size_t n, int sync)
{
    int fd = openat(dir, temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return;
    if (write_all(fd, text, n) == 0 && (!sync || fsync(fd) == 0) && renameat(dir, temporary, dir, name) == 0 && sync)
        fsync(dir);
    close(fd);
}

static void write_state(void)
{
    char text[4096];
    if (!m.exec)
        replace_file(m.run_fd, "state.tmp", "state", text, state_text(text, sizeof text), 0);
}

static void write_exit(void)
{
    char text[1536];
    size_t n = key_number(text, sizeof text, 0, "code", m.code);
    n = key_number(text, sizeof text, n, "oom", m.oom);
    n = key(text, sizeof text, n, "error", m.error);
    n = key(text, sizeof text, n, "started", m.started);
    n = key(text, sizeof text, n, "finished", m.finished);
    n = key_number(text, sizeof text, n, "restarts", m.restarts);
    n = key_number(text, sizeof text, n, "signal", m.signal);
    /* A container that is removed right away needs no record that lasts. */
    replace_file(m.state_fd, "exit.tmp", "exit", text, n, !m.remove);
}

/* -- clients --------------------------------------------------------------------------------------------------------- */

static void drop_client(struct client *c)
{
    int had_stdin = c->attached && (c->streams & IN);
    close(c->fd);
    memset(c, 0, sizeof *c);
    c->fd = -1;
    if (had_stdin && m.stdin_once)
        m.in_eof = 1;
}

static int say(struct client *c, int type, uint32_t tag, const void *p, size_t n)
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

static void exit_to(struct client *c)
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

static struct client *new_client(int fd)
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

static int behind(void)
{
    int n = 0;
    for (int i = 0; i < CLIENTS; i++)
        n += m.clients[i].fd >= 0 && m.clients[i].behind;
    return n;
}

/* Pass the chunk in m.out on to whoever wants it. Those that can't take it now hold the container back. */
static void pass_on(int only_behind)
{
    unsigned want = m.out_type == SAY_OUT ? OUT : ERR;
    for (int i = 0; i < CLIENTS; i++) {
        struct client *c = &m.clients[i];
        if (c->fd < 0 || !c->attached || !(c->streams & want) || (only_behind && !c->behind))
            continue;
        c->behind = 0;
        if (say(c, m.out_type, 0, m.out, m.out_n) && c->fd >= 0)
            c->behind = 1;
    }
}

/* -- the container's streams ------------------------------------------------------------------------------------------ */

static void close_stream(int i)
{
    if (m.proc.stdio[i] >= 0)
        close(m.proc.stdio[i]);
    m.proc.stdio[i] = -1;
}

/* 1 when there may be more */
static int read_output(int i)
{
    ssize_t n = read(m.proc.stdio[i], m.out, sizeof m.out);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return 0;
    if (n <= 0) { /* a terminal says EIO when its last user is gone */
        close_stream(i);
        return 0;
    }
    m.out_n = (size_t)n;
    m.out_type = i == 2 ? SAY_ERR : SAY_OUT;
    if (!m.exec)
        log_bytes(i == 2, m.out, m.out_n);
    pass_on(0);
    return 1;
}

static int input_fd(void) { return m.proc.stdio[m.tty ? 1 : 0]; }

static void write_input(void)
{
    int fd = input_fd();
    while (m.in_at < m.in_n) {
        ssize_t n = fd < 0 ? -1 : write(fd, m.in + m.in_at, m.in_n - m.in_at);
        if (n < 0 && fd >= 0 && errno == EAGAIN)
            return;
        if (n < 0) { /* nobody reads any more */
            m.in_at = m.in_n = 0;
            if (!m.tty)
                close_stream(0);
            return;
        }
        m.in_at += (size_t)n;
    }
    m.in_at = m.in_n = 0;
    if (m.in_eof && !m.tty)
        close_stream(0);
}

static void take_input(const uint8_t *p, size_t n)
{
    if (input_fd() < 0 || !m.open_stdin)
        return;
    memcpy(m.in, p, n);
    m.in_at = 0, m.in_n = n;
    write_input();
}

static int others_have_stdin(const struct client *me)
{
    for (int i = 0; i < CLIENTS; i++)
        if (&m.clients[i] != me && m.clients[i].fd >= 0 && m.clients[i].attached && (m.clients[i].streams & IN))
            return 1;
    return 0;
}

/* -- the process ------------------------------------------------------------------------------------------------------ */

static void unblock(int fd)
{
    if (fd >= 0)
        fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
}

static void set_size(uint32_t rows, uint32_t columns)
{
    unsigned short size[4] = {(unsigned short)rows, (unsigned short)columns, 0, 0};
    if (m.tty && m.proc.stdio[1] >= 0 && rows && columns)
        ioctl(m.proc.stdio[1], TIOCSWINSZ, size);
}

static int start(const struct plan *plan, int status)
{
    struct op stdio;
    if (launch(plan, status, m.tty, m.open_stdin, m.exec, &m.proc))
        return -1;
    for (int i = 0; i < 3; i++)
        unblock(m.proc.stdio[i]);
    if (plan_find(plan, OP_STDIO, &stdio))
        set_size((uint32_t)stdio.f[3].i, (uint32_t)stdio.f[4].i);
    m.running = 1;
    m.in_n = m.in_at = 0, m.in_eof = 0;
    m.started_ms = now_ms();
    m.signal = m.oom = 0;
    m.error[0] = 0;
    now_text(m.started, sizeof m.started);
    write_state();
    return 0;
}

static int kill_init(int sig)
{
    if (!m.running)
        return errno = ESRCH, -1;
    return m.proc.init_pidfd >= 0 ? sys_pidfd_send_signal(m.proc.init_pidfd, sig) : kill(m.proc.init, sig);
}

/* The memory group's own count of kills. */
static int oom_kills(const struct plan *plan)
{
    struct cursor c;
    struct op op;
    char path[4096], text[2048];
    plan_rewind(plan, &c);
    while (plan_next(&c, &op)) {
        if (op.code != OP_CGROUP)
            continue;
        size_t n = text_append(path, sizeof path, 0, op.f[1].s);
        if (op.f[0].i == 1 && !strstr(op.f[1].s, "/memory/"))
            continue;
        text_append(path, sizeof path, n, op.f[0].i == 1 ? "/memory.oom_control" : "/memory.events");
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd < 0)
            continue;
        ssize_t got = read(fd, text, sizeof text - 1);
        close(fd);
        if (got <= 0)
            continue;
        text[got] = 0;
        char *p = strstr(text, "oom_kill ");
        if (p && p[9] >= '1' && p[9] <= '9')
            return 1;
    }
    return 0;
}

/* End what is left in the groups (a container in the host's pid namespace leaves its children) and remove them. */
static void remove_groups(const struct plan *plan)
{
    struct cursor c;
    struct op op;
    char path[4096], text[4096];
    plan_rewind(plan, &c);
    while (plan_next(&c, &op)) {
        if (op.code != OP_CGROUP)
            continue;
        for (int tries = 0; tries < 100 && rmdir(op.f[1].s) && errno == EBUSY; tries++) {
            text_append(path, sizeof path, text_append(path, sizeof path, 0, op.f[1].s), "/cgroup.procs");
            int fd = open(path, O_RDONLY | O_CLOEXEC);
            ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
            if (fd >= 0)
                close(fd);
            for (ssize_t i = 0; i < n;) {
                int64_t pid = 0;
                for (; i < n && text[i] != '\n'; i++)
                    pid = pid * 10 + (text[i] - '0');
                i++;
                if (pid > 1)
                    kill((pid_t)pid, SIGKILL);
            }
            poll(NULL, 0, 2);
        }
    }
}

static void remove_state(void)
{
    /* <root>/containers/<id> becomes <root>/staging/rm-<id>, from where any command finishes what we may not. */
    char doomed[160];
    text_append(doomed, sizeof doomed, text_append(doomed, sizeof doomed, 0, "rm-"), m.id);
    int containers = openat(m.state_fd, "..", O_PATH | O_DIRECTORY | O_CLOEXEC);
    int staging = openat(containers, "../staging", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (containers < 0 || staging < 0 || renameat(containers, m.id, staging, doomed))
        return;
    tree_remove(staging, doomed);
}

static void remove_run_folder(void)
{
    static const char *const files[] = {"ctl", "state", "state.tmp", "plan"};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        unlinkat(m.run_fd, files[i], 0);
    unlinkat(m.run_fd, "mnt", AT_REMOVEDIR);
    tree_remove(m.run_fd, "exec");
    int parent = openat(m.run_fd, "..", O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (parent >= 0)
        unlinkat(parent, m.id, AT_REMOVEDIR);
}

static void read_client(struct client *c);

/* What clients have said and we haven't heard: a CLAIM counts, and a socket that is closed with words unread in it
 * greets the other side with ECONNRESET. */
static void take_last_words(void)
{
    for (int i = 0; i < CLIENTS; i++)
        for (int tries = 0; tries < 64 && m.clients[i].fd >= 0; tries++) {
            struct pollfd w = {m.clients[i].fd, POLLIN, 0};
            if (poll(&w, 1, 0) <= 0 || !(w.revents & POLLIN))
                break;
            read_client(&m.clients[i]);
        }
}

static _Noreturn void end(const struct plan *plan)
{
    int claimed = 0;
    struct op cleanup;
    log_end();
    if (m.exec) {
        for (int i = 0; i < CLIENTS; i++)
            if (m.clients[i].fd >= 0)
                exit_to(&m.clients[i]);
        if (m.run_dir[0])
            unlink(m.run_dir); /* for an exec: its pid file */
        _exit(0);
    }
    write_exit();
    remove_groups(plan);
    take_last_words();
    for (int i = 0; i < CLIENTS; i++)
        claimed |= m.clients[i].fd >= 0 && m.clients[i].claims;
    if (m.remove)
        remove_state();
    remove_run_folder();
    for (int i = 0; i < CLIENTS; i++)
        if (m.clients[i].fd >= 0 && (m.clients[i].attached || m.clients[i].waits || m.clients[i].waits_next))
            exit_to(&m.clients[i]);
    unlinkat(m.live_fd, m.live, 0);
    if (m.remove && !claimed && plan_find(plan, OP_CLEANUP, &cleanup) && cleanup.f[1].len) {
        char *argv[64];
        static char text[8192];
        size_t at = 0;
        int n = 0;
        const uint8_t *p = NULL;
        uint32_t left;
        for (const char *s; n < 63 && (s = list_next(&cleanup.f[1], &p, &left));) {
            size_t len = strlen(s) + 1;
            if (at + len > sizeof text)
                _exit(0);
            memcpy(text + at, s, len);
            argv[n++] = text + at;
            at += len;
        }
        argv[n] = NULL;
        char *environment[] = {(char *)"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", (char *)"WHERRY_IN_R=1", NULL};
        close_from(3, NULL, 0);
        sigset_t none;
        sigemptyset(&none);
        sigprocmask(SIG_SETMASK, &none, NULL);
        execve(argv[0], argv, environment);
    }
    _exit(0);
}

static int wants_restart(void)
{
    if (m.stopping || m.by_hand || m.exec)
        return 0;
    if (!strcmp(m.policy, "always") || !strcmp(m.policy, "unless-stopped"))
        return 1;
    if (strcmp(m.policy, "on-failure"))
        return 0;
    return m.code != 0 && (m.max_retries == 0 || m.restarts < m.max_retries);
}

static void tell_next_exit(void)
{
    for (int i = 0; i < CLIENTS; i++)
        if (m.clients[i].fd >= 0 && m.clients[i].waits_next)
            exit_to(&m.clients[i]), m.clients[i].waits_next = 0;
}

static void plan_restart(void)
{
    if (now_ms() - m.started_ms >= 10000)
        m.delay_ms = 0;
    m.delay_ms = m.delay_ms ? m.delay_ms * 2 : 100;
    if (m.delay_ms > 60000)
        m.delay_ms = 60000;
    m.restart_at_ms = now_ms() + m.delay_ms;
    write_state();
    tell_next_exit();
}

static void load_plan(struct plan *plan)
{
    char why[256];
    if (plan_read(m.plan_fd, plan, why, sizeof why))
        _exit(125);
}

static void process_ended(int status)
{
    m.running = 0;
    m.signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
    m.code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + m.signal;
    now_text(m.finished, sizeof m.finished);
    if (m.proc.init_pidfd >= 0)
        close(m.proc.init_pidfd);
    m.proc.init_pidfd = -1;
}

/* The process is gone and its output taken: start it again, or end. */
static void settle(void)
{
    struct plan plan;
    for (int i = 0; i < 3; i++)
        close_stream(i);
    load_plan(&plan);
    if (!m.exec)
        m.oom = oom_kills(&plan);
    if (wants_restart())
        plan_restart();
    else
        end(&plan);
    plan_free(&plan);
}

static void start_again(void)
{
    struct plan plan;
    m.restart_at_ms = 0;
    load_plan(&plan);
    m.restarts++;
    if (start(&plan, -1)) {
        now_text(m.finished, sizeof m.finished);
        m.code = 128;
        copy_text(m.error, sizeof m.error, m.proc.detail);
        if (wants_restart())
            plan_restart();
        else
            end(&plan);
    }
    plan_free(&plan);
}

/* -- requests --------------------------------------------------------------------------------------------------------- */

static void stop(int64_t sig, int64_t timeout_ms)
{
    m.by_hand = m.stopping = 1;
    if (!m.running) {
        m.restart_at_ms = 0;
        return;
    }
    write_state();
    kill_init((int)sig);
    /* A stopped process takes its signal when it goes on. */
    if (sig != SIGKILL)
        kill_init(SIGCONT);
    m.kill_at_ms = timeout_ms < 0 || sig == SIGKILL ? 0 : now_ms() + timeout_ms;
    if (timeout_ms == 0 && sig != SIGKILL)
        kill_init(SIGKILL);
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
    case CLAIM:
        c->claims = 1;
        say(c, SAY_OK, tag, NULL, 0);
        break;
    default:
        error_to(c, tag, ENOSYS, "this monitor doesn't know that request");
    }
}

static void read_client(struct client *c)
{
    static uint8_t record[RECORD_MAX + HEADER];
    ssize_t n = recv(c->fd, record, sizeof record, MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n < HEADER) {
        drop_client(c);
        write_input();
        return;
    }
    request(c, record, (size_t)n);
}

static void welcome(void)
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

/* -- the loop --------------------------------------------------------------------------------------------------------- */

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
    const int64_t times[] = {m.running ? m.kill_at_ms : 0, m.restart_at_ms};
    for (int i = 0; i < 2; i++)
        if (times[i] && (next < 0 || times[i] < next))
            next = times[i];
    if (next < 0)
        return -1;
    return next <= now ? 0 : next - now > 60000 ? 60000 : (int)(next - now);
}

static void loop(void)
{
    struct pollfd p[CLIENTS + 6];
    struct client *of[CLIENTS + 6];
    for (;;) {
        int n = 0, held = behind();
        p[n].fd = m.signal_fd, p[n].events = POLLIN, of[n++] = NULL;
        if (!m.exec)
            p[n].fd = m.listen_fd, p[n].events = POLLIN, of[n++] = NULL;
        int first_client = n;
        for (int i = 0; i < CLIENTS; i++) {
            struct client *c = &m.clients[i];
            if (c->fd < 0)
                continue;
            /* Input that the container hasn't taken holds its senders back, as a full pipe would. */
            int waits_for_input = (c->streams & IN) && m.in_at < m.in_n;
            p[n].fd = c->fd;
            p[n].events = (short)((waits_for_input ? 0 : POLLIN) | (c->behind ? POLLOUT : 0));
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
            for (int i = 1; i < 3 && !busy; i++)
                while (m.proc.stdio[i] >= 0 && read_output(i))
                    if (behind() && !m.stopping) {
                        busy = 1;
                        break;
                    }
            if (!busy)
                settle();
            if (!busy)
                continue;
        }
        if (poll(p, (nfds_t)n, due_ms()) < 0 && errno != EINTR)
            _exit(125);
        if (p[0].revents) {
            struct signalfd_siginfo info;
            while (read(m.signal_fd, &info, sizeof info) > 0)
                continue;
            reap();
        }
        if (!m.exec && p[1].revents)
            welcome();
        for (int i = first_client; i < out_at; i++) {
            if (of[i]->fd != p[i].fd)
                continue;
            if (p[i].revents & POLLOUT)
                pass_on(1);
            if (of[i]->fd == p[i].fd && (p[i].revents & (POLLIN | POLLHUP | POLLERR)))
                read_client(of[i]);
        }
        for (int i = out_at; i < n; i++) {
            if (!p[i].revents)
                continue;
            if (p[i].events == POLLOUT)
                write_input();
            else if (!behind())
                read_output(p[i].fd == m.proc.stdio[2] ? 2 : 1);
        }
        int64_t now = now_ms();
        if (m.running && m.kill_at_ms && now >= m.kill_at_ms) {
            m.kill_at_ms = 0;
            kill_init(SIGKILL);
        }
        if (!m.running && m.restart_at_ms && now >= m.restart_at_ms)
            start_again();
    }
}

/* -- the beginning ---------------------------------------------------------------------------------------------------- */

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
        remove_groups(plan);
        unlinkat(m.run_fd, "ctl", 0);
        unlinkat(m.run_fd, "state", 0);
        unlinkat(m.live_fd, m.live, 0);
    }
    _exit(125);
}

static _Noreturn void monitor(int plan_fd, int status, int attach, int exec, const char *pidfile)
{
    struct plan plan;
    struct op op;
    char why[256];
    int keep[] = {plan_fd, status, attach, -1};
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
    int has_root = plan_find(&plan, OP_USERNS_ROOT, &op);
    if (has_root && op.f[0].i == 1)
        keep[3] = (int)op.f[1].i;
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (null >= 0) {
        dup2(null, 0), dup2(null, 1), dup2(null, 2);
        if (null > 2)
            close(null);
    }
    close_from(3, keep, 4);
    for (int i = 0; i < 4; i++)
        if (keep[i] >= 0)
            fcntl(keep[i], F_SETFD, FD_CLOEXEC);
    if (chdir("/"))
        _exit(125);
    read_settings(&plan);
    if (has_root) {
        r.op = op.index;
        userns_enter_root(&op, &r);
    }
    prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
    m.self = getpid(), m.self_start = start_time(m.self);
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGCHLD);
    sigprocmask(SIG_BLOCK, &set, NULL);
    signal(SIGPIPE, SIG_IGN);
    m.signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    m.listen_fd = m.run_fd = m.state_fd = m.live_fd = -1;
    log_off();
    if (!exec) {
        open_places(status);
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
    say_started(status);
    close(status);
    plan_free(&plan);
    loop();
    _exit(0);
}

static int begin(int plan_fd, int status, int attach, int exec, const char *pidfile)
{
    pid_t pid = fork();
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
