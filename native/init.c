/* --init: a first process that reaps, passes signals on and ends as its payload ended. */
#include "wherry.h"
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

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

/* This program's image for the reaper, which is sealed by now. The reaper must execute something: until its first exec a process of
 * ours is undumpable and belongs to the host's user namespace, so that no `exec` could join it. */
void reaper_prepare(void) { reaper_image = seal_image(); }

/* Fork the payload, which returns; the first process becomes the reaper, with the payload's own rights and filter. */
void split_reaper(const struct report *r)
{
    sigset_t all, old;
    sigfillset(&all);
    sigprocmask(SIG_BLOCK, &all, &old);
    pid_t pid = fork();
    if (pid < 0)
        fail(r, errno, "fork");
    if (pid == 0) {
        /* In the host's pid namespace the reaper's end would not be the payload's. */
        prctl(PR_SET_PDEATHSIG, SIGKILL);
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
