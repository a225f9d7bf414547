/* What a monitor leaves on disk for others: `state` while it lives, `exit` when it ends. docs/internals/monitor.md has the keys. */
#include "health.h"
#include "monitor.h"
#include "tree.h"
#include <fcntl.h>
#include <stdio.h> /* renameat */
#include <string.h>
#include <unistd.h>

static size_t key(char *to, size_t size, size_t at, const char *name, const char *value)
{
    at = text_append(to, size, at, name);
    at = text_append(to, size, at, "=");
    size_t from = at;
    at = text_append(to, size, at, value);
    for (; from < at; from++) /* a key is a line */
        if (to[from] == '\n')
            to[from] = ' ';
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

size_t state_text(char *to, size_t size)
{
    const char *status = m.running ? (m.stopping ? "stopping" : m.paused ? "paused" : "running") : "restarting";
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
    n = health_text(to, size, n);
    if (m.proc.plain_size && n + m.proc.plain_size < size) {
        memcpy(to + n, m.proc.plain, m.proc.plain_size);
        n += m.proc.plain_size;
        to[n] = 0;
    }
    return n;
}

static int replace_file(int dir, const char *temporary, const char *name, const char *text, size_t n, int sync)
{
    int fd = openat(dir, temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return -1;
    int bad = write_all(fd, text, n) || (sync && fsync(fd)) || renameat(dir, temporary, dir, name);
    if (!bad && sync)
        fsync(dir);
    close(fd);
    return bad ? -1 : 0;
}

void write_state(void)
{
    char text[4096];
    if (!m.exec)
        replace_file(m.run_fd, "state.tmp", "state", text, state_text(text, sizeof text), 0);
}

void write_exit(void)
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
    if (replace_file(m.state_fd, "exit.tmp", "exit", text, n, !m.remove)) {
        /* A full disk: what the store has put aside (store/reserve.py) is for this. */
        unlinkat(m.state_fd, "../../reserve", 0);
        replace_file(m.state_fd, "exit.tmp", "exit", text, n, !m.remove);
    }
}

void remove_state(void)
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

void remove_run_folder(void)
{
    static const char *const files[] = {"ctl", "state", "state.tmp", "plan", "health"};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        unlinkat(m.run_fd, files[i], 0);
    unlinkat(m.run_fd, "mnt", AT_REMOVEDIR);
    tree_remove(m.run_fd, "exec");
    int parent = openat(m.run_fd, "..", O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (parent >= 0)
        unlinkat(parent, m.id, AT_REMOVEDIR);
}
