/* Health probes: docker's rules (moby, daemon/health.go), kept by the monitor. A probe is an exec in the container under a supervisor of
 * its own, a short-lived child that also writes the log of the last five; the monitor hears nothing but the exit code.
 * docs/internals/monitor.md has the files. */
#include "health.h"
#include "monitor.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h> /* renameat */
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { NO_CHECK, STARTING, HEALTHY, UNHEALTHY };
enum { DO_NOTHING, DO_KILL, DO_RESTART, DO_STOP };
enum { KEPT = 5, OUTPUT_MAX = 4096, LOG_MAX = KEPT * (OUTPUT_MAX + 128), TIMED_OUT = -1 };

static struct {
    int64_t interval_ms, timeout_ms, retries, start_period_ms, start_interval_ms, on_failure;
    int status, fd;
    int64_t streak, due_ms, begun_ms;
    pid_t supervisor;
} h = {.fd = -1};

void health_settings(const struct plan *plan)
{
    struct op op;
    if (!plan_find(plan, OP_HEALTH, &op))
        return;
    h.interval_ms = op.f[0].i, h.timeout_ms = op.f[1].i, h.retries = op.f[2].i;
    h.start_period_ms = op.f[3].i, h.start_interval_ms = op.f[4].i, h.on_failure = op.f[5].i;
    h.status = STARTING;
}

int health_fd(void) { return h.fd; }

int64_t health_due(void) { return h.status && m.running && !m.paused && h.fd < 0 ? h.due_ms : 0; }

size_t health_text(char *to, size_t size, size_t n)
{
    static const char *const names[] = {"", "starting", "healthy", "unhealthy"};
    if (!h.status)
        return n;
    n = text_append(to, size, n, "health=");
    n = text_append(to, size, n, names[h.status]);
    n = text_append(to, size, n, "\nstreak=");
    n = text_number(to, size, n, h.streak);
    return text_append(to, size, n, "\n");
}

static void next_probe(void)
{
    int64_t now = now_ms();
    int early = h.status == STARTING && now - m.started_ms < h.start_period_ms;
    h.due_ms = now + (early ? h.start_interval_ms : h.interval_ms);
}

/* The container's process has been started; before its state is written. */
void health_started(void)
{
    if (!h.status)
        return;
    h.status = STARTING, h.streak = 0;
    next_probe();
}

static void forget_probe(void)
{
    if (h.fd >= 0)
        close(h.fd);
    h.fd = -1, h.supervisor = 0;
}

void health_stopped(void)
{
    if (h.fd >= 0 && h.supervisor > 0)
        kill(h.supervisor, SIGKILL);
    forget_probe();
    tell_health(-1);
}

/* -- the supervisor ---------------------------------------------------------------------------------------------------------------- */

static int same_user_namespace(pid_t pid)
{
    char path[64];
    struct stat theirs, ours;
    size_t n = text_append(path, sizeof path, 0, "/proc/");
    n = text_number(path, sizeof path, n, pid);
    text_append(path, sizeof path, n, "/ns/user");
    return stat(path, &theirs) == 0 && stat("/proc/self/ns/user", &ours) == 0 && theirs.st_ino == ours.st_ino;
}

/* The probe's plan was written before there was a process to join: its NS_JOIN gets the numbers of the one that runs now. The plan is
 * a copy in memory, as the launcher's sealed child reads it again. -1: there is none that can be read. */
static int probe_plan(struct plan *plan)
{
    struct op op;
    struct cursor c;
    char why[256];
    int file = openat(m.run_fd, "health", O_RDONLY | O_CLOEXEC), found = 0;
    if (file < 0 || plan_read(file, plan, why, sizeof why))
        return -1;
    plan_rewind(plan, &c);
    while (!found && plan_next(&c, &op))
        found = op.code == OP_NS_JOIN;
    if (!found)
        return -1;
    uint8_t *numbers = plan->data + c.at - 24; /* the operation is three integers */
    if (same_user_namespace(m.proc.init))
        put64(numbers, op.f[0].i & ~(int64_t)0x10000000); /* CLONE_NEWUSER: one's own can't be entered again */
    put64(numbers + 8, m.proc.init);
    put64(numbers + 16, m.proc.init_start);
    int fd = (int)syscall(SYS_memfd_create, "wherry-health", 1 /* CLOEXEC */);
    return fd < 0 || write_all(fd, plan->data, plan->size) ? -1 : fd;
}

/* Entries are "START END CODE LENGTH\n", LENGTH bytes, "\n". */
static size_t entry_size(const char *p, size_t left)
{
    size_t n = 0, spaces = 0, digits = 0;
    for (; n < left && p[n] != '\n'; n++) {
        if (p[n] == ' ')
            spaces++, digits = 0;
        else if (spaces == 3)
            digits = digits * 10 + (size_t)(p[n] - '0');
    }
    return spaces == 3 && n + digits + 2 <= left ? n + digits + 2 : 0;
}

static void write_entry(const char *begun, const char *ended, int64_t code, const char *output, size_t size)
{
    static char old[LOG_MAX], new[LOG_MAX + OUTPUT_MAX + 256];
    size_t have = 0, at = 0, starts[64], count = 0;
    int fd = openat(m.state_fd, "health.log", O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    for (ssize_t got; fd >= 0 && have < sizeof old && (got = read(fd, old + have, sizeof old - have)) > 0;)
        have += (size_t)got;
    if (fd >= 0)
        close(fd);
    for (size_t n; at < have && count < 64 && (n = entry_size(old + at, have - at)); at += n)
        starts[count++] = at;
    size_t from = count >= KEPT ? starts[count - KEPT + 1] : 0, n = at - from;
    memcpy(new, old + from, n);
    n = text_append(new, sizeof new, n, begun);
    n = text_append(new, sizeof new, n, " ");
    n = text_append(new, sizeof new, n, ended);
    n = text_append(new, sizeof new, n, " ");
    if (code < 0) {
        n = text_append(new, sizeof new, n, "-");
        code = -code;
    }
    n = text_number(new, sizeof new, n, code);
    n = text_append(new, sizeof new, n, " ");
    n = text_number(new, sizeof new, n, (int64_t)size);
    n = text_append(new, sizeof new, n, "\n");
    memcpy(new + n, output, size);
    n += size;
    new[n++] = '\n';
    fd = openat(m.state_fd, "health.tmp", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd >= 0 && write_all(fd, new, n) == 0)
        renameat(m.state_fd, "health.tmp", m.state_fd, "health.log");
    if (fd >= 0)
        close(fd);
}

static size_t too_late(char *output)
{
    /* docker's words, with Go's form of the time */
    size_t n = text_append(output, OUTPUT_MAX, 0, "Health check exceeded timeout (");
    int64_t ms = h.timeout_ms;
    if (ms >= 60000)
        n = text_append(output, OUTPUT_MAX, text_number(output, OUTPUT_MAX, n, ms / 60000), "m"), ms %= 60000;
    if (h.timeout_ms < 1000)
        return text_append(output, OUTPUT_MAX, text_number(output, OUTPUT_MAX, n, ms), "ms)");
    n = text_number(output, OUTPUT_MAX, n, ms / 1000);
    if (ms % 1000) {
        n = text_append(output, OUTPUT_MAX, n, ".");
        for (int64_t part = ms % 1000, unit = 100; part; part %= unit, unit /= 10)
            n = text_number(output, OUTPUT_MAX, n, part / unit);
    }
    return text_append(output, OUTPUT_MAX, n, "s)");
}

/* Read what the probe says until it has ended; -1: it took too long. */
static int64_t watch(struct launched *probe, char *output, size_t *size)
{
    int64_t deadline = now_ms() + h.timeout_ms;
    int status = 0;
    for (;;) {
        struct pollfd p[3] = {{probe->init_pidfd, POLLIN, 0}, {probe->stdio[1], POLLIN, 0}, {probe->stdio[2], POLLIN, 0}};
        int64_t left = deadline - now_ms();
        if (left <= 0) {
            kill(probe->init, SIGKILL);
            waitpid(probe->init, &status, 0);
            *size = too_late(output);
            return TIMED_OUT;
        }
        if (poll(p, 3, left > 1 << 30 ? 1 << 30 : (int)left) < 0 && errno != EINTR)
            _exit(125);
        for (int i = 1; i < 3; i++) {
            char piece[OUTPUT_MAX];
            ssize_t got;
            if (!p[i].revents || probe->stdio[i] < 0)
                continue;
            /* The output of one that has ended is read to the end of the pipe; it may have left somebody who keeps it open. */
            got = read(probe->stdio[i], piece, sizeof piece);
            if (got <= 0) {
                close(probe->stdio[i]);
                probe->stdio[i] = -1;
                continue;
            }
            size_t room = OUTPUT_MAX - *size, n = (size_t)got < room ? (size_t)got : room;
            memcpy(output + *size, piece, n);
            *size += n;
        }
        if ((p[0].revents & POLLIN) && !(p[1].revents & POLLIN) && !(p[2].revents & POLLIN)) {
            waitpid(probe->init, &status, 0);
            return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
        }
    }
}

static _Noreturn void supervise(int answer)
{
    static char output[OUTPUT_MAX];
    struct launched probe;
    struct plan plan;
    char begun[32], ended[32];
    size_t size = 0;
    int64_t code = -1;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
    /* Clients wait for the monitor's sockets to close: none may stay open in here. */
    const int keep[] = {m.run_fd, m.state_fd, answer};
    close_from(3, keep, 3);
    now_text(begun, sizeof begun);
    int fd = probe_plan(&plan);
    report_hold(-1);
    if (fd >= 0 && launch(&plan, fd, -1, 0, 0, 1, &probe) == 0)
        code = watch(&probe, output, &size);
    else
        size = text_append(output, sizeof output, text_append(output, sizeof output, 0, "the probe can't be executed: "),
            fd < 0 ? "its plan can't be read" : report_held());
    now_text(ended, sizeof ended);
    write_entry(begun, ended, code, output, size);
    uint8_t word[8];
    put64(word, code);
    send(answer, word, sizeof word, MSG_NOSIGNAL);
    _exit(0);
}

/* -- the monitor --------------------------------------------------------------------------------------------------------------------- */

/* Begin a probe, unless one is going on. 0, or -1 with errno. */
int health_probe(void)
{
    int pair[2];
    if (!h.status || !m.running)
        return errno = h.status ? ESRCH : ENOENT, -1;
    if (h.fd >= 0)
        return 0;
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair))
        return -1;
    h.begun_ms = now_ms();
    h.supervisor = fork();
    if (h.supervisor == 0)
        supervise(pair[1]);
    close(pair[1]);
    h.fd = pair[0];
    if (h.supervisor > 0)
        return 0;
    forget_probe();
    return -1;
}

static void act(void)
{
    switch (h.on_failure) {
    case DO_KILL: kill_init(SIGKILL); break;
    case DO_RESTART:
        m.again = 1;
        kill_init(SIGKILL);
        break;
    case DO_STOP: stop(SIGTERM, 10000); break;
    default: break;
    }
}

static void take_result(int64_t code)
{
    int before = h.status;
    if (code == 0) {
        h.streak = 0, h.status = HEALTHY;
    } else if (h.status != STARTING || h.begun_ms - m.started_ms >= h.start_period_ms) {
        if (++h.streak >= h.retries)
            h.status = UNHEALTHY;
    }
    next_probe();
    write_state();
    tell_health(code);
    if (h.status != before)
        event(h.status == HEALTHY ? "health_status: healthy" : "health_status: unhealthy", "");
    if (h.status == UNHEALTHY && before != UNHEALTHY)
        act();
}

void health_work(void)
{
    if (h.fd < 0) {
        if (health_probe())
            next_probe();
        return;
    }
    uint8_t word[8];
    ssize_t n = recv(h.fd, word, sizeof word, MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    forget_probe();
    take_result(n == sizeof word ? get64(word) : -1);
}
