/* wherry-native: the program that does what Python can't do fast or safely. One command a word; see docs/internals/monitor.md. */
#include "wherry.h"
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

static const struct { const char *word; int (*run)(int, char **); } COMMANDS[] = {
    {"run", cmd_run}, {"exec", cmd_exec}, {"enter", cmd_enter}, {"init", cmd_init},
    {"unpack", cmd_unpack}, {"rmtree", cmd_rmtree},
};

static int sync_tree(int argc, char **argv)
{
    int fd = argc ? open(argv[0], O_RDONLY | O_CLOEXEC) : -1;
    return fd < 0 || syncfs(fd) ? 1 : 0;
}

/* Nobody may write to this program through /proc/<pid>/exe of a process that is on its way into a container (CVE-2019-5736).
 * As host root, whose containers may hold every capability, it runs from a read-only mount of itself, which shares its pages.
 * An ordinary user can't make that mount and needs none: the launcher's processes are undumpable, so their /proc files want
 * a capability in the user namespace that this program was started in, which no container of his has. */
static void seal(char **argv)
{
    struct statfs fs;
    int self = geteuid() ? -1 : open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    if (self < 0 || fstatfs(self, &fs) || (fs.f_flags & 1))
        return;
    int tree = sys_open_tree(self, "", 0x1000 | 1 | O_CLOEXEC);
    struct mount_attr_ a = {.set = 1};
    if (tree < 0 || sys_mount_setattr(tree, "", 0x1000, &a))
        return;
    syscall(SYS_execveat, tree, "", argv, environ, 0x1000);
}

int main(int argc, char **argv)
{
    if (argc < 2)
        return 125;
    if (!strcmp(argv[1], "version")) {
        static const char text[] = "wherry-native " NATIVE_VERSION " protocol 1\n";
        return write_all(1, text, sizeof text - 1) ? 1 : 0;
    }
    if (!strcmp(argv[1], "sync"))
        return sync_tree(argc - 2, argv + 2);
    if (!strcmp(argv[1], "run") || !strcmp(argv[1], "exec"))
        seal(argv);
    for (size_t i = 0; i < sizeof COMMANDS / sizeof *COMMANDS; i++)
        if (!strcmp(argv[1], COMMANDS[i].word))
            return COMMANDS[i].run(argc - 2, argv + 2);
    return 125;
}
