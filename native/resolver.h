/* The resolver of names at 127.0.0.11 of a container, inside its monitor. See docs/internals/names.md. */
#ifndef WHERRY_RESOLVER_H
#define WHERRY_RESOLVER_H
#include <stdint.h>

/* Its listening sockets, made in the network namespace that the caller is in: [0] UDP, [1] TCP. 0, or -1 with errno. */
int resolver_sockets(int out[2]);

/* The same, by a child that enters the network namespace of that process. */
int resolver_join(int pidfd, int out[2]);

/* Take over the sockets; run_fd is the container's run folder, with the file `resolv`. */
void resolver_start(int run_fd, const int sockets[2]);
void resolver_stop(void);

int resolver_fd(void);       /* to poll for reading, -1: there is no resolver */
int64_t resolver_due(void);  /* now_ms() at which resolver_work must be called, 0: never */
void resolver_work(void);    /* bounded: a flood doesn't keep the monitor from its other work */
void resolver_forget(void);  /* give idle memory back */
#endif
