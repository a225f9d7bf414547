/* The link: one process for each user that joins his containers' networks to the host's, by sockets alone. See docs/internals/link.md. */
#ifndef WHERRY_LINK_H
#define WHERRY_LINK_H
#include "wherry.h"
#include <netinet/in.h>
#include <sys/socket.h>

union name { struct sockaddr any; struct sockaddr_in v4; struct sockaddr_in6 v6; };

/* What an epoll event belongs to: the first member of every structure whose address is in an event. */
struct watched;
typedef void on_event(struct watched *w, unsigned events);
struct watched { on_event *act; int fd; };

/* Four names make a flow. `from` is the side that spoke first. */
struct flow { union name from, to; };

/* In R-net: an address for the link's listeners, one that stands for the host, one for the host's name servers; the marks. */
#define LINK_ADDRESS "169.254.1.1"
#define HOST_ADDRESS "169.254.1.2"
#define NAMES_ADDRESS "169.254.1.53"
#define LINK_ADDRESS6 "fd77:6865:7272:7900::1"
#define HOST_ADDRESS6 "fd77:6865:7272:7900::2"
enum { MARK_LOCAL = 1, MARK_INJECT = 2, TABLE_LOCAL = 100 };

struct link_state {
    int epoll;
    int rnet;           /* descriptor of R-net */
    int raw4, raw6;     /* raw sockets in R-net whose packets we write whole */
    int packets;        /* what containers send outside and nobody has taken yet */
    int listener4, listener6, datagrams4, datagrams6;
    uint16_t port_tcp4, port_tcp6, port_udp4, port_udp6;
    int64_t now;        /* ms, of this round */
    int aging, flows;   /* things that end by themselves after a time; of them flows of datagrams */
};
extern struct link_state ln;

/* link.c */
int watch(struct watched *w, int fd, on_event *act, unsigned events);
int rnet_make(int family, int type, int protocol); /* a socket in R-net, or -1 */
void never_block(int fd);
void bury(void *p); /* freed when the events of this round have been looked at: some may be about it. Its first watched has fd -1. */

/* link_rules.c, called by the thread that is in R-net: devices, addresses and routes; then the rules, which name the listeners' ports.
 * Both return an errno. */
int rules_make(const char **what);
int rules_commit(void);

/* link_packet.c: packets written whole */
struct packet { const uint8_t *data; size_t n; int family, protocol; const uint8_t *transport; size_t transport_n; struct flow flow; };
int packet_read(const uint8_t *data, size_t n, struct packet *p);
void packet_inject(const struct packet *p);
void packet_reset(const struct packet *p);
enum unreachable { NO_NET, NO_HOST, NO_PORT };
void packet_unreachable(const struct flow *f, int protocol, const uint8_t transport[8], enum unreachable why);
void packet_echo(const struct flow *f, uint16_t id, uint16_t seq, const uint8_t *data, size_t n);

/* names */
socklen_t name_size(const union name *a);
int name_same(const union name *a, const union name *b);
uint16_t name_port(const union name *a);
void name_set_port(union name *a, uint16_t port);
int name_parse(const char *ip, uint16_t port, union name *to);
uint32_t flow_hash(const struct flow *f);
int flow_same(const struct flow *a, const struct flow *b);
int name_outside(const union name *to, union name *real); /* where the host connects to; 0: a place out of reach */

/* link_tcp.c */
int tcp_start(void);
void tcp_syn(const struct packet *p);
void tcp_tick(void);

/* link_relay.c */
int relay_start(int workers);
void relay(int a, int b); /* takes both over */

/* link_udp.c */
int udp_start(void);
void udp_tick(void);
void echo_request(const struct packet *p);

/* link_ports.c */
struct port;
struct port *port_open(int fd, int type, const union name *to);
void port_close(struct port *p);
void ports_tick(void);
#endif
