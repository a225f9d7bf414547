/* `hold FOLDER TYPE SOURCE DATA FLAGS`: mounts a file system on FOLDER/mnt in a mount namespace of its own, for the containers that use
 * it, and ends with the last of them: the mount is gone with its namespace. `hold FOLDER wait PID`: only the waiting, for a process that
 * has mounted by itself; it is ended then.
 *
 * FOLDER/users/<container id> are symbolic links "pid.start" to the process that starts the container; ../../live tells which monitors
 * there are. A user counts while either lives. */
#include "wherry.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static int pair_lives(const char *text, const char **rest)
{
    char word[32];
    int64_t pid, start;
    size_t n = strcspn(text, "."), m = text[n] ? strcspn(text + n + 1, ".") : 0;
    if (!m || n >= sizeof word || m >= sizeof word)
        return 0;
    memcpy(word, text, n), word[n] = 0;
    if (parse_number(word, &pid))
        return 0;
    memcpy(word, text + n + 1, m), word[m] = 0;
    if (parse_number(word, &start))
        return 0;
    if (rest)
        *rest = text + n + 1 + m + (text[n + 1 + m] == '.');
    return start_time((pid_t)pid) == start;
}

static int monitor_lives(int folder, const char *id)
{
    int fd = openat(folder, "../../live", O_RDONLY | O_DIRECTORY | O_CLOEXEC), lives = 0;
    DIR *d = fd < 0 ? NULL : fdopendir(fd);
    for (struct dirent *e; d && !lives && (e = readdir(d));) {
        const char *rest;
        lives = pair_lives(e->d_name, &rest) && !strcmp(rest, id);
    }
    if (d)
        closedir(d);
    return lives;
}

static int in_use(int folder)
{
    int fd = openat(folder, "users", O_RDONLY | O_DIRECTORY | O_CLOEXEC), users = 0;
    DIR *d = fd < 0 ? NULL : fdopendir(fd);
    for (struct dirent *e; d && (e = readdir(d));) {
        char starter[64];
        ssize_t n = e->d_name[0] == '.' ? -1 : readlinkat(dirfd(d), e->d_name, starter, sizeof starter - 1);
        if (n < 0)
            continue;
        starter[n] = 0;
        /* The monitor is looked for last: it is there before its starter goes. */
        if (pair_lives(starter, NULL) || monitor_lives(folder, e->d_name))
            users++;
        else
            unlinkat(dirfd(d), e->d_name, 0);
    }
    if (d)
        closedir(d);
    return users;
}

static void wait_for_users(int folder)
{
    struct timespec pause = {.tv_nsec = 300 * 1000 * 1000};
    do
        nanosleep(&pause, NULL);
    while (in_use(folder));
}

static int failed(const char *what)
{
    const char *why = strerror(errno);
    write_all(2, what, strlen(what));
    write_all(2, ": ", 2);
    write_all(2, why, strlen(why));
    return 1;
}

int cmd_hold(int argc, char **argv)
{
    int64_t number = 0;
    int folder = argc < 3 ? -1 : open(argv[0], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (folder < 0 || parse_number(argv[argc - 1], &number))
        return 125;
    setsid();
    signal(SIGHUP, SIG_IGN);
    signal(SIGINT, SIG_IGN);
    if (argc == 3 && !strcmp(argv[1], "wait")) {
        wait_for_users(folder);
        kill((pid_t)number, SIGTERM);
        return 0;
    }
    if (argc != 5)
        return 125;
    if ((mkdirat(folder, "mnt", 0700) && errno != EEXIST) || unshare(CLONE_NEWNS) || mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL))
        return failed("a mount namespace");
    /* by its path: the descriptor is of the mount that we have left */
    if (chdir(argv[0]) || mount(argv[2], "mnt", argv[1], (unsigned long)number, argv[3]))
        return failed(argv[2]);
    char text[64];
    size_t n = text_number(text, sizeof text, 0, getpid());
    n = text_append(text, sizeof text, n, " ");
    n = text_number(text, sizeof text, n, start_time(getpid()));
    write_all(1, text, n);
    int null = open("/dev/null", O_RDWR);
    dup2(null, 0), dup2(null, 1), dup2(null, 2);
    if (chdir("/"))
        return 1;
    wait_for_users(folder);
    return 0;
}
