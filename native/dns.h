/* DNS messages: what the resolver of names reads and writes. Pure functions over bytes; everything that comes in is hostile. */
#ifndef WHERRY_DNS_H
#define WHERRY_DNS_H
#include <stddef.h>
#include <stdint.h>

enum { DNS_NOERROR, DNS_FORMERR, DNS_SERVFAIL, DNS_NXDOMAIN, DNS_NOTIMP, DNS_REFUSED };
enum { DNS_A = 1, DNS_PTR = 12, DNS_AAAA = 28, DNS_OPT = 41, DNS_ANY = 255 };
#define DNS_HEAD 12
#define DNS_QUERY_MAX 1024
#define DNS_MESSAGE_MAX 65535

struct question {
    uint16_t id, flags, type, class;
    size_t end;      /* behind the question: its name, type and class are at DNS_HEAD … end */
    uint16_t room;   /* what the client takes over UDP: 512, or what its OPT record says, at most 4096 */
    int edns;        /* it had an OPT record */
    int local;       /* the name could be one of ours: printable, no dot inside a label */
    char name[256];  /* lower case, dots between the labels, none at the end */
};

/* 0; or the RCODE to answer with; -1: don't answer (no query, too short) */
int dns_parse(const uint8_t *p, size_t n, struct question *q);

/* An answer with this RCODE and no records. Returns its length. `to` holds at least DNS_HEAD + 256 + 4 + 11 bytes. */
size_t dns_empty(const uint8_t *query, const struct question *q, int rcode, uint8_t *to);

/* One network as the resolver knows it: its name, and the text of its file of names: "<ip>[,<ip6>] <name> …". */
struct dns_network {
    const char *name, *text;
    size_t size;
};

/* The answer from the networks' names, of at most `room` bytes (truncated answers say so). 0: none of ours, ask the servers. */
size_t dns_local(const struct dns_network *nets, int count, const uint8_t *query, const struct question *q, uint32_t turn, uint8_t *to, size_t room);

/* Whether p is the answer to the query (id, question). Returns its RCODE, -1 if it isn't. *empty: it holds no answer records. */
int dns_is_answer(const uint8_t *p, size_t n, uint16_t id, const uint8_t *query, const struct question *q, int *empty);

static inline uint16_t dns_get16(const uint8_t *p) { return (uint16_t)(p[0] << 8 | p[1]); }
static inline void dns_put16(uint8_t *p, unsigned v) { p[0] = (uint8_t)(v >> 8), p[1] = (uint8_t)v; }
#endif
