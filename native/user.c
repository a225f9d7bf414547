/* Who the process is: docker's --user and --group-add, looked up in the container's own /etc/passwd and /etc/group. */
#include "wherry.h"
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define DATABASE_MAX (4u << 20)

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
void look_up(const char *spec, struct identity *who, const struct report *r)
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

void more_groups(const struct plan *plan, struct identity *who, const struct report *report)
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

void give_mounts(const struct plan *plan, const struct identity *who, const struct report *report)
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
