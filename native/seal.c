/* The program against its containers (CVE-2019-5736): a process that is on its way into a container can be made to execute
 * /proc/self/exe (by an image whose program is that link), and then what it runs lies open to everybody in the container, by
 * /proc/<pid>/exe. An ordinary user owns this program's file, and his container's root is that user. So whatever enters a
 * container runs from something that nobody can write: a read-only mount, which shares the file's pages, or a sealed copy. */
#include "wherry.h"
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <unistd.h>

extern char **environ;

enum { F_ADD_SEALS_ = 1033, F_GET_SEALS_ = 1034, ALL_SEALS = 1 | 2 | 4 | 8 /* SEAL, SHRINK, GROW, WRITE */ };

static int is_sealed(int fd)
{
    struct statfs fs;
    int seals = fcntl(fd, F_GET_SEALS_);
    return (seals >= 0 && (seals & ALL_SEALS) == ALL_SEALS) || (fstatfs(fd, &fs) == 0 && (fs.f_flags & 1 /* ST_RDONLY */));
}

/* A copy in memory, with its writing sealed. It goes with the last process that runs it. */
static int sealed_copy(int self)
{
    int fd = (int)syscall(SYS_memfd_create, "wherry", 1 | 2 | 0x10 /* CLOEXEC, ALLOW_SEALING, EXEC */);
    if (fd < 0 && errno == EINVAL) /* before 6.3 there was no EXEC to ask for */
        fd = (int)syscall(SYS_memfd_create, "wherry", 1 | 2);
    ssize_t n = 1;
    while (fd >= 0 && n > 0)
        n = sendfile(fd, self, NULL, 1 << 20);
    if (fd >= 0 && (n < 0 || fcntl(fd, F_ADD_SEALS_, ALL_SEALS))) {
        close(fd);
        return -1;
    }
    return fd;
}

/* fd of the program in a form that can't be written, -1 when there is none. `fresh`: one is to be made if need be. */
static int self_sealed(int make, int *was)
{
    int self = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    *was = self >= 0 && is_sealed(self);
    if (self < 0 || *was || !make)
        return self;
    int fd = sealed_copy(self);
    close(self);
    return fd;
}

/* What a process on its way into a container executes of us, by execveat. */
int seal_image(void)
{
    int was, fd = self_sealed(1, &was);
    return fd;
}

int seal_done(void)
{
    int was, fd = self_sealed(0, &was);
    if (fd >= 0)
        close(fd);
    return was;
}

/* Host root executes itself from a read-only mount first of all; it costs the long-lived monitor no memory. An ordinary user can't
 * make that mount where he is: his launcher's first child executes a sealed copy, which lives as long as the launch. */
void seal_root(char **argv)
{
    int was, self = geteuid() ? -1 : self_sealed(0, &was);
    if (self < 0 || was)
        return;
    int tree = sys_open_tree(self, "", 0x1000 | 1 | O_CLOEXEC); /* AT_EMPTY_PATH, OPEN_TREE_CLONE */
    struct mount_attr_ a = {.set = 1};                          /* MOUNT_ATTR_RDONLY */
    if (tree >= 0 && sys_mount_setattr(tree, "", 0x1000, &a) == 0)
        syscall(SYS_execveat, tree, "", argv, environ, 0x1000);
    close(self);
    if (tree >= 0)
        close(tree);
}
