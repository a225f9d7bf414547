/* The last steps before the payload: user, folder, privileges, exec. Privileges only ever go down from here. */
#include "wherry.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define DATABASE_MAX (4u << 20)
#define GROUPS_MAX 1024

struct identity {
    int64_t uid, gid;
    char home[1024];
    gid_t groups[GROUPS_MAX];
    int count;
};

/* A text file of the container, by descriptor: a plain file only, so that a device or a FIFO can't hold us, and not endless. */
static const char *read_database(const char *path, size_t *size)
{
    struct stat st;
    *size = 0;
    int fd = sys_openat2(AT_FDCWD, path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC, 0, 2 /* RESOLVE_NO_MAGICLINKS */);
    if (fd < 0)
        return NULL;
    if (fstat(fd, &st) || !S_ISREG(st.st_mode)) {
        close(fd);
        return NULL;
    }
    char *data = mmap(NULL, DATABASE_MAX + 1, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    size_t got = 0;
    while (data != MAP_FAILED && got < DATABASE_MAX) {
        ssize_t n = read(fd, data + got, DATABASE_MAX - got);
        if (n <= 0)
            break;
        got += (size_t)n;
    }
    close(fd);
    *size = got;
    return data == MAP_FAILED ? NULL : data;
}

struct line { const char *f[7]; size_t n[7]; int count; };

static int next_line(const char **at, const char *end, struct line *out)
{
    if (*at >= end)
        return 0;
    const char *stop = memchr(*at, '\n', (size_t)(end - *at));
    if (!stop)
        stop = end;
    out->count = 0;
    const char *p = *at;
    while (out->count < 7) {
        const char *colon = memchr(p, ':', (size_t)(stop - p));
        out->f[out->count] = p;
        out->n[out->count++] = (size_t)((colon ? colon : stop) - p);
        if (!colon)
            break;
        p = colon + 1;
    }
    *at = stop + 1;
    return 1;
}

static int same(const struct line *l, int field, const char *text, size_t n)
{
    return field < l->count && l->n[field] == n && !memcmp(l->f[field], text, n);
}

static int64_t number(const char *s, size_t n)
{
    int64_t v = 0;
    if (!n || n > 10)
        return -1;
    for (size_t i = 0; i < n; i++) {
        if (s[i] < '0' || s[i] > '9')
            return -1;
        v = v * 10 + (s[i] - '0');
    }
    return v <= 2147483647 ? v : -1;
}

static void add_group(struct identity *who, int64_t gid)
{
    for (int i = 0; i < who->count; i++)
        if (who->groups[i] == (gid_t)gid)
            return;
    if (who->count < GROUPS_MAX && gid >= 0)
        who->groups[who->count++] = (gid_t)gid;
}

static int member(const struct line *l, const char *name, size_t n)
{
    if (l->count < 4)
        return 0;
    const char *p = l->f[3], *end = p + l->n[3];
    while (p < end) {
        const char *comma = memchr(p, ',', (size_t)(end - p));
        size_t len = (size_t)((comma ? comma : end) - p);
        if (len == n && !memcmp(p, name, n))
            return 1;
        p += len + 1;
    }
    return 0;
}

static void no_entry(char *to, size_t size, const char *kind, const char *name, size_t n, const char *file)
{
    char text[256];
    if (n >= sizeof text)
        n = sizeof text - 1;
    memcpy(text, name, n);
    text[n] = 0;
    size_t at = text_append(to, size, 0, "unable to find ");
    at = text_append(to, size, at, kind);
    at = text_append(to, size, at, " ");
    at = text_append(to, size, at, text);
    at = text_append(to, size, at, ": no matching entries in ");
    at = text_append(to, size, at, file);
    text_append(to, size, at, " file");
}

static int64_t find_group(const char *data, size_t size, const char *name, size_t n)
{
    struct line l;
    const char *at = data;
    while (data && next_line(&at, data + size, &l))
        if (same(&l, 0, name, n) && l.count > 2 && number(l.f[2], l.n[2]) >= 0)
            return number(l.f[2], l.n[2]);
    return number(name, n);
}

/* docker's --user, "name|uid[:group|gid]", looked up in the container's own files. */
static void look_up(const char *spec, struct identity *who, const struct report *r)
{
    static char why[512];
    size_t passwd_size, group_size;
    const char *passwd = read_database("/etc/passwd", &passwd_size), *group = read_database("/etc/group", &group_size);
    const char *colon = strchr(spec, ':');
    size_t n = colon ? (size_t)(colon - spec) : strlen(spec);
    const char *user = n ? spec : "0", *user_name = NULL;
    size_t user_name_n = 0;
    if (!n)
        n = 1;
    who->uid = who->gid = -1;
    copy_text(who->home, sizeof who->home, "/");
    struct line l;
    const char *at = passwd;
    int64_t as_number = number(user, n);
    while (passwd && next_line(&at, passwd + passwd_size, &l)) {
        if (l.count < 4 || number(l.f[2], l.n[2]) < 0)
            continue;
        if (!same(&l, 0, user, n) && !(as_number >= 0 && number(l.f[2], l.n[2]) == as_number))
            continue;
        who->uid = number(l.f[2], l.n[2]);
        who->gid = number(l.f[3], l.n[3]);
        user_name = l.f[0], user_name_n = l.n[0];
        if (l.count > 5 && l.n[5] && l.n[5] < sizeof who->home) {
            memcpy(who->home, l.f[5], l.n[5]);
            who->home[l.n[5]] = 0;
        }
        break;
    }
    if (who->uid < 0) {
        if (as_number < 0) {
            no_entry(why, sizeof why, "user", user, n, "passwd");
            fail(r, 0, why);
        }
        who->uid = as_number, who->gid = 0;
    }
    if (who->gid < 0)
        who->gid = 0;
    /* The user's own group first, as docker has it since CVE-2022-36109: a group that denies must not be shed. */
    add_group(who, who->gid);
    if (colon && colon[1]) {
        who->count = 0;
        who->gid = find_group(group, group_size, colon + 1, strlen(colon + 1));
        if (who->gid < 0) {
            no_entry(why, sizeof why, "group", colon + 1, strlen(colon + 1), "group");
            fail(r, 0, why);
        }
        add_group(who, who->gid);
    } else if (user_name) {
        at = group;
        while (group && next_line(&at, group + group_size, &l))
            if (l.count > 3 && member(&l, user_name, user_name_n))
                add_group(who, number(l.f[2], l.n[2]));
    }
}

static void more_groups(const struct plan *plan, struct identity *who, const struct report *report)
{
    static char why[512];
    struct op op;
    if (plan_find(plan, OP_USER, &op))
        for (uint32_t i = 0; i < op.f[1].len; i++)
            add_group(who, list_int(&op.f[1], i));
    if (!plan_find(plan, OP_GROUPS, &op))
        return;
    struct report r = {report->fd, op.index};
    size_t size;
    const char *group = read_database("/etc/group", &size);
    const uint8_t *at = NULL;
    uint32_t left;
    for (const char *s; (s = list_next(&op.f[0], &at, &left));) {
        int64_t gid = find_group(group, size, s, strlen(s));
        if (gid < 0) {
            no_entry(why, sizeof why, "group", s, strlen(s), "group");
            fail(&r, 0, why);
        }
        add_group(who, gid);
    }
}

/* A tree, everything in it, to the process's user; nothing is followed. */
static void give_tree(int dir, const char *name, const struct identity *who)
{
    int fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    fchownat(dir, name, (uid_t)who->uid, (gid_t)who->gid, AT_SYMLINK_NOFOLLOW);
    if (fd < 0)
        return;
    char block[4096];
    long n;
    while ((n = syscall(SYS_getdents64, fd, block, sizeof block)) > 0)
        for (long at = 0; at < n;) {
            unsigned short length;
            memcpy(&length, block + at + 16, sizeof length);
            const char *entry = block + at + 19;
            if (strcmp(entry, ".") && strcmp(entry, ".."))
                give_tree(fd, entry, who);
            at += length;
        }
    close(fd);
}

static void give_mounts(const struct plan *plan, const struct identity *who, const struct report *report)
{
    struct cursor c;
    struct op op;
    plan_rewind(plan, &c);
    while (plan_next(&c, &op)) {
        if (op.code != OP_CHOWN)
            continue;
        struct report r = {report->fd, op.index};
        struct stat st;
        give_tree(AT_FDCWD, op.f[0].s, who);
        if (lstat(op.f[0].s, &st) || st.st_uid != (uid_t)who->uid)
            fail(&r, EPERM, op.f[0].s);
    }
}

static void set_rlimits(const struct plan *plan, const struct report *report)
{
    struct cursor c;
    struct op op;
    plan_rewind(plan, &c);
    while (plan_next(&c, &op)) {
        struct report r = {report->fd, op.index};
        if (op.code == OP_OOM_SCORE_ADJ) {
            char text[24];
            text_number(text, sizeof text, 0, op.f[0].i);
            if (write_file_at(AT_FDCWD, "/proc/self/oom_score_adj", text))
                report_warning(report->fd, "the OOM score can't be lowered by this user: --oom-score-adj is not in force");
        }
        if (op.code != OP_RLIMIT)
            continue;
        struct rlimit limit = {op.f[1].i < 0 ? RLIM_INFINITY : (rlim_t)op.f[1].i, op.f[2].i < 0 ? RLIM_INFINITY : (rlim_t)op.f[2].i}, old;
        if (setrlimit((int)op.f[0].i, &limit) == 0)
            continue;
        if (errno != EPERM || getrlimit((int)op.f[0].i, &old))
            fail(&r, errno, "setrlimit");
        /* No more than the caller may: clamp to its hard limit, and say so. */
        limit.rlim_max = old.rlim_max;
        if (limit.rlim_cur > limit.rlim_max)
            limit.rlim_cur = limit.rlim_max;
        if (setrlimit((int)op.f[0].i, &limit))
            fail(&r, errno, "setrlimit");
        report_warning(report->fd, "a --ulimit is above this user's own hard limit and was lowered to it");
    }
}

void outer_limits(const struct plan *plan, const struct report *r)
{
    set_rlimits(plan, r);
}

static void change_folder(const char *path, int make, const struct report *r)
{
    if (make && chdir(path) && errno == ENOENT) {
        char part[4096];
        mode_t old = umask(0022);
        if (copy_text(part, sizeof part, path))
            fail(r, ENAMETOOLONG, path);
        for (char *p = part + 1; *p; p++)
            if (*p == '/') {
                *p = 0;
                mkdir(part, 0755);
                *p = '/';
            }
        if (mkdir(part, 0755) && errno != EEXIST)
            fail(r, errno, path);
        umask(old);
    }
    if (chdir(path) && errno != EACCES)
        fail(r, errno, path);
}

/* A folder of the host that a leaked descriptor or /proc/self/fd named would show as "(unreachable)" (CVE-2024-21626). */
static void check_folder(const char *path, const struct report *r)
{
    char here[4096];
    long n = syscall(SYS_getcwd, here, sizeof here);
    if (n <= 0 || here[0] != '/')
        fail(r, ENOENT, path);
}

static void drop_bounding(uint64_t keep, int last)
{
    for (int cap = 0; cap <= last; cap++)
        if (!(keep >> cap & 1))
            prctl(PR_CAPBSET_DROP, cap, 0, 0, 0);
}

static int last_cap(void)
{
    int cap = 0;
    while (cap < 63 && prctl(PR_CAPBSET_READ, cap + 1, 0, 0, 0) >= 0)
        cap++;
    return cap;
}

static int set_caps(uint64_t effective, uint64_t permitted, uint64_t inheritable)
{
    struct __user_cap_header_struct h = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct d[2] = {
        {(uint32_t)effective, (uint32_t)permitted, (uint32_t)inheritable},
        {(uint32_t)(effective >> 32), (uint32_t)(permitted >> 32), (uint32_t)(inheritable >> 32)},
    };
    return (int)syscall(SYS_capset, &h, d);
}

static void filters(const struct plan *plan, const struct report *report)
{
    struct cursor c;
    struct op op;
    plan_rewind(plan, &c);
    while (plan_next(&c, &op)) {
        if (op.code != OP_SECCOMP)
            continue;
        struct report r = {report->fd, op.index};
        struct sock_fprog program = {(unsigned short)(op.f[0].len / 8), (struct sock_filter *)(uintptr_t)op.f[0].raw};
        if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, op.f[1].i, &program))
            fail(&r, errno, "seccomp");
    }
}

static int is_executable(const char *path)
{
    struct stat st;
    if (stat(path, &st))
        return errno;
    if (S_ISDIR(st.st_mode))
        return EISDIR;
    return access(path, X_OK) ? errno : 0;
}

/* The file that argv[0] means by the container's PATH. Its errno is that of the best candidate. */
static int resolve_program(const char *name, char **env, const char *hint, char *to, size_t size)
{
    if (strchr(name, '/')) {
        if (copy_text(to, size, name))
            return ENAMETOOLONG;
        return is_executable(to);
    }
    const char *path = NULL;
    for (char **e = env; *e; e++)
        if (!strncmp(*e, "PATH=", 5))
            path = *e + 5;
    if (!path)
        path = hint;
    int best = ENOENT;
    for (const char *p = path;; p++) {
        size_t n = strcspn(p, ":");
        if (n + strlen(name) + 2 < size) {
            memcpy(to, p, n);
            to[n] = '/';
            memcpy(to + n + 1, name, strlen(name) + 1);
            int e = is_executable(n ? to : name);
            if (!e)
                return 0;
            if (e == EACCES)
                best = EACCES;
        }
        p += n;
        if (!*p)
            return best;
    }
}

static char **words(const struct field *list, const char *extra)
{
    size_t bytes = 0;
    const uint8_t *p = list->raw;
    for (uint32_t i = 0; i < list->len; i++)
        bytes += get32(p) + 1, p += 4 + get32(p);
    size_t table = (list->len + 2) * sizeof(char *);
    char **out = mmap(NULL, table + bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (out == MAP_FAILED)
        return NULL;
    char *text = (char *)out + table;
    p = list->raw;
    uint32_t n = 0;
    for (uint32_t i = 0; i < list->len; i++) {
        uint32_t len = get32(p);
        memcpy(text, p + 4, len);
        text[len] = 0;
        out[n++] = text;
        text += len + 1, p += 4 + len;
    }
    if (extra)
        out[n++] = (char *)(uintptr_t)extra;
    out[n] = NULL;
    return out;
}

static int has_home(char **env)
{
    for (; *env; env++)
        if (!strncmp(*env, "HOME=", 5) && (*env)[5])
            return 1;
    return 0;
}

/* --init: reap everything, pass signals on, end as the payload ended. */
static _Noreturn void reap(pid_t payload, const sigset_t *all)
{
    for (;;) {
        int sig = sigwaitinfo(all, NULL);
        if (sig > 0 && sig != SIGCHLD) {
            kill(payload, sig);
            continue;
        }
        int status;
        for (pid_t pid; (pid = waitpid(-1, &status, WNOHANG)) > 0;)
            if (pid == payload)
                _exit(WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
    }
}

/* The reaper as a program: `init PID`, executed by the container's first process, which has the payload as its child already. */
int cmd_init(int argc, char **argv)
{
    int64_t payload;
    sigset_t all;
    if (argc < 1 || parse_number(argv[0], &payload) || payload < 1)
        return 125;
    sigfillset(&all);
    sigprocmask(SIG_BLOCK, &all, NULL);
    prctl(PR_SET_NAME, "wherry-init");
    close_from(0, NULL, 0);
    reap((pid_t)payload, &all);
}

static int reaper_image = -1;

/* A sealed copy of this program in memory for the reaper, made while the host's file is in sight. It must execute something: until
 * its first exec a process of ours is undumpable and belongs to the host's user namespace, so that no `exec` could join it. And it
 * must not be the host's file, which an ordinary user's container would hold by /proc/1/exe as its owner (CVE-2019-5736). */
void reaper_prepare(void)
{
    int self = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    int fd = (int)syscall(SYS_memfd_create, "wherry-init", 1 | 2 | 0x10 /* CLOEXEC, ALLOW_SEALING, EXEC */);
    if (fd < 0 && errno == EINVAL) /* before 6.3 */
        fd = (int)syscall(SYS_memfd_create, "wherry-init", 1 | 2);
    ssize_t n = 1;
    while (self >= 0 && fd >= 0 && n > 0)
        n = sendfile(fd, self, NULL, 1 << 20);
    if (self >= 0)
        close(self);
    if (fd >= 0 && (self < 0 || n < 0 || fcntl(fd, 1033 /* F_ADD_SEALS */, 15 /* SEAL, SHRINK, GROW, WRITE */)))
        close(fd), fd = -1;
    reaper_image = fd;
}

/* Fork the payload, which returns; the first process becomes the reaper, with the payload's own rights and filter. */
static void split_reaper(const struct report *r)
{
    sigset_t all, old;
    sigfillset(&all);
    sigprocmask(SIG_BLOCK, &all, &old);
    pid_t pid = fork();
    if (pid < 0)
        fail(r, errno, "fork");
    if (pid == 0) {
        sigprocmask(SIG_SETMASK, &old, NULL);
        if (isatty(0)) {
            setpgid(0, 0);
            signal(SIGTTOU, SIG_IGN);
            tcsetpgrp(0, getpid());
            signal(SIGTTOU, SIG_DFL);
        }
        return;
    }
    char number[24];
    text_number(number, sizeof number, 0, pid);
    char *argv[] = {(char *)"wherry-init", (char *)"init", number, NULL}, *env[] = {NULL};
    if (reaper_image >= 0)
        syscall(SYS_execveat, reaper_image, "", argv, env, 0x1000 /* AT_EMPTY_PATH */);
    /* A filter of the user's own that knows no execveat: the reaper works without, only nobody can join it. */
    close_from(0, NULL, 0);
    reap(pid, &all);
}

/* Root may have less than everything itself, in a container or a restricted service: nobody can be given more. */
static uint64_t own_caps(void)
{
    struct __user_cap_header_struct h = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct d[2];
    if (syscall(SYS_capget, &h, d))
        return ~(uint64_t)0;
    return d[0].permitted | (uint64_t)d[1].permitted << 32;
}

_Noreturn void become(const struct plan *plan, int slave, int proc, struct report *r)
{
    static struct identity who;
    static char program[4096], home[1100];
    struct op op, user, caps;
    if (plan_find(plan, OP_KEYRING, &op))
        syscall(SYS_keyctl, 1 /* JOIN_SESSION_KEYRING */, NULL);
    if (slave >= 0) {
        if (setsid() < 0 && errno != EPERM)
            fail(r, errno, "setsid");
        dup2(slave, 0), dup2(slave, 1), dup2(slave, 2);
        ioctl(0, 0x540E /* TIOCSCTTY */, 0);
        if (slave > 2)
            close(slave);
    }
    int has_user = plan_find(plan, OP_USER, &user);
    struct report at = {r->fd, has_user ? user.index : -1};
    look_up(has_user ? user.f[0].s : "", &who, &at);
    more_groups(plan, &who, r);
    give_mounts(plan, &who, r);
    struct op cwd = {0}, argv_op, env_op;
    struct report cwd_at = {r->fd, -1};
    int has_cwd = plan_find(plan, OP_CWD, &cwd);
    cwd_at.op = cwd.index;
    static char folder[4096];
    copy_text(folder, sizeof folder, has_cwd && cwd.f[0].s[0] ? cwd.f[0].s : "/");
    change_folder(folder, has_cwd && cwd.f[1].i, &cwd_at);
    plan_find(plan, OP_ENV, &env_op);
    char **env = words(&env_op.f[0], NULL);
    if (env && !has_home(env)) {
        text_append(home, sizeof home, text_append(home, sizeof home, 0, "HOME="), who.home);
        char **to = env;
        for (char **e = env; *e; e++)
            if (strncmp(*e, "HOME=", 5))
                *to++ = *e;
        *to = NULL;
        env = words(&env_op.f[0], home);
        for (to = env; *to; to++)
            if (!strcmp(*to, "HOME=")) {
                char **last = to;
                for (; last[1]; last++)
                    *last = last[1];
                *last = NULL;
                break;
            }
    }
    int has_argv = plan_find(plan, OP_ARGV, &argv_op);
    struct report argv_at = {r->fd, has_argv ? argv_op.index : -1};
    char **argv = has_argv ? words(&argv_op.f[0], NULL) : NULL;
    if (!env || !argv || !argv[0])
        fail(&argv_at, EINVAL, "no command");
    if (plan_find(plan, OP_LSM_EXEC, &op)) {
        struct report lsm = {r->fd, op.index};
        char text[512];
        text_append(text, sizeof text, text_append(text, sizeof text, 0, !strcmp(op.f[0].s, "apparmor") ? "exec " : ""), op.f[1].s);
        int fd = sys_openat2(proc, "thread-self/attr/exec", O_WRONLY | O_CLOEXEC, 0, 8 | 1);
        if (fd < 0 || write(fd, text, strlen(text)) < 0)
            fail(&lsm, errno, op.f[1].s);
        close(fd);
    }
    if (proc >= 0)
        close(proc);
    int nnp = plan_find(plan, OP_NO_NEW_PRIVS, &op);
    uint64_t own = own_caps();
    /* Without no_new_privs a filter needs CAP_SYS_ADMIN, so it comes before the privileges go; with it, last. */
    if (!nnp)
        filters(plan, r);
    int with_caps = plan_find(plan, OP_CAPS, &caps);
    struct report caps_at = {r->fd, with_caps ? caps.index : -1};
    if (with_caps)
        drop_bounding((uint64_t)caps.f[0].i, last_cap());
    prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0);
    /* Where setgroups is denied (a single id) there are no groups to set. */
    if (syscall(SYS_setgroups, who.count, who.groups) && errno != EPERM)
        fail(&at, errno, "setgroups");
    if (syscall(SYS_setresgid, who.gid, who.gid, who.gid))
        fail(&at, errno, "the group has no id in this container");
    if (syscall(SYS_setresuid, who.uid, who.uid, who.uid))
        fail(&at, errno, "the user has no id in this container");
    prctl(PR_SET_KEEPCAPS, 0, 0, 0, 0);
    if (with_caps) {
        uint64_t effective = (uint64_t)caps.f[1].i & own, permitted = (uint64_t)caps.f[2].i & own;
        uint64_t inheritable = (uint64_t)caps.f[3].i & own, ambient = (uint64_t)caps.f[4].i & own;
        /* Another user than root keeps none, as docker: exec would drop them anyway; they must not be seen before it. */
        if (who.uid != 0)
            permitted = ambient;
        if (set_caps(who.uid ? ambient : effective, permitted, inheritable))
            fail(&caps_at, errno, "capset");
        prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
        for (int cap = 0; cap < 64; cap++)
            if (ambient >> cap & 1)
                prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, cap, 0, 0);
    }
    /* A change of ids cleared it; had M died in between, nobody would read this. */
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (send_record(r->fd, 13, 0, NULL, 0, 0))
        _exit(125);
    if (chdir(folder))
        fail(&cwd_at, errno, folder);
    check_folder(folder, &cwd_at);
    if (plan_find(plan, OP_UMASK, &op))
        umask((mode_t)op.f[0].i);
    int e = resolve_program(argv[0], env, "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", program, sizeof program);
    if (e)
        fail(&argv_at, e, argv[0]);
    if (nnp) {
        prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
        filters(plan, r);
    }
    sys_close_range(3, ~0u, 4 /* CLOSE_RANGE_CLOEXEC */);
    if (plan_find(plan, OP_INIT, &op))
        split_reaper(r);
    execve(program, argv, env);
    fail(&argv_at, errno, argv[0]);
}
