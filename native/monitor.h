/* The monitor's parts: what they share. There is one monitor a process, so its memory is one static record. */
#ifndef WHERRY_MONITOR_H
#define WHERRY_MONITOR_H
#include "wherry.h"

enum { ATTACH = 1, STDIN, STDIN_EOF, RESIZE, SIGNAL, STOP, WAIT, STATUS, POLICY, CLAIM, NEXT_EXIT, NAMES, PAUSE, RELOAD, HEALTH };
enum { SAY_OUT = 101, SAY_ERR, SAY_EXIT, SAY_ERROR, SAY_OK, SAY_STATUS };
enum { IN = 1, OUT = 2, ERR = 4 };
#define CLIENTS 48
#define CHUNK (32 * 1024)

struct client {
    int fd;
    unsigned streams;
    int attached, waits, waits_next, waits_health, claims, behind;
    uint32_t wait_tag;
};

struct monitor {
    int exec, tty, open_stdin, stdin_once;
    char id[80], live[200];
    int run_fd, state_fd, live_fd, listen_fd, signal_fd;
    int plan_fd;
    struct launched proc;
    int running;
    /* policy */
    char policy[20];
    int64_t max_retries, restarts, delay_ms, restart_at_ms, started_ms;
    int again; /* whatever the policy says, once */
    int by_hand, stopping, remove, paused;
    int net_ready; /* published ports are held */
    int64_t kill_at_ms;
    int64_t timeout_ms, oom_seen, oom_told;
    int oom_fd;
    /* last run */
    int code, signal, oom;
    char started[32], finished[32], error[512];
    pid_t self;
    int64_t self_start;
    struct client clients[CLIENTS];
    int busy; /* something was done since the memory was given back */
    /* output that some client has not taken yet: out_n bytes of out */
    size_t out_n;
    int out_type;
    /* input that the container has not taken yet: in_at … in_n of in */
    size_t in_n, in_at;
    int in_eof;
    char run_dir[4096], state_dir[4096];
    /* whole pages, which an idle monitor gives back */
    _Alignas(4096) char out[CHUNK];
    _Alignas(4096) char in[RECORD_MAX];
};
extern struct monitor m;

/* idle.c */
void rest(void);

/* record.c: the files that tell others */
size_t state_text(char *to, size_t size);
void write_state(void);
void write_exit(void);
void remove_state(void);
void remove_run_folder(void);

/* streams.c: the container's output and input */
int behind(void);
void pass_on(int only_behind);
void close_stream(int i);
int read_output(int i);
int input_fd(void);
void write_input(void);
void take_input(const uint8_t *p, size_t n);
void unblock(int fd);
void set_size(uint32_t rows, uint32_t columns);

/* ctl.c: clients and their requests */
struct client *new_client(int fd);
void drop_client(struct client *c);
int say(struct client *c, int type, uint32_t tag, const void *p, size_t n);
void exit_to(struct client *c);
void read_client(struct client *c);
void take_last_words(void);
void welcome(void);
void tell_health(int64_t code); /* to those who asked for a probe */
void ctl_forget(void);

/* events.c: what is told to `wherry events` */
void event(const char *action, const char *extra);
void event_of_end(const char *action);

/* life.c: start, end, restart */
int start(const struct plan *plan, int status);
int kill_init(int sig);
int pause_or_go_on(int on);
void out_of_memory(void);
void process_ended(int status);
void settle(void);
void start_again(void);
void stop(int64_t sig, int64_t timeout_ms);
#endif
