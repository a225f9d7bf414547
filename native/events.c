/* Events: a line of docker's JSON for each, appended to <root>/events.log by whoever makes it happen. docs/internals/events.md.
 * What a container is called lies in its folder (`attrs`: the image as a JSON text, then members of an object), so that a monitor
 * knows nothing of names that change. */
#include "monitor.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h> /* renameat */
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { ATTRS = 64 * 1024, LINE = ATTRS + 4096, LOG_BYTES = 1024 * 1024 };

/* One of those who find the log too long sets it aside; the lock and the second look keep a second one from doing it again. */
static void rotate(int root, int fd)
{
    struct stat mine, there;
    if (flock(fd, LOCK_EX | LOCK_NB) || fstat(fd, &mine) || fstatat(root, "events.log", &there, AT_SYMLINK_NOFOLLOW)
        || mine.st_ino != there.st_ino)
        return;
    renameat(root, "events.log.1", root, "events.log.2");
    renameat(root, "events.log", root, "events.log.1");
}

static void append(int root, const char *line, size_t n)
{
    struct stat st;
    for (int tries = 0; tries < 2; tries++) {
        int fd = openat(root, "events.log", O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
        if (fd < 0)
            return;
        if (tries == 0 && fstat(fd, &st) == 0 && st.st_size > LOG_BYTES) {
            rotate(root, fd);
            close(fd);
            continue;
        }
        ssize_t ignored = write(fd, line, n); /* on a full disk an event is lost, nothing else */
        (void)ignored;
        close(fd);
        return;
    }
}

/* `extra`: more attributes, each with a comma before it. */
void event(const char *action, const char *extra)
{
    const char *id = strrchr(m.state_dir, '/');
    int folder = id ? open(m.state_dir, O_PATH | O_DIRECTORY | O_CLOEXEC) : -1;
    int attrs = folder < 0 ? -1 : openat(folder, "attrs", O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    int root = attrs < 0 ? -1 : openat(folder, "../..", O_PATH | O_DIRECTORY | O_CLOEXEC);
    char *room = root < 0 ? MAP_FAILED : mmap(NULL, ATTRS + LINE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (room != MAP_FAILED) {
        ssize_t n = read(attrs, room, ATTRS - 1);
        char *members = n > 0 ? strchr(room, '\n') : NULL;
        char *end = members ? strchr(members + 1, '\n') : NULL;
        if (end) {
            struct timespec now;
            char *line = room + ATTRS;
            clock_gettime(CLOCK_REALTIME, &now);
            *members++ = 0, *end = 0, id++;
            const char *parts[] = {"{\"status\":\"", action, "\",\"id\":\"", id, "\",\"from\":", room, ",\"Type\":\"container\",\"Action\":\"", action,
                "\",\"Actor\":{\"ID\":\"", id, "\",\"Attributes\":{", members, extra, "}},\"scope\":\"local\",\"time\":"};
            size_t at = 0;
            for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
                at = text_append(line, LINE, at, parts[i]);
            at = text_number(line, LINE, at, now.tv_sec);
            at = text_append(line, LINE, at, ",\"timeNano\":");
            at = text_number(line, LINE, at, (int64_t)now.tv_sec * 1000000000 + now.tv_nsec);
            at = text_append(line, LINE, at, "}\n");
            append(root, line, at);
        }
        munmap(room, ATTRS + LINE);
    }
    if (folder >= 0)
        close(folder);
    if (attrs >= 0)
        close(attrs);
    if (root >= 0)
        close(root);
}

/* How the process ended, as docker's attributes of `die` and `exec_die`. */
void event_of_end(const char *action)
{
    char extra[256];
    size_t n = text_append(extra, sizeof extra, 0, ",\"exitCode\":\"");
    n = text_number(extra, sizeof extra, n, m.code);
    if (m.exec) {
        n = text_append(extra, sizeof extra, n, "\",\"execID\":\"");
        n = text_append(extra, sizeof extra, n, m.id);
    } else {
        n = text_append(extra, sizeof extra, n, "\",\"execDuration\":\"");
        n = text_number(extra, sizeof extra, n, (now_ms() - m.started_ms) / 1000);
    }
    text_append(extra, sizeof extra, n, "\"");
    event(action, extra);
}
