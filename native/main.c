/* wherry-native: the program that does what Python can't do fast or safely. One command a word; see docs/internals/monitor.md. */
#include "wherry.h"
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

static const struct { const char *word; int (*run)(int, char **); } COMMANDS[] = {
    {"run", cmd_run}, {"exec", cmd_exec}, {"launch", cmd_launch}, {"enter", cmd_enter}, {"init", cmd_init},
    {"unpack", cmd_unpack}, {"rmtree", cmd_rmtree}, {"pack", cmd_pack},
    {"hold", cmd_hold}, {"copytree", cmd_copytree}, {"tarout", cmd_tarout}, {"du", cmd_du}, {"copyup", cmd_copyup}, {"link", cmd_link}, {"net", cmd_net},
};

static int sync_tree(int argc, char **argv)
{
    int fd = argc ? open(argv[0], O_RDONLY | O_CLOEXEC) : -1;
    return fd < 0 || syncfs(fd) ? 1 : 0;
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
        seal_root(argv);
    for (size_t i = 0; i < sizeof COMMANDS / sizeof *COMMANDS; i++)
        if (!strcmp(argv[1], COMMANDS[i].word))
            return COMMANDS[i].run(argc - 2, argv + 2);
    return 125;
}
