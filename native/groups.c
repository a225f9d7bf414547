/* The container's control groups: made, joined, asked about, removed. */
#include "wherry.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

/* A container that is started again (`again`) keeps its groups, and in them what `update` has changed meanwhile. */
int make_groups(const struct plan *plan, int status, int is_exec, int again)
{
    struct cursor c;
    struct op op;
    int v2 = -1;
    plan_rewind(plan, &c);
    while (plan_next(&c, &op)) {
        struct report r = {status, op.index};
        if (op.code == OP_CGROUP) {
            if (!is_exec && mkdir(op.f[1].s, 0755) && errno != EEXIST) {
                if (errno == ENOENT && op.f[2].s[0]) {
                    char parent[4096];
                    copy_text(parent, sizeof parent, op.f[2].s);
                    mkdir(parent, 0755);
                    if (mkdir(op.f[1].s, 0755) == 0 || errno == EEXIST)
                        goto there;
                }
                report_failed(status, r.op, errno, op.f[1].s);
                return -2;
            }
        there:
            if (op.f[0].i == 2 && v2 < 0)
                v2 = open(op.f[1].s, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        } else if (op.code == OP_CGROUP_SET && !again) {
            if (write_file_at(AT_FDCWD, op.f[0].s, op.f[1].s)) {
                if (!op.f[2].i) {
                    report_failed(status, r.op, errno, op.f[0].s);
                    return -2;
                }
                char text[512];
                size_t n = text_append(text, sizeof text, 0, "a limit is not in force on this host: ");
                text_append(text, sizeof text, n, op.f[0].s);
                report_warning(status, text);
            }
        }
    }
    return v2;
}

void join_v1_groups(const struct plan *plan, const struct report *report)
{
    struct cursor c;
    struct op op;
    char path[4096];
    plan_rewind(plan, &c);
    while (plan_next(&c, &op)) {
        if (op.code != OP_CGROUP || op.f[0].i != 1)
            continue;
        /* `tasks` moves the one thread that writes; `cgroup.procs` would wait for a grace period, 8 ms. */
        size_t n = text_append(path, sizeof path, 0, op.f[1].s);
        text_append(path, sizeof path, n, "/tasks");
        struct report r = {report->fd, op.index};
        if (write_file_at(AT_FDCWD, path, "0"))
            fail(&r, errno, op.f[1].s);
    }
}

static int file_says(const char *group, const char *file, const char *word)
{
    char path[4096], text[256];
    text_append(path, sizeof path, text_append(path, sizeof path, 0, group), file);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
    if (fd >= 0)
        close(fd);
    text[n < 0 ? 0 : n] = 0;
    return strstr(text, word) != NULL;
}

/* Stop all processes of the groups, or let them go on. Half a pause is none: if not all stand still in five seconds, all go on. */
int freeze_groups(const struct plan *plan, int on)
{
    struct cursor c;
    struct op op;
    char path[4096];
    plan_rewind(plan, &c);
    while (plan_next(&c, &op)) {
        if (op.code != OP_CGROUP || (op.f[0].i == 1 && !strstr(op.f[1].s, "/freezer/")))
            continue;
        int v2 = op.f[0].i == 2;
        const char *file = v2 ? "/cgroup.freeze" : "/freezer.state", *off = v2 ? "0" : "THAWED";
        text_append(path, sizeof path, text_append(path, sizeof path, 0, op.f[1].s), file);
        if (write_file_at(AT_FDCWD, path, on ? v2 ? "1" : "FROZEN" : off))
            return -1;
        for (int tries = 0; on && tries < 2500; tries++) {
            if (v2 ? file_says(op.f[1].s, "/cgroup.events", "frozen 1") : file_says(op.f[1].s, "/freezer.state", "FROZEN"))
                return 0;
            poll(NULL, 0, 2);
        }
        if (!on)
            return 0;
        write_file_at(AT_FDCWD, path, off);
        return errno = EBUSY, -1;
    }
    return errno = EOPNOTSUPP, -1;
}

/* The memory group's own count of kills. */
int64_t oom_kills(const struct plan *plan)
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
        int64_t count = 0;
        for (p = p ? p + 9 : text + got; *p >= '0' && *p <= '9'; p++)
            count = count * 10 + (*p - '0');
        if (count)
            return count;
    }
    return 0;
}

/* End what is left in the groups (a container in the host's pid namespace leaves its children) and remove them. */
void remove_groups(const struct plan *plan)
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

/* A descriptor that becomes readable when the kernel ends a process of the container for want of memory; -1 where there is none. */
int oom_watch(const struct plan *plan)
{
    struct cursor c;
    struct op op;
    char path[4096], text[64];
    plan_rewind(plan, &c);
    while (plan_next(&c, &op)) {
        if (op.code != OP_CGROUP)
            continue;
        size_t n = text_append(path, sizeof path, 0, op.f[1].s);
        if (op.f[0].i == 2) {
            text_append(path, sizeof path, n, "/memory.events");
            int fd = access(path, R_OK) ? -1 : inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
            if (fd >= 0 && inotify_add_watch(fd, path, IN_MODIFY) >= 0)
                return fd;
            if (fd >= 0)
                close(fd);
            continue;
        }
        if (!strstr(op.f[1].s, "/memory/"))
            continue;
        text_append(path, sizeof path, n, "/memory.oom_control");
        int control = open(path, O_RDONLY | O_CLOEXEC), fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
        size_t at = text_number(text, sizeof text, 0, fd);
        at = text_append(text, sizeof text, at, " ");
        text_number(text, sizeof text, at, control);
        text_append(path, sizeof path, n, "/cgroup.event_control");
        int bad = control < 0 || fd < 0 || write_file_at(AT_FDCWD, path, text);
        if (control >= 0)
            close(control);
        if (!bad)
            return fd;
        if (fd >= 0)
            close(fd);
        return -1;
    }
    return -1;
}

/* Whether the caller's group in a hierarchy (the line of /proc/self/cgroup that begins so) is another than its top. */
static int is_in_a_group(const char *text, const char *hierarchy)
{
    const char *p = strstr(text, hierarchy);
    return p && p[strlen(hierarchy)] == '/' && p[strlen(hierarchy) + 1] != '\n';
}

/* The group where the monitors live, beside that of the containers: a unit or a session of systemd's that ends takes all with it that
 * is in its group, and the containers' common limits are not the monitors'. Version 1: the caller joins it. Version 2: a descriptor for
 * the clone (joining would wait for a grace period). -1: the caller is in no group, or may not leave it. */
int monitors_group(const struct plan *plan)
{
    char text[4096];
    struct cursor c;
    struct op op;
    int fd = open("/proc/self/cgroup", O_RDONLY | O_CLOEXEC), v2 = -1;
    ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
    if (fd >= 0)
        close(fd);
    text[n < 0 ? 0 : n] = 0;
    if (is_in_a_group(text, "name=systemd:")) {
        mkdir("/sys/fs/cgroup/systemd/wherry-monitors", 0755);
        write_file_at(AT_FDCWD, "/sys/fs/cgroup/systemd/wherry-monitors/tasks", "0");
    }
    int leave = is_in_a_group(text, "0::");
    plan_rewind(plan, &c);
    while (leave && v2 < 0 && plan_next(&c, &op)) {
        if (op.code != OP_CGROUP || op.f[0].i != 2 || copy_text(text, sizeof text, op.f[1].s))
            continue;
        char *end = strrchr(text, '/'); /* …/wherry/<id> */
        if (!end)
            continue;
        text_append(text, sizeof text, (size_t)(end - text), "-monitors");
        mkdir(text, 0755);
        v2 = open(text, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    }
    return v2;
}
