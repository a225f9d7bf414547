/* The plan's phase 3: the container's first process makes its world, in its own namespaces, and leaves the host's. */
#include "mounts.h"
#include "resolver.h"
#include <errno.h>
#include <net/if.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

_Noreturn void fail_at(struct build *b, int err, const char *detail)
{
    fail(&b->r, err, detail);
}

static void set_sysctl(struct build *b, const struct op *op)
{
    char path[512];
    size_t n = text_append(path, sizeof path, 0, "sys/");
    int slashed = strchr(op->f[0].s, '/') != NULL;
    for (const char *s = op->f[0].s; *s && n + 1 < sizeof path; s++)
        path[n++] = !slashed && *s == '.' ? '/' : *s;
    path[n] = 0;
    /* Through a procfs that the image can't have touched, and no link in it (CVE-2019-19921, CVE-2025-52881). */
    int fd = sys_openat2(b->proc, path, O_WRONLY | O_CLOEXEC, 0, BENEATH | NO_SYMLINKS | NO_XDEV);
    size_t size = strlen(op->f[1].s);
    if (fd < 0 || write(fd, op->f[1].s, size) != (ssize_t)size)
        fail_at(b, errno, op->f[0].s);
    close(fd);
}

static void loopback_up(struct build *b)
{
    struct ifreq request = {.ifr_name = "lo"};
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    request.ifr_flags = IFF_UP | IFF_RUNNING;
    if (fd < 0 || ioctl(fd, SIOCSIFFLAGS, &request))
        fail_at(b, errno, "lo");
    close(fd);
}

static void console(struct build *b)
{
    struct statfs fs;
    int ptmx = open_in_root(b->root, "/dev/pts/ptmx", O_RDWR | O_NOCTTY);
    if (ptmx < 0 || fstatfs(ptmx, &fs) || fs.f_type != 0x1cd1)
        fail_at(b, ptmx < 0 ? errno : EINVAL, "/dev/pts/ptmx");
    int slave = -1;
    if (pty_open(b->plan, ptmx, &slave))
        fail_at(b, errno, "the terminal");
    if (send_fd(b->sock, ptmx))
        fail_at(b, errno, "the terminal");
    close(ptmx);
    /* Bound from the open descriptor, not by a name in /dev/pts that could be swapped (CVE-2025-52565). */
    int tree = sys_open_tree(slave, "", EMPTY_PATH | CLONE_TREE | TREE_CLOEXEC);
    int at = mount_point(b, "/dev/console", 0, 1);
    if (tree < 0 || at < 0 || attach_fd(tree, at))
        fail_at(b, errno, "/dev/console");
    close(tree), close(at);
    *b->slave = slave;
}

static void pivot(struct build *b, int64_t propagation)
{
    if (fchdir(b->root) || syscall(SYS_pivot_root, ".", "."))
        fail_at(b, errno, "pivot_root");
    /* The old root now lies over the new one; it was made a slave, so that its going stays unknown to the host. */
    if (umount2(".", MNT_DETACH) || chdir("/"))
        fail_at(b, errno, "leaving the old root");
    if (propagation && mount(NULL, "/", NULL, (unsigned long)propagation, NULL))
        fail_at(b, errno, "/");
}

/* A folder of the host that everybody may reach: below the container's own run folder its root, another id, could not pass. The
 * scratch file system hides what is in it from our own mount namespace alone, and the pivot hides both. */
static const char *scratch_place(void)
{
    struct stat st;
    return stat("/tmp", &st) == 0 && S_ISDIR(st.st_mode) ? "/tmp" : "/run";
}

static void prefetch(struct build *b)
{
    struct stat st;
    const char *scratch = scratch_place();
    b->null = open("/dev/null", O_PATH | O_CLOEXEC);
    if (b->null < 0 || fstat(b->null, &st) || !S_ISCHR(st.st_mode) || st.st_rdev != makedev(1, 3))
        fail_at(b, ENODEV, "/dev/null of the host");
    b->proc = fresh("proc", "proc", "", ATTR_NOSUID | ATTR_NODEV | ATTR_NOEXEC);
    if (b->proc < 0)
        b->proc = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (b->proc < 0)
        fail_at(b, errno, "/proc of the host");
    if (mount("tmpfs", scratch, "tmpfs", MS_NOSUID | MS_NODEV, "mode=700"))
        fail_at(b, errno, scratch);
    b->scratch = open(scratch, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (b->scratch < 0)
        fail_at(b, errno, scratch);
}

/* Perform the plan's phase 3. `slave` gets the terminal's side of the container, `proc` a procfs to trust. */
void rootfs_build(const struct plan *plan, struct slots *slots, int sock, const struct report *r, int *slave, int *proc)
{
    struct build b = {.plan = plan, .slots = slots, .r = *r, .scratch = -1, .root = -1, .empty = -1, .sock = sock, .slave = slave};
    struct cursor c;
    struct op op;
    plan_rewind(plan, &c);
    while (plan_next(&c, &op)) {
        b.r.op = op.index;
        switch (op.code) {
        case OP_PROPAGATION:
            if (mount(NULL, "/", NULL, (unsigned long)op.f[0].i, NULL))
                fail_at(&b, errno, "/");
            prefetch(&b);
            break;
        case OP_OVERLAY: overlay(&b, &op); break;
        case OP_ROOT: plain_root(&b, &op); break;
        case OP_MOUNT: new_mount(&b, &op); break;
        case OP_ATTACH: attach(&b, &op); break;
        case OP_IMAGE_AT: image_at(&b, &op); break;
        case OP_OVERLAY_AT: overlay_at(&b, &op); break;
        case OP_SECRET: secret(&b, &op); break;
        case OP_SYMLINK: make_link(&b, &op); break;
        case OP_MASK: mask(&b, op.f[0].s); break;
        case OP_READONLY: make_readonly(&b, op.f[0].s); break;
        case OP_SYSCTL: set_sysctl(&b, &op); break;
        case OP_HOSTNAME:
            if (sethostname(op.f[0].s, op.f[0].len))
                fail_at(&b, errno, op.f[0].s);
            break;
        case OP_DOMAINNAME:
            if (setdomainname(op.f[0].s, op.f[0].len))
                fail_at(&b, errno, op.f[0].s);
            break;
        case OP_LOOPBACK: loopback_up(&b); break;
        case OP_RESOLVER: {
            int sockets[2];
            if (resolver_sockets(sockets) || send_record_fds(sock, SYNC_RESOLVER, sockets, 2))
                fail_at(&b, errno, "the resolver's sockets on 127.0.0.11");
            close(sockets[0]), close(sockets[1]);
            break;
        }
        case OP_NET_WAIT: {
            uint8_t word[HEADER];
            ssize_t n;
            do
                n = recv(sock, word, sizeof word, 0);
            while (n < 0 && errno == EINTR);
            if (n < HEADER || word[0] != SYNC_NET)
                _exit(125); /* the monitor has said why */
            break;
        }
        case OP_CONSOLE: console(&b); break;
        case OP_MKDIR: {
            int at = mount_point(&b, op.f[0].s, 1, 1);
            char self[40];
            text_number(self, sizeof self, text_append(self, sizeof self, 0, "/proc/self/fd/"), at);
            if (at < 0 || fchmodat(AT_FDCWD, self, (mode_t)op.f[1].i, 0))
                fail_at(&b, errno, op.f[0].s);
            close(at);
            break;
        }
        case OP_PIVOT: pivot(&b, op.f[0].i); break;
        case OP_ROOT_READONLY: {
            struct mount_attr_ a = {.set = ATTR_RDONLY};
            if (sys_mount_setattr(AT_FDCWD, "/", 0, &a))
                fail_at(&b, errno, "/");
            break;
        }
        default: break;
        }
    }
    *proc = b.proc;
}
