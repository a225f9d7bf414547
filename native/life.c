/* The life of the process: started, stopped, ended, started again, or over. */
#include "health.h"
#include "monitor.h"
#include "log.h"
#include "resolver.h"
#include "net.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

int start(const struct plan *plan, int status)
{
    if (!m.exec && net_prepare(plan, status, !m.net_ready))
        return -1;
    m.net_ready = 1;
    if (launch(plan, m.plan_fd, status, m.tty, m.open_stdin, m.exec, &m.proc))
        return -1;
    for (int i = 0; i < 3; i++)
        unblock(m.proc.stdio[i]);
    if (m.proc.resolver[0] >= 0)
        resolver_start(m.run_fd, m.proc.resolver);
    m.running = 1;
    m.in_n = m.in_at = 0, m.in_eof = 0;
    m.started_ms = now_ms();
    m.kill_at_ms = m.timeout_ms > 0 ? m.started_ms + m.timeout_ms : 0;
    m.signal = m.oom = 0;
    m.error[0] = 0;
    now_text(m.started, sizeof m.started);
    health_started();
    write_state();
    if (!m.exec) {
        if (m.oom_fd < 0)
            m.oom_fd = oom_watch(plan);
        event("start", "");
    }
    return 0;
}

static void load_plan(struct plan *plan)
{
    char why[256];
    if (plan_read(m.plan_fd, plan, why, sizeof why))
        _exit(125);
}

int pause_or_go_on(int on)
{
    struct plan plan;
    load_plan(&plan);
    int bad = freeze_groups(&plan, on), e = errno;
    plan_free(&plan);
    if (bad)
        return errno = e, -1;
    m.paused = on;
    write_state();
    return 0;
}

int kill_init(int sig)
{
    if (!m.running)
        return errno = ESRCH, -1;
    int bad = m.proc.init_pidfd >= 0 ? sys_pidfd_send_signal(m.proc.init_pidfd, sig) : kill(m.proc.init, sig);
    if (!bad && sig == SIGKILL && m.paused)
        pause_or_go_on(0); /* what stands still doesn't die */
    return bad;
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
        event_of_end("exec_die");
        if (m.run_dir[0])
            unlink(m.run_dir); /* for an exec: its pid file */
        _exit(0);
    }
    net_over(plan);
    names_gone(plan);
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
    if (m.again)
        return m.again = 0, 1;
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

/* The group lives on through restarts, and so does its count. */
static void count_kills(const struct plan *plan)
{
    int64_t kills = oom_kills(plan);
    m.oom = kills > m.oom_seen;
    m.oom_seen = kills;
    if (kills > m.oom_told)
        event("oom", "");
    m.oom_told = kills;
}

/* The kernel says that memory ran out; its count of those it has ended follows a moment later. */
void out_of_memory(void)
{
    char news[4096];
    struct plan plan;
    while (read(m.oom_fd, news, sizeof news) > 0)
        continue;
    load_plan(&plan);
    for (int tries = 0; m.running && tries < 10; tries++) {
        int64_t kills = oom_kills(&plan);
        if (kills > m.oom_told) {
            m.oom_told = kills;
            event("oom", "");
            break;
        }
        poll(NULL, 0, 3);
    }
    plan_free(&plan);
}

void process_ended(int status)
{
    m.running = m.paused = 0;
    m.signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
    m.code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + m.signal;
    now_text(m.finished, sizeof m.finished);
    if (m.proc.init_pidfd >= 0)
        close(m.proc.init_pidfd);
    m.proc.init_pidfd = -1;
    resolver_stop();
    health_stopped();
}

/* The process is gone and its output taken: start it again, or end. */
void settle(void)
{
    struct plan plan;
    for (int i = 0; i < 3; i++)
        close_stream(i);
    load_plan(&plan);
    if (!m.exec) {
        count_kills(&plan);
        event_of_end("die");
    }
    if (wants_restart())
        plan_restart();
    else
        end(&plan);
    plan_free(&plan);
}

void start_again(void)
{
    struct plan plan;
    m.restart_at_ms = 0;
    load_plan(&plan);
    m.restarts++;
    report_hold(-1);
    if (start(&plan, -1)) {
        now_text(m.finished, sizeof m.finished);
        m.code = 128;
        m.error[text_append(m.error, sizeof m.error, 0, report_held())] = 0;
        if (wants_restart())
            plan_restart();
        else
            end(&plan);
    }
    plan_free(&plan);
}

void stop(int64_t sig, int64_t timeout_ms)
{
    m.by_hand = m.stopping = 1;
    if (!m.running) {
        m.restart_at_ms = 0;
        return;
    }
    write_state();
    kill_init((int)sig);
    if (m.paused)
        pause_or_go_on(0);
    /* A stopped process takes its signal when it goes on. */
    if (sig != SIGKILL)
        kill_init(SIGCONT);
    m.kill_at_ms = timeout_ms < 0 || sig == SIGKILL ? 0 : now_ms() + timeout_ms;
    if (timeout_ms == 0 && sig != SIGKILL)
        kill_init(SIGKILL);
}
