/* The plan decoder on arbitrary bytes: what it accepts must be walkable to its end. For libFuzzer, and with -DSTANDALONE a program
 * that says of each file named whether it is a plan (1: the first one that isn't). */
#include "wherry.h"
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

static volatile size_t seen; /* so that no read is optimised away */

static void walk(const struct plan *plan)
{
    struct cursor c;
    struct op op;
    plan_rewind(plan, &c);
    while (plan_next(&c, &op))
        for (int i = 0; i < FIELDS; i++) {
            if (op.f[i].s && !op.f[i].raw)
                __builtin_trap();
            if (op.f[i].s)
                seen += strlen(op.f[i].s);
        }
    /* Lists are read by those who know which fields are lists. */
    const uint8_t *at = NULL;
    uint32_t left;
    if (plan_find(plan, OP_ARGV, &op))
        for (const char *s; (s = list_next(&op.f[0], &at, &left));)
            seen += strlen(s);
    if (plan_find(plan, OP_OVERLAY, &op))
        for (uint32_t i = 0; i < op.f[0].len; i++)
            seen += (size_t)list_int(&op.f[0], i);
    if (plan_find(plan, OP_SECCOMP, &op))
        for (uint32_t i = 0; i < op.f[0].len; i++)
            seen += op.f[0].raw[i];
}

static int decode(int fd, char *why, size_t size)
{
    struct plan plan = {0};
    int bad = plan_read(fd, &plan, why, size);
    if (!bad)
        walk(&plan);
    plan_free(&plan);
    return bad;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char why[128];
    static int fd = -1;
    if (fd < 0)
        fd = (int)syscall(SYS_memfd_create, "plan", 0);
    if (ftruncate(fd, 0) || pwrite(fd, data, size, 0) != (ssize_t)size)
        return 0;
    decode(fd, why, sizeof why);
    return 0;
}

#ifdef STANDALONE
#include <fcntl.h>
int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        char why[128] = "";
        int fd = open(argv[i], O_RDONLY);
        if (fd < 0 || decode(fd, why, sizeof why)) {
            write_all(1, why, strlen(why));
            write_all(1, "\n", 1);
            return 1;
        }
        close(fd);
    }
    return 0;
}
#endif
