/* See dns.h. No record of an answer is ever looked into: only its header and its echo of our question. */
#include "dns.h"
#include <arpa/inet.h>
#include <string.h>
#include <strings.h>

static char lower(uint8_t c) { return (char)(c >= 'A' && c <= 'Z' ? c + 32 : c); }

/* The question's name. Compression has no place in it: nothing stands before it to point to. */
static int read_name(const uint8_t *p, size_t n, struct question *q)
{
    size_t at = DNS_HEAD, to = 0, octets = 1;
    q->local = 1;
    for (;;) {
        if (at >= n)
            return -1;
        size_t len = p[at++];
        if (!len)
            break;
        octets += len + 1;
        if (len > 63 || octets > 255 || at + len > n)
            return -1;
        if (to)
            q->name[to++] = '.';
        for (size_t i = 0; i < len; i++) {
            uint8_t c = p[at + i];
            if (c == '.' || c <= ' ' || c > '~')
                q->local = 0;
            q->name[to++] = lower(c ? c : '?');
        }
        at += len;
    }
    q->name[to] = 0;
    if (at + 4 > n)
        return -1;
    q->type = dns_get16(p + at), q->class = dns_get16(p + at + 2);
    q->end = at + 4;
    return 0;
}

int dns_parse(const uint8_t *p, size_t n, struct question *q)
{
    memset(q, 0, sizeof *q);
    if (n < DNS_HEAD)
        return -1;
    q->id = dns_get16(p), q->flags = dns_get16(p + 2);
    q->end = DNS_HEAD, q->room = 512;
    if (q->flags & 0x8000)
        return -1; /* an answer: answering answers would make loops */
    if (q->flags & 0x7800)
        return DNS_NOTIMP;
    if (dns_get16(p + 4) != 1 || read_name(p, n, q)) {
        q->end = DNS_HEAD;
        return DNS_FORMERR;
    }
    if (n > DNS_QUERY_MAX)
        return DNS_FORMERR;
    /* An OPT record right behind the question is where every client puts it. */
    if (!dns_get16(p + 6) && !dns_get16(p + 8) && dns_get16(p + 10) && n >= q->end + 11 && !p[q->end] && dns_get16(p + q->end + 1) == DNS_OPT) {
        q->edns = 1;
        uint16_t room = dns_get16(p + q->end + 3);
        q->room = room < 512 ? 512 : room > 4096 ? 4096 : room;
    }
    return 0;
}

static size_t head(const uint8_t *query, const struct question *q, unsigned flags, uint8_t *to)
{
    memset(to, 0, DNS_HEAD);
    dns_put16(to, q->id);
    dns_put16(to + 2, 0x8080u /* an answer, recursion available */ | (q->flags & 0x7900u) | flags);
    if (q->end > DNS_HEAD) {
        dns_put16(to + 4, 1);
        memcpy(to + DNS_HEAD, query + DNS_HEAD, q->end - DNS_HEAD);
    }
    return q->end;
}

static size_t opt(const struct question *q, uint8_t *to, size_t at)
{
    if (!q->edns)
        return at;
    static const uint8_t record[11] = {0, 0, DNS_OPT, 0x10, 0x00 /* we take 4096 bytes */, 0, 0, 0, 0, 0, 0};
    memcpy(to + at, record, sizeof record);
    dns_put16(to + 10, 1);
    return at + sizeof record;
}

size_t dns_empty(const uint8_t *query, const struct question *q, int rcode, uint8_t *to)
{
    return opt(q, to, head(query, q, (unsigned)rcode, to));
}

struct word { const char *s; size_t n; };
struct entry {
    struct word ip[2];
    const char *names, *end; /* the rest of the line */
};

static int next_word(const char **at, const char *end, struct word *w)
{
    const char *p = *at;
    while (p < end && *p == ' ')
        p++;
    w->s = p;
    while (p < end && *p != ' ' && *p != '\n')
        p++;
    w->n = (size_t)(p - w->s);
    *at = p;
    return w->n > 0;
}

/* The next line that is one: 1, 0 at the end. */
static int next_entry(const struct dns_network *net, size_t *at, struct entry *e)
{
    while (*at < net->size) {
        const char *p = net->text + *at, *end = memchr(p, '\n', net->size - *at);
        if (!end)
            end = net->text + net->size;
        *at = (size_t)(end - net->text) + 1;
        memset(e, 0, sizeof *e);
        struct word w;
        if (!next_word(&p, end, &w))
            continue;
        const char *comma = memchr(w.s, ',', w.n);
        e->ip[0] = (struct word){w.s, comma ? (size_t)(comma - w.s) : w.n};
        if (comma)
            e->ip[1] = (struct word){comma + 1, w.n - e->ip[0].n - 1};
        e->names = p, e->end = end;
        return 1;
    }
    return 0;
}

static int same(const struct word *w, const char *name, size_t n) { return w->n == n && !strncasecmp(w->s, name, n); }

static int has_name(const struct entry *e, const char *name, size_t n)
{
    const char *p = e->names;
    for (struct word w; next_word(&p, e->end, &w);)
        if (same(&w, name, n))
            return 1;
    return 0;
}

/* "web" in any network, "web.net" in the network net. The length of the name in this network, 0: can't be one of its. */
static size_t name_in(const struct dns_network *net, const char *name, const struct entry *e)
{
    size_t n = strlen(name), m = strlen(net->name);
    if (has_name(e, name, n))
        return n;
    if (n > m + 1 && name[n - m - 1] == '.' && !strcasecmp(name + n - m, net->name) && has_name(e, name, n - m - 1))
        return n - m - 1;
    return 0;
}

/* The address in wire form: 4 or 16 bytes, 0 if it isn't one. */
static size_t address(const struct word *w, uint8_t *to)
{
    char text[64];
    if (w->n >= sizeof text)
        return 0;
    memcpy(text, w->s, w->n);
    text[w->n] = 0;
    if (memchr(text, ':', w->n))
        return inet_pton(AF_INET6, text, to) == 1 ? 16 : 0;
    return inet_pton(AF_INET, text, to) == 1 ? 4 : 0;
}

/* 4.3.2.1.in-addr.arpa, …ip6.arpa: the address asked for, its length or 0 */
static size_t reverse_address(const char *name, uint8_t *to)
{
    size_t n = strlen(name);
    if (n > 13 && !strcmp(name + n - 13, ".in-addr.arpa")) {
        const char *p = name;
        for (int i = 3; i >= 0; i--) {
            int v = 0, digits = 0;
            for (; *p >= '0' && *p <= '9' && digits < 4; p++, digits++)
                v = v * 10 + (*p - '0');
            if (!digits || v > 255 || *p++ != '.')
                return 0;
            to[i] = (uint8_t)v;
        }
        return p == name + n - 12 ? 4 : 0;
    }
    if (n == 72 && !strcmp(name + 63, ".ip6.arpa")) {
        memset(to, 0, 16);
        for (int i = 0; i < 32; i++) {
            char c = name[2 * i];
            int v = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
            if (v < 0 || name[2 * i + 1] != '.')
                return 0;
            to[15 - i / 2] |= (uint8_t)(v << (i % 2 ? 4 : 0));
        }
        return 16;
    }
    return 0;
}

struct answer {
    uint8_t *to;
    size_t at, room;
    uint32_t count, from, index; /* records written; those to leave out at the front; seen so far */
    uint32_t until;
    int cut;
};

/* A record about the question's name, with TTL 0: names change at once. */
static void record(struct answer *a, int type, const uint8_t *data, size_t n)
{
    uint32_t i = a->index++;
    if (i < a->from || i >= a->until || a->cut)
        return;
    if (a->at + 12 + n > a->room) {
        a->cut = 1;
        return;
    }
    uint8_t *p = a->to + a->at;
    dns_put16(p, 0xc000 | DNS_HEAD);
    dns_put16(p + 2, (unsigned)type);
    dns_put16(p + 4, 1);
    memset(p + 6, 0, 4);
    dns_put16(p + 10, (unsigned)n);
    memcpy(p + 12, data, n);
    a->at += 12 + n, a->count++;
}

/* name.network as labels; 0 if it can't be written so */
static size_t labels(const char *s, size_t n, uint8_t *to, size_t at, size_t room)
{
    while (n) {
        const char *dot = memchr(s, '.', n);
        size_t len = dot ? (size_t)(dot - s) : n;
        if (!len || len > 63 || at + len + 1 > room)
            return 0;
        to[at++] = (uint8_t)len;
        memcpy(to + at, s, len);
        at += len;
        if (!dot)
            break;
        s += len + 1, n -= len + 1;
    }
    return at;
}

static int pointer(const struct dns_network *net, const struct entry *e, const uint8_t *want, size_t n, struct answer *a)
{
    int found = 0;
    for (int i = 0; i < 2; i++) {
        uint8_t ip[16], data[255];
        if (!e->ip[i].n || address(&e->ip[i], ip) != n || memcmp(ip, want, n))
            continue;
        found = 1;
        struct word first;
        const char *p = e->names;
        size_t at = next_word(&p, e->end, &first) ? labels(first.s, first.n, data, 0, 254) : 0;
        if (at && *net->name)
            at = labels(net->name, strlen(net->name), data, at, 254);
        if (!at)
            continue;
        data[at++] = 0;
        record(a, DNS_PTR, data, at);
    }
    return found;
}

/* All records in the order of the files, [from, until) of them written. Returns whether the name is one of ours. */
static int walk(const struct dns_network *nets, int count, const struct question *q, struct answer *a)
{
    uint8_t want[16], ip[16];
    size_t reverse = reverse_address(q->name, want);
    int found = 0;
    a->index = 0;
    for (int i = 0; i < count; i++) {
        struct entry e;
        for (size_t at = 0; next_entry(&nets[i], &at, &e);) {
            if (reverse) {
                struct answer none = {0};
                found |= pointer(&nets[i], &e, want, reverse, q->type == DNS_PTR || q->type == DNS_ANY ? a : &none);
                continue;
            }
            if (!name_in(&nets[i], q->name, &e))
                continue;
            found = 1;
            for (int k = 0; k < 2; k++) {
                size_t n = e.ip[k].n ? address(&e.ip[k], ip) : 0;
                int type = n == 4 ? DNS_A : DNS_AAAA;
                if (n && (q->class == 1 || q->class == 255) && (q->type == type || q->type == DNS_ANY))
                    record(a, type, ip, n);
            }
        }
    }
    return found;
}

size_t dns_local(const struct dns_network *nets, int count, const uint8_t *query, const struct question *q, uint32_t turn, uint8_t *to, size_t room)
{
    if (!q->local || !q->name[0])
        return 0;
    struct answer all = {.from = UINT32_MAX};
    if (!walk(nets, count, q, &all))
        return 0;
    size_t start = head(query, q, 0, to);
    size_t tail = q->edns ? 11 : 0;
    struct answer a = {.to = to, .at = start, .room = room > start + tail ? room - tail : start};
    /* In turn: each answer begins with another one of the addresses. */
    a.from = all.index ? turn % all.index : 0, a.until = UINT32_MAX;
    uint32_t first = a.from;
    walk(nets, count, q, &a);
    a.from = 0, a.until = first;
    walk(nets, count, q, &a);
    dns_put16(to + 6, a.count > 65535 ? 65535 : a.count);
    if (a.cut)
        dns_put16(to + 2, dns_get16(to + 2) | 0x200u);
    return opt(q, to, a.at);
}

int dns_is_answer(const uint8_t *p, size_t n, uint16_t id, const uint8_t *query, const struct question *q, int *empty)
{
    if (n < DNS_HEAD || dns_get16(p) != id || !(p[2] & 0x80) || (p[2] & 0x78))
        return -1;
    int rcode = p[3] & 15;
    *empty = dns_get16(p + 6) == 0 && !(p[2] & 2);
    if (dns_get16(p + 4) == 0 && rcode)
        return rcode; /* some servers send an error without the question */
    if (dns_get16(p + 4) != 1 || n < q->end)
        return -1;
    for (size_t i = DNS_HEAD; i < q->end; i++)
        if (i >= q->end - 4 ? p[i] != query[i] : lower(p[i]) != lower(query[i]))
            return -1;
    return rcode;
}
