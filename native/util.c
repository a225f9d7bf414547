/* Small things that everything here needs; no stdio, no locale, no heap. */
#include "wherry.h"
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

size_t text_append(char *to, size_t size, size_t at, const char *s)
{
    while (*s && at + 1 < size)
        to[at++] = *s++;
    if (size)
        to[at] = 0;
    return at;
}

size_t text_number(char *to, size_t size, size_t at, int64_t n)
{
    char digits[24];
    int i = sizeof digits - 1;
    uint64_t u = n < 0 ? -(uint64_t)n : (uint64_t)n;
    digits[i] = 0;
    do
        digits[--i] = (char)('0' + u % 10);
    while (u /= 10);
    if (n < 0)
        digits[--i] = '-';
    return text_append(to, size, at, digits + i);
}

int copy_text(char *to, size_t size, const char *from)
{
    size_t n = strlen(from);
    if (n >= size)
        return -1;
    memcpy(to, from, n + 1);
    return 0;
}

int parse_number(const char *s, int64_t *out)
{
    int64_t n = 0;
    if (!*s)
        return -1;
    for (; *s; s++) {
        if (*s < '0' || *s > '9' || n > (INT64_MAX - 9) / 10)
            return -1;
        n = n * 10 + (*s - '0');
    }
    *out = n;
    return 0;
}

int write_all(int fd, const void *data, size_t n)
{
    const char *p = data;
    while (n) {
        ssize_t w = write(fd, p, n);
        if (w < 0) {
            if (errno == EINTR)
                continue;
            return -1;
        }
        p += w, n -= (size_t)w;
    }
    return 0;
}

int write_file_at(int dir, const char *path, const char *text)
{
    int fd = openat(dir, path, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return -1;
    size_t n = strlen(text);
    ssize_t w = write(fd, text, n);
    int e = errno;
    close(fd);
    errno = e;
    return w == (ssize_t)n ? 0 : -1;
}

int64_t start_time(pid_t pid)
{
    char path[40], buf[1024];
    size_t at = text_append(path, sizeof path, 0, "/proc/");
    at = text_number(path, sizeof path, at, pid);
    text_append(path, sizeof path, at, "/stat");
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return 0;
    ssize_t n = read(fd, buf, sizeof buf - 1);
    close(fd);
    if (n <= 0)
        return 0;
    buf[n] = 0;
    char *p = strrchr(buf, ')');
    if (!p)
        return 0;
    for (int field = 2; field < 22; field++) {
        p = strchr(p + 1, ' ');
        if (!p)
            return 0;
    }
    int64_t t = 0;
    for (p++; *p >= '0' && *p <= '9'; p++)
        t = t * 10 + (*p - '0');
    return t;
}

int64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_BOOTTIME, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static char *digits(char *to, int64_t n, int width)
{
    for (int i = width - 1; i >= 0; i--, n /= 10)
        to[i] = (char)('0' + n % 10);
    return to + width;
}

void now_text(char *to, size_t size)
{
    /* Civil date from days since 1970, by the usual era arithmetic: gmtime would pull in the C library's time zones. */
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    int64_t z = t.tv_sec / 86400 + 719468, day = t.tv_sec % 86400;
    int64_t era = z / 146097, doe = z - era * 146097;
    int64_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
    int64_t doy = doe - (365 * yoe + yoe / 4 - yoe / 100), mp = (5 * doy + 2) / 153;
    int64_t month = mp < 10 ? mp + 3 : mp - 9, year = yoe + era * 400 + (month <= 2);
    if (size < 31)
        return;
    char *p = digits(to, year, 4);
    *p++ = '-', p = digits(p, month, 2);
    *p++ = '-', p = digits(p, doy - (153 * mp + 2) / 5 + 1, 2);
    *p++ = 'T', p = digits(p, day / 3600, 2);
    *p++ = ':', p = digits(p, day / 60 % 60, 2);
    *p++ = ':', p = digits(p, day % 60, 2);
    *p++ = '.', p = digits(p, t.tv_nsec, 9);
    *p++ = 'Z', *p = 0;
}

void put32(uint8_t *to, uint32_t v)
{
    for (int i = 0; i < 4; i++)
        to[i] = (uint8_t)(v >> 8 * i);
}

void put64(uint8_t *to, int64_t v)
{
    for (int i = 0; i < 8; i++)
        to[i] = (uint8_t)((uint64_t)v >> 8 * i);
}

uint32_t get32(const uint8_t *p) { return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24; }

int64_t get64(const uint8_t *p) { return (int64_t)((uint64_t)get32(p) | (uint64_t)get32(p + 4) << 32); }

int send_record(int fd, int type, uint32_t tag, const void *payload, size_t n, int flags)
{
    uint8_t head[HEADER] = {(uint8_t)type, (uint8_t)(type >> 8), PROTOCOL, 0};
    put32(head + 4, tag);
    struct iovec parts[2] = {{head, HEADER}, {(void *)(uintptr_t)payload, n}};
    struct msghdr m = {.msg_iov = parts, .msg_iovlen = n ? 2 : 1};
    ssize_t w;
    do
        w = sendmsg(fd, &m, MSG_NOSIGNAL | flags);
    while (w < 0 && errno == EINTR);
    return w < 0 ? -1 : 0;
}

int send_fd(int sock, int fd)
{
    char byte = 'f';
    struct iovec part = {&byte, 1};
    union { struct cmsghdr h; char space[CMSG_SPACE(sizeof(int))]; } c;
    memset(&c, 0, sizeof c);
    struct msghdr m = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = &c, .msg_controllen = sizeof c.space};
    struct cmsghdr *h = CMSG_FIRSTHDR(&m);
    h->cmsg_level = SOL_SOCKET, h->cmsg_type = SCM_RIGHTS, h->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(h), &fd, sizeof fd);
    return sendmsg(sock, &m, MSG_NOSIGNAL) == 1 ? 0 : -1;
}

/* A record without payload, and at most two descriptors. */
int send_record_fds(int fd, int type, const int *fds, int count)
{
    uint8_t head[HEADER] = {(uint8_t)type, (uint8_t)(type >> 8), PROTOCOL, 0};
    struct iovec part = {head, HEADER};
    union { struct cmsghdr h; char space[CMSG_SPACE(2 * sizeof(int))]; } c;
    memset(&c, 0, sizeof c);
    if (count > 2)
        return errno = EINVAL, -1;
    struct msghdr m = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = &c, .msg_controllen = CMSG_SPACE((size_t)count * sizeof(int))};
    struct cmsghdr *h = CMSG_FIRSTHDR(&m);
    h->cmsg_level = SOL_SOCKET, h->cmsg_type = SCM_RIGHTS, h->cmsg_len = CMSG_LEN((size_t)count * sizeof(int));
    memcpy(CMSG_DATA(h), fds, (size_t)count * sizeof(int));
    return sendmsg(fd, &m, MSG_NOSIGNAL) == HEADER ? 0 : -1;
}

int recv_fd(int sock)
{
    char byte;
    int fd = -1;
    struct iovec part = {&byte, 1};
    union { struct cmsghdr h; char space[CMSG_SPACE(sizeof(int))]; } c;
    struct msghdr m = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = &c, .msg_controllen = sizeof c.space};
    ssize_t n;
    do
        n = recvmsg(sock, &m, MSG_CMSG_CLOEXEC);
    while (n < 0 && errno == EINTR);
    struct cmsghdr *h = n > 0 ? CMSG_FIRSTHDR(&m) : NULL;
    if (h && h->cmsg_level == SOL_SOCKET && h->cmsg_type == SCM_RIGHTS)
        memcpy(&fd, CMSG_DATA(h), sizeof fd);
    return fd;
}

void forget(void *p, size_t n)
{
    uintptr_t from = ((uintptr_t)p + 4095) & ~(uintptr_t)4095, to = ((uintptr_t)p + n) & ~(uintptr_t)4095;
    if (from < to)
        madvise((void *)from, to - from, MADV_DONTNEED);
}

/* Close every descriptor from `first` up but those in keep[] (any order). */
int close_from(int first, const int *keep, int keeps)
{
    for (;;) {
        int next = -1;
        for (int i = 0; i < keeps; i++)
            if (keep[i] >= first && (next < 0 || keep[i] < next))
                next = keep[i];
        if (next < 0) {
            if (sys_close_range((unsigned)first, ~0u, 0) == 0)
                return 0;
            for (int fd = first; fd < 65536; fd++)
                close(fd);
            return 0;
        }
        if (next > first && sys_close_range((unsigned)first, (unsigned)next - 1, 0) < 0)
            for (int fd = first; fd < next; fd++)
                close(fd);
        first = next + 1;
    }
}

int sys_pidfd_open(pid_t pid) { return (int)syscall(434, pid, 0); }
int sys_pidfd_send_signal(int fd, int sig) { return (int)syscall(424, fd, sig, NULL, 0); }
int sys_open_tree(int dir, const char *path, unsigned flags) { return (int)syscall(428, dir, path, flags); }
int sys_move_mount(int from, const char *fp, int to, const char *tp, unsigned flags)
{
    return (int)syscall(429, from, fp, to, tp, flags);
}
int sys_fsopen(const char *fs, unsigned flags) { return (int)syscall(430, fs, flags); }
int sys_fsconfig(int fd, unsigned cmd, const char *key, const void *value, int aux)
{
    return (int)syscall(431, fd, cmd, key, value, aux);
}
int sys_fsmount(int fd, unsigned flags, unsigned attrs) { return (int)syscall(432, fd, flags, attrs); }
int sys_close_range(unsigned first, unsigned last, unsigned flags) { return (int)syscall(436, first, last, flags); }
int sys_mount_setattr(int dir, const char *path, unsigned flags, const struct mount_attr_ *attr)
{
    return (int)syscall(442, dir, path, flags, attr, sizeof *attr);
}
int sys_openat2(int dir, const char *path, uint64_t flags, uint64_t mode, uint64_t resolve)
{
    struct { uint64_t flags, mode, resolve; } how = {flags, mode, resolve};
    return (int)syscall(437, dir, path, &how, sizeof how);
}
pid_t sys_clone3_into(uint64_t flags, int cgroup_fd, int *pidfd)
{
    struct { uint64_t flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls, set_tid, set_tid_size, cgroup; } a;
    memset(&a, 0, sizeof a);
    a.flags = flags | (cgroup_fd >= 0 ? 0x200000000ull : 0) | (pidfd ? 0x1000 : 0);
    a.exit_signal = 17;
    a.pidfd = (uint64_t)(uintptr_t)pidfd;
    a.cgroup = cgroup_fd >= 0 ? (uint64_t)cgroup_fd : 0;
    return (pid_t)syscall(435, &a, cgroup_fd >= 0 ? sizeof a : 64);
}

static struct { int fd, is, op, err; char detail[4096]; } held = {.fd = -2};

void report_hold(int fd) { held.fd = fd, held.is = 0; }

void report_release(void)
{
    int fd = held.fd;
    held.fd = -2;
    if (held.is)
        report_failed(fd, held.op, held.err, held.detail);
}

const char *report_held(void) { return held.is ? held.detail : ""; }

void report_failed(int fd, int op, int err, const char *detail)
{
    uint8_t p[20 + sizeof held.detail];
    size_t n = strlen(detail);
    if (n >= sizeof held.detail)
        n = sizeof held.detail - 1;
    if (fd == held.fd && !held.is) {
        held.is = 1, held.op = op, held.err = err;
        memcpy(held.detail, detail, n);
        held.detail[n] = 0;
    }
    if (fd < 0 || fd == held.fd)
        return;
    put64(p, op), put64(p + 8, err), put32(p + 16, (uint32_t)n);
    memcpy(p + 20, detail, n);
    send_record(fd, 2, 0, p, 20 + n, 0);
}

void report_warning(int fd, const char *text)
{
    uint8_t p[4 + 1024];
    size_t n = strlen(text);
    if (n > 1024)
        n = 1024;
    put32(p, (uint32_t)n);
    memcpy(p + 4, text, n);
    if (fd >= 0)
        send_record(fd, 3, 0, p, 4 + n, MSG_DONTWAIT);
}

_Noreturn void fail(const struct report *r, int err, const char *detail)
{
    report_failed(r->fd, r->op, err, detail);
    _exit(125);
}
