/* The launcher and monitor of containers: shared declarations. The plan's format is in docs/internals/plan.md. */
#ifndef WHERRY_H
#define WHERRY_H
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define NATIVE_VERSION "0.1.0"
#define PROTOCOL 1
#define PLAN_MAX (16u << 20)
#define SLOTS 256
#define RECORD_MAX (64 * 1024)
#define HEADER 8

enum opcode {
#define OP(code, name, fields, phase) OP_##name = code,
#include "ops.def"
#undef OP
};

/* one decoded field */
struct field {
    int64_t i;
    const char *s; /* NUL-terminated copy for 's'; raw bytes for 'b' */
    uint32_t len;  /* bytes of s or b; count of S or I */
    const uint8_t *raw; /* first element of S or I */
};
#define FIELDS 8
struct op {
    int code, index;
    const char *name;
    struct field f[FIELDS];
};
struct plan {
    uint8_t *data; /* the file with 8 bytes of slack; strings are terminated in place */
    size_t size;
};
struct cursor {
    const struct plan *plan;
    size_t at;
    int index;
};

/* plan.c */
int plan_read(int fd, struct plan *out, char *why, size_t why_size);
void plan_free(struct plan *p);
void plan_rewind(const struct plan *p, struct cursor *c);
int plan_next(struct cursor *c, struct op *out); /* 1 while there are operations */
int plan_find(const struct plan *p, int code, struct op *out);
const char *list_next(const struct field *list, const uint8_t **at, uint32_t *left);
int64_t list_int(const struct field *list, uint32_t n);

/* util.c */
void *zero(void *p, size_t n);
size_t text_append(char *to, size_t size, size_t at, const char *s);
size_t text_number(char *to, size_t size, size_t at, int64_t n);
int parse_number(const char *s, int64_t *out);
int write_all(int fd, const void *data, size_t n);
int write_file_at(int dir, const char *path, const char *text);
int64_t start_time(pid_t pid);
void now_text(char *to, size_t size); /* RFC 3339 with nanoseconds, UTC */
int64_t now_ms(void);
void put32(uint8_t *to, uint32_t v);
void put64(uint8_t *to, int64_t v);
uint32_t get32(const uint8_t *p);
int64_t get64(const uint8_t *p);
int send_record(int fd, int type, uint32_t tag, const void *payload, size_t n, int flags);
int send_fd(int sock, int fd);
int recv_fd(int sock);
int send_record_fds(int fd, int type, const int *fds, int count);
int close_from(int first, const int *keep, int keeps);
void forget(void *p, size_t n); /* whole pages in it become zeros that cost nothing */
int copy_text(char *to, size_t size, const char *from);

/* calls that older headers lack */
int sys_pidfd_open(pid_t pid);
int sys_pidfd_send_signal(int fd, int sig);
int sys_open_tree(int dir, const char *path, unsigned flags);
int sys_move_mount(int from, const char *fp, int to, const char *tp, unsigned flags);
struct mount_attr_ { uint64_t set, clr, propagation, userns_fd; };
int sys_mount_setattr(int dir, const char *path, unsigned flags, const struct mount_attr_ *attr);
int sys_fsopen(const char *fs, unsigned flags);
int sys_fsconfig(int fd, unsigned cmd, const char *key, const void *value, int aux);
int sys_fsmount(int fd, unsigned flags, unsigned attrs);
int sys_close_range(unsigned first, unsigned last, unsigned flags);
int sys_openat2(int dir, const char *path, uint64_t flags, uint64_t mode, uint64_t resolve);
pid_t sys_clone3_into(uint64_t flags, int cgroup_fd, int *pidfd);

/* failure of an operation: where, why, about what. Written to the status socket by fail(). */
struct report {
    int fd; /* -1: nobody listens */
    int op;
};
void report_failed(int fd, int op, int err, const char *detail);
/* What is reported to fd is kept until it is released: only when all has been undone is a failure told. The first one counts. */
void report_hold(int fd);
void report_release(void);
const char *report_held(void);
void report_warning(int fd, const char *text);
_Noreturn void fail(const struct report *r, int err, const char *detail);

/* userns.c */
int userns_enter_root(const struct op *op, const struct report *r);
int userns_make(const struct plan *plan, const struct report *r); /* fd of the container's user namespace, -1 none */

/* launch.c */
struct launched {
    pid_t init;
    int64_t init_start;
    int init_pidfd;
    int resolver[2]; /* listening sockets in the container, -1: none */
    int stdio[3]; /* our ends; with a terminal [1] is the master and the others are -1 */
    char plain[2048]; /* lines for the state file: sources that could not be id-mapped */
    size_t plain_size;
};
int launch(const struct plan *plan, int plan_fd, int status, int tty, int open_stdin, int is_exec, struct launched *out);

void launch_forget(void);

/* first.c */
struct stage {
    int plan_fd, sock, userns;
    int stdio[3];
    int tty, is_exec;
};
/* what the children tell the monitor beside FAILED and WARNING: this is pid 1; a source could not be id-mapped; exec comes next */
enum { SYNC_INIT = 10, SYNC_PLAIN = 11, SYNC_GOING = 12, SYNC_ALIVE = 13, SYNC_RESOLVER = 14, SYNC_NET = 20 };
_Noreturn void stage_first(const struct plan *plan, const struct stage *s);
int pty_open(const struct plan *plan, int ptmx, int *slave);

/* seal.c */
void seal_root(char **argv);
int seal_done(void);
int seal_image(void);

/* groups.c */
int oom_watch(const struct plan *plan);
int freeze_groups(const struct plan *plan, int on); /* 0, or -1 with EOPNOTSUPP where there is no freezer, EBUSY */
int make_groups(const struct plan *plan, int status, int is_exec, int again); /* fd of the v2 group, -1 none, -2 after a reported failure */
int monitors_group(const struct plan *plan);
void join_v1_groups(const struct plan *plan, const struct report *report);
int64_t oom_kills(const struct plan *plan);
void remove_groups(const struct plan *plan);

/* source.c, rootfs.c, place.c */
struct slots { int fd[SLOTS]; };
void sources_open(const struct plan *plan, struct slots *slots, int userns, const struct report *r);
void rootfs_build(const struct plan *plan, struct slots *slots, int sock, const struct report *r, int *slave, int *proc);
int open_in_root(int root, const char *path, uint64_t flags);

/* limits.c */
void outer_limits(const struct plan *plan, const struct report *r);
void inner_limits(const struct plan *plan, const struct report *r);

/* user.c */
#define GROUPS_MAX 1024
struct identity {
    int64_t uid, gid;
    char home[1024];
    gid_t groups[GROUPS_MAX];
    int count;
};
void look_up(const char *spec, struct identity *who, const struct report *r);
void more_groups(const struct plan *plan, struct identity *who, const struct report *report);
void give_mounts(const struct plan *plan, const struct identity *who, const struct report *report);

/* init.c */
void reaper_prepare(void); /* for --init, with the host in sight */
void split_reaper(const struct report *r);

/* process.c */
_Noreturn void become(const struct plan *plan, int slave, int proc, struct report *r);

int cmd_run(int argc, char **argv);
int cmd_exec(int argc, char **argv);
int cmd_launch(int argc, char **argv);
int cmd_init(int argc, char **argv);
int cmd_enter(int argc, char **argv);
int cmd_unpack(int argc, char **argv);
int cmd_rmtree(int argc, char **argv);
int cmd_pack(int argc, char **argv);
int cmd_link(int argc, char **argv);
int cmd_net(int argc, char **argv);
int cmd_copytree(int argc, char **argv);
int cmd_tarout(int argc, char **argv);
int cmd_hold(int argc, char **argv);
int cmd_du(int argc, char **argv);
int cmd_copyup(int argc, char **argv);
#endif
