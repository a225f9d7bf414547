/* The container's streams: output to the log and to whoever is attached, input from them. */
#include "monitor.h"
#include "log.h"
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

void unblock(int fd)
{
    if (fd >= 0)
        fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
}

void set_size(uint32_t rows, uint32_t columns)
{
    unsigned short size[4] = {(unsigned short)rows, (unsigned short)columns, 0, 0};
    if (m.tty && m.proc.stdio[1] >= 0 && rows && columns)
        ioctl(m.proc.stdio[1], TIOCSWINSZ, size);
}

int behind(void)
{
    int n = 0;
    for (int i = 0; i < CLIENTS; i++)
        n += m.clients[i].fd >= 0 && m.clients[i].behind;
    return n;
}

/* Pass the chunk in m.out on to whoever wants it. Those that can't take it now hold the container back. */
void pass_on(int only_behind)
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

void close_stream(int i)
{
    if (m.proc.stdio[i] >= 0)
        close(m.proc.stdio[i]);
    m.proc.stdio[i] = -1;
}

/* 1 when there may be more */
int read_output(int i)
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

int input_fd(void) { return m.proc.stdio[m.tty ? 1 : 0]; }

void write_input(void)
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

void take_input(const uint8_t *p, size_t n)
{
    if (input_fd() < 0 || !m.open_stdin)
        return;
    memcpy(m.in, p, n);
    m.in_at = 0, m.in_n = n;
    write_input();
}
