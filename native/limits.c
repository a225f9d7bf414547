/* Limits of the process that its launcher sets while it still has the caller's rights. */
#include "wherry.h"
#include <errno.h>
#include <fcntl.h>
#include <sys/resource.h>

void outer_limits(const struct plan *plan, const struct report *report)
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
