/* Where a container's lines go beside its log file: journald or syslog, by datagrams of theirs. */
#include "log.h"
#include "wherry.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

enum { PATIENCE_MS = 1000, ERR_LEVEL = 3, INFO_LEVEL = 6 };

static struct {
    int fd, journal, in_haste;
    int64_t facility;
    struct sockaddr_un address;
    size_t n;
    char fields[4096];
} to = {.fd = -1};

int log_to_open(const struct op *op)
{
    const uint8_t *at = NULL;
    uint32_t left;
    to.journal = !strcmp(op->f[0].s, "journald");
    to.address.sun_family = AF_UNIX;
    if (copy_text(to.address.sun_path, sizeof to.address.sun_path, op->f[1].s))
        return errno = ENAMETOOLONG, -1;
    for (const char *s; (s = list_next(&op->f[2], &at, &left));) {
        to.n = text_append(to.fields, sizeof to.fields, to.n, s);
        if (to.journal)
            to.n = text_append(to.fields, sizeof to.fields, to.n, "\n");
    }
    to.facility = op->f[3].i, to.in_haste = op->f[4].i == 1;
    to.fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    return to.fd < 0 ? -1 : 0;
}

/* The address is looked up each time: a service that was started again is found again. One that takes nothing holds the container
 * back for a moment a line, and then the line is in the file only. */
static void send_parts(struct iovec *parts, size_t count)
{
    struct msghdr message = {.msg_name = &to.address, .msg_namelen = sizeof to.address, .msg_iov = parts, .msg_iovlen = count};
    if (sendmsg(to.fd, &message, MSG_NOSIGNAL) >= 0 || errno != EAGAIN || to.in_haste)
        return;
    struct pollfd w = {to.fd, POLLOUT, 0};
    if (poll(&w, 1, PATIENCE_MS) > 0)
        sendmsg(to.fd, &message, MSG_NOSIGNAL);
}

void log_to_line(int stream, const char *text, size_t n)
{
    char head[32];
    uint8_t size[8];
    size_t at;
    int level = stream ? ERR_LEVEL : INFO_LEVEL;
    if (to.fd < 0)
        return;
    if (n && text[n - 1] == '\n')
        n--;
    if (to.journal) {
        /* The form with a length: a line may hold anything. */
        at = text_append(head, sizeof head, 0, "PRIORITY=");
        at = text_number(head, sizeof head, at, level);
        at = text_append(head, sizeof head, at, "\nMESSAGE\n");
        put64(size, (int64_t)n);
        struct iovec parts[] = {{to.fields, to.n}, {head, at}, {size, 8}, {(void *)(uintptr_t)text, n}, {(void *)(uintptr_t)"\n", 1}};
        send_parts(parts, 5);
        return;
    }
    at = text_append(head, sizeof head, 0, "<");
    at = text_number(head, sizeof head, at, to.facility * 8 + level);
    at = text_append(head, sizeof head, at, ">");
    struct iovec parts[] = {{head, at}, {to.fields, to.n}, {(void *)(uintptr_t)text, n}};
    send_parts(parts, 3);
}
