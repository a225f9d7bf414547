/* The last steps before the payload: user, folder, privileges, exec. Privileges only ever go down from here. */
#include "wherry.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

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
    /* The caller's keys stay out. A user may have 200 keys (kernel.keys.maxkeys): then the monitor's ring, which is as empty, serves. */
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
    static char path[4096];
    if (!plan_find(plan, OP_DEFAULT_PATH_HINT, &op) || copy_text(path, sizeof path, op.f[0].s))
        copy_text(path, sizeof path, "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
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
    inner_limits(plan, r);
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
    /* The terminal is its user's, who may open it by its name. */
    for (int i = 0; i < 3; i++)
        if (isatty(i) && fchown(i, (uid_t)who.uid, (gid_t)-1))
            break;
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
    if (send_record(r->fd, SYNC_ALIVE, 0, NULL, 0, 0))
        _exit(125);
    if (chdir(folder))
        fail(&cwd_at, errno, folder);
    check_folder(folder, &cwd_at);
    if (plan_find(plan, OP_UMASK, &op))
        umask((mode_t)op.f[0].i);
    int e = resolve_program(argv[0], env, path, program, sizeof program);
    if (e)
        fail(&argv_at, e, argv[0]);
    if (nnp) {
        prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
        filters(plan, r);
    }
    sys_close_range(3, ~0u, 4 /* CLOSE_RANGE_CLOEXEC */);
    if (plan_find(plan, OP_INIT, &op))
        split_reaper(r);
    send_record(r->fd, SYNC_GOING, 0, NULL, 0, 0);
    execve(program, argv, env);
    fail(&argv_at, errno, argv[0]);
}
