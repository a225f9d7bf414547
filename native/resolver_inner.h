/* What the parts of the resolver share. */
#ifndef WHERRY_RESOLVER_INNER_H
#define WHERRY_RESOLVER_INNER_H
#include "dns.h"
#include "resolver.h"
#include <netinet/in.h>
#include <sys/socket.h>

#define SERVERS 4
#define NETWORKS 16

union address { struct sockaddr any; struct sockaddr_in v4; struct sockaddr_in6 v6; };
enum kind { UDP_LISTENER = 1, TCP_LISTENER, STREAM, SERVER, STREAM_SERVER };

struct resolver {
    int epoll, udp, tcp, run_fd;
    uint32_t serial, turn;
    int servers;
    union address server[SERVERS];
};
extern struct resolver resolver;
extern uint8_t resolver_in[DNS_MESSAGE_MAX + 1], resolver_out[DNS_MESSAGE_MAX + 1];

/* resolver.c */
int resolver_watch(int fd, enum kind kind, unsigned index, unsigned sub, uint32_t serial, unsigned events);
uint16_t resolver_id(void);

/* resolver_settings.c: the answer, in resolver_out, if it needs no server; 0 if it does */
size_t resolver_here(const uint8_t *query, const struct question *q, size_t room);
void resolver_drop_settings(void);

/* resolver_stream.c: clients by TCP */
void streams_accept(void);
void streams_ready(enum kind kind, unsigned index, uint32_t serial, unsigned events);
int64_t streams_due(void);
void streams_late(int64_t now);
void streams_stop(void);
int streams_forget(void); /* 0: some are in use */
#endif
