/* `enter`: a program of ours executed as root of the user's namespace R, for the store's work on trees. */
#include "wherry.h"
#include <sched.h>
#include <string.h>
#include <unistd.h>

/* `enter USERNSFD|-1 PID:START|- -- ARGV…`: run a program as root of R, for the store's tree work. */
int cmd_enter(int argc, char **argv)
{
    int at = 0;
    while (at < argc && strcmp(argv[at], "--"))
        at++;
    if (at + 1 >= argc || argc < 3)
        return 125;
    extern char **environ;
    static const char *const names[] = {"WHERRY_UIDMAP", "WHERRY_GIDMAP", "WHERRY_NEWUIDMAP", "WHERRY_NEWGIDMAP"};
    const char *value[4] = {0};
    char **to = environ;
    for (char **e = environ; *e; e++) {
        int ours = 0;
        for (int i = 0; i < 4; i++) {
            size_t n = strlen(names[i]);
            if (!strncmp(*e, names[i], n) && (*e)[n] == '=')
                value[i] = *e + n + 1, ours = 1;
        }
        if (!ours)
            *to++ = *e;
    }
    *to = NULL;
    struct report r = {-1, -1};
    int64_t fd = -1;
    int bad = 0;
    if (argv[0][0] != '-')
        bad = parse_number(argv[0], &fd);
    if (bad)
        return 125;
    if (fd >= 0 || value[0]) {
        /* The map's lines become a USERNS_ROOT operation in memory, so that there is one way into R. */
        static uint8_t bytes[2][4096], helpers[1024];
        struct op op = {.code = OP_USERNS_ROOT};
        op.f[0].i = fd >= 0 ? 1 : value[2] ? 2 : 3;
        op.f[1].i = fd;
        for (int i = 0; i < 2 && value[i]; i++) {
            size_t n = 0;
            uint32_t count = 0;
            for (const char *s = value[i]; *s;) {
                size_t len = strcspn(s, ",\n");
                if (n + 4 + len > sizeof bytes[i])
                    return 125;
                put32(bytes[i] + n, (uint32_t)len);
                memcpy(bytes[i] + n + 4, s, len);
                n += 4 + len, count++;
                s += len;
                if (*s)
                    s++;
            }
            op.f[2 + i].raw = bytes[i], op.f[2 + i].len = count;
        }
        size_t n = 0;
        for (int i = 2; i < 4 && value[i]; i++) {
            size_t len = strlen(value[i]);
            if (n + 4 + len > sizeof helpers)
                return 125;
            put32(helpers + n, (uint32_t)len);
            memcpy(helpers + n + 4, value[i], len);
            n += 4 + len;
            op.f[4].len++;
        }
        op.f[4].raw = helpers;
        extern int plan_arena(size_t size);
        if (plan_arena(16384))
            return 125;
        if (userns_enter_root(&op, &r))
            return 125;
        if (unshare(CLONE_NEWNS))
            return 125;
    }
    char **rest = argv + at + 1;
    execvp(rest[0], rest);
    return 127;
}
