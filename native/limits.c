/* Resource limits, in two steps. Raising a hard limit wants the caller's rights, so L1 does it outside; lowering wants none, and what
 * is low must not bind the launcher (`--ulimit nofile=3`), so the process itself does it right before its exec. */
#include "wherry.h"
#include <errno.h>
#include <fcntl.h>
#include <sys/resource.h>

static rlim_t bound(int64_t n) { return n < 0 ? RLIM_INFINITY : (rlim_t)n; }

static void raise_limit(const struct op *op, const struct report *r)
{
    struct rlimit limit;
    rlim_t wanted = bound(op->f[2].i);
    if (getrlimit((int)op->f[0].i, &limit))
        fail(r, errno, "getrlimit");
    if (wanted <= limit.rlim_max)
        return;
    limit.rlim_max = wanted;
    if (setrlimit((int)op->f[0].i, &limit) == 0)
        return;
    if (errno != EPERM)
        fail(r, errno, "setrlimit");
    /* No more than the caller may: its own hard limit stays, and that is said. */
    static const char *const names[] = {"cpu", "fsize", "data", "stack", "core", "rss", "nproc", "nofile", "memlock", "as", "locks",
        "sigpending", "msgqueue", "nice", "rtprio", "rttime"};
    char text[200];
    size_t n = text_append(text, sizeof text, 0, "--ulimit ");
    n = text_append(text, sizeof text, n, op->f[0].i < 16 ? names[op->f[0].i] : "");
    n = text_append(text, sizeof text, n, " is above this user's own hard limit and was lowered to ");
    getrlimit((int)op->f[0].i, &limit);
    text_number(text, sizeof text, n, (int64_t)limit.rlim_max);
    report_warning(r->fd, text);
}

/* By L1: the OOM score, and hard limits that are to be higher. */
void outer_limits(const struct plan *plan, const struct report *report)
{
    struct cursor c;
    struct op op;
    plan_rewind(plan, &c);
    while (plan_next(&c, &op)) {
        struct report r = {report->fd, op.index};
        if (op.code == OP_RLIMIT)
            raise_limit(&op, &r);
        if (op.code != OP_OOM_SCORE_ADJ)
            continue;
        char text[24];
        text_number(text, sizeof text, 0, op.f[0].i);
        if (write_file_at(AT_FDCWD, "/proc/self/oom_score_adj", text))
            report_warning(report->fd, "the OOM score can't be lowered by this user: --oom-score-adj is not in force");
    }
}

/* By the process: all limits as wanted, as far as they were granted. */
void inner_limits(const struct plan *plan, const struct report *report)
{
    struct cursor c;
    struct op op;
    plan_rewind(plan, &c);
    while (plan_next(&c, &op)) {
        struct report r = {report->fd, op.index};
        struct rlimit limit = {bound(op.f[1].i), bound(op.f[2].i)}, granted;
        if (op.code != OP_RLIMIT)
            continue;
        if (getrlimit((int)op.f[0].i, &granted))
            fail(&r, errno, "getrlimit");
        if (limit.rlim_max > granted.rlim_max)
            limit.rlim_max = granted.rlim_max;
        if (limit.rlim_cur > limit.rlim_max)
            limit.rlim_cur = limit.rlim_max;
        if (setrlimit((int)op.f[0].i, &limit))
            fail(&r, errno, "setrlimit");
    }
}
