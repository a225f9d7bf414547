/* nftables by raw netlink: no nft program, no library, well under a millisecond for a handful of rules. */
#include "nft.h"
#include "wherry.h"
#include <arpa/inet.h>
#include <errno.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static void *room(struct nft *b, size_t n)
{
    size_t padded = (n + 3) & ~(size_t)3;
    if (b->full || b->size - b->n < padded) {
        b->full = 1;
        return NULL;
    }
    void *at = memset(b->data + b->n, 0, padded);
    b->n += padded;
    return at;
}

static void attr(struct nft *b, int type, const void *value, size_t n)
{
    size_t at = b->n;
    if (!room(b, 4 + n))
        return;
    uint16_t head[2] = {(uint16_t)(4 + n), (uint16_t)type};
    memcpy(b->data + at, head, 4);
    if (n)
        memcpy(b->data + at + 4, value, n);
}

static void attr_text(struct nft *b, int type, const char *s) { attr(b, type, s, strlen(s) + 1); }

static void attr_number(struct nft *b, int type, uint32_t v)
{
    v = htonl(v);
    attr(b, type, &v, 4);
}

static size_t nest(struct nft *b, int type)
{
    size_t at = b->n;
    attr(b, type | NLA_F_NESTED, NULL, 0);
    return at;
}

static void end_nest(struct nft *b, size_t at)
{
    uint16_t n = (uint16_t)(b->n - at);
    if (!b->full)
        memcpy(b->data + at, &n, 2);
}

static void message(struct nft *b, int type, int flags, int family, int resource)
{
    b->message = b->n;
    struct { struct nlmsghdr h; struct nfgenmsg g; } head = {
        {0, (uint16_t)type, (uint16_t)(NLM_F_REQUEST | flags), b->seq++, 0}, {(uint8_t)family, 0, htons((uint16_t)resource)}};
    void *to = room(b, sizeof head);
    if (to)
        memcpy(to, &head, sizeof head);
}

static void end_message(struct nft *b)
{
    uint32_t n = (uint32_t)(b->n - b->message);
    if (!b->full)
        memcpy(b->data + b->message, &n, 4);
}

#define NFT(x) (NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_##x)

void nft_open(struct nft *b, uint8_t *data, size_t size, int family, const char *table)
{
    *b = (struct nft){.data = data, .size = size, .family = (uint8_t)family, .table = table, .seq = 1};
    message(b, NFNL_MSG_BATCH_BEGIN, 0, 0, NFNL_SUBSYS_NFTABLES);
    end_message(b);
}

void nft_new_table(struct nft *b, int exclusive)
{
    message(b, NFT(NEWTABLE), NLM_F_CREATE | NLM_F_ACK | (exclusive ? NLM_F_EXCL : 0), b->family, 0);
    attr_text(b, NFTA_TABLE_NAME, b->table);
    attr_number(b, NFTA_TABLE_FLAGS, 0);
    end_message(b);
}

void nft_drop_table(struct nft *b)
{
    nft_new_table(b, 0);
    message(b, NFT(DELTABLE), NLM_F_ACK, b->family, 0);
    attr_text(b, NFTA_TABLE_NAME, b->table);
    end_message(b);
}

void nft_chain(struct nft *b, const char *name, const char *type, int hook, int priority)
{
    message(b, NFT(NEWCHAIN), NLM_F_CREATE | NLM_F_ACK, b->family, 0);
    attr_text(b, NFTA_CHAIN_TABLE, b->table);
    attr_text(b, NFTA_CHAIN_NAME, name);
    size_t h = nest(b, NFTA_CHAIN_HOOK);
    attr_number(b, NFTA_HOOK_HOOKNUM, (uint32_t)hook);
    attr_number(b, NFTA_HOOK_PRIORITY, (uint32_t)priority);
    end_nest(b, h);
    attr_text(b, NFTA_CHAIN_TYPE, type);
    attr_number(b, NFTA_CHAIN_POLICY, NF_ACCEPT);
    end_message(b);
}

void nft_rule(struct nft *b, const char *chain)
{
    message(b, NFT(NEWRULE), NLM_F_CREATE | NLM_F_APPEND | NLM_F_ACK, b->family, 0);
    attr_text(b, NFTA_RULE_TABLE, b->table);
    attr_text(b, NFTA_RULE_CHAIN, chain);
    b->list = nest(b, NFTA_RULE_EXPRESSIONS);
}

void nft_end_rule(struct nft *b)
{
    end_nest(b, b->list);
    end_message(b);
}

static void expr(struct nft *b, const char *name)
{
    b->element = nest(b, NFTA_LIST_ELEM);
    attr_text(b, NFTA_EXPR_NAME, name);
    b->expr = nest(b, NFTA_EXPR_DATA);
}

static void end_expr(struct nft *b)
{
    end_nest(b, b->expr);
    end_nest(b, b->element);
}

static void attr_data(struct nft *b, int type, const void *value, int len)
{
    size_t d = nest(b, type);
    attr(b, NFTA_DATA_VALUE, value, (size_t)len);
    end_nest(b, d);
}

void nft_meta(struct nft *b, int key, int reg)
{
    expr(b, "meta");
    attr_number(b, NFTA_META_KEY, (uint32_t)key);
    attr_number(b, NFTA_META_DREG, (uint32_t)reg);
    end_expr(b);
}

void nft_set_meta(struct nft *b, int key, int reg)
{
    expr(b, "meta");
    attr_number(b, NFTA_META_KEY, (uint32_t)key);
    attr_number(b, NFTA_META_SREG, (uint32_t)reg);
    end_expr(b);
}

void nft_load(struct nft *b, int base, int offset, int len, int reg)
{
    expr(b, "payload");
    attr_number(b, NFTA_PAYLOAD_DREG, (uint32_t)reg);
    attr_number(b, NFTA_PAYLOAD_BASE, (uint32_t)base);
    attr_number(b, NFTA_PAYLOAD_OFFSET, (uint32_t)offset);
    attr_number(b, NFTA_PAYLOAD_LEN, (uint32_t)len);
    end_expr(b);
}

/* Write a register into the packet; the checksum of the transport header at checksum_offset follows. */
void nft_store(struct nft *b, int base, int offset, int len, int reg, int checksum_offset)
{
    expr(b, "payload");
    attr_number(b, NFTA_PAYLOAD_SREG, (uint32_t)reg);
    attr_number(b, NFTA_PAYLOAD_BASE, (uint32_t)base);
    attr_number(b, NFTA_PAYLOAD_OFFSET, (uint32_t)offset);
    attr_number(b, NFTA_PAYLOAD_LEN, (uint32_t)len);
    attr_number(b, NFTA_PAYLOAD_CSUM_TYPE, NFT_PAYLOAD_CSUM_INET);
    attr_number(b, NFTA_PAYLOAD_CSUM_OFFSET, (uint32_t)checksum_offset);
    end_expr(b);
}

void nft_mask(struct nft *b, int reg, const void *mask, int len)
{
    static const uint8_t nothing[16];
    expr(b, "bitwise");
    attr_number(b, NFTA_BITWISE_SREG, (uint32_t)reg);
    attr_number(b, NFTA_BITWISE_DREG, (uint32_t)reg);
    attr_number(b, NFTA_BITWISE_LEN, (uint32_t)len);
    attr_data(b, NFTA_BITWISE_MASK, mask, len);
    attr_data(b, NFTA_BITWISE_XOR, nothing, len);
    end_expr(b);
}

void nft_is(struct nft *b, int reg, int op, const void *value, int len)
{
    expr(b, "cmp");
    attr_number(b, NFTA_CMP_SREG, (uint32_t)reg);
    attr_number(b, NFTA_CMP_OP, (uint32_t)op);
    attr_data(b, NFTA_CMP_DATA, value, len);
    end_expr(b);
}

void nft_put(struct nft *b, int reg, const void *value, int len)
{
    expr(b, "immediate");
    attr_number(b, NFTA_IMMEDIATE_DREG, (uint32_t)reg);
    attr_data(b, NFTA_IMMEDIATE_DATA, value, len);
    end_expr(b);
}

void nft_verdict(struct nft *b, int verdict)
{
    expr(b, "immediate");
    attr_number(b, NFTA_IMMEDIATE_DREG, NFT_REG_VERDICT);
    size_t d = nest(b, NFTA_IMMEDIATE_DATA), v = nest(b, NFTA_DATA_VERDICT);
    attr_number(b, NFTA_VERDICT_CODE, (uint32_t)verdict);
    end_nest(b, v);
    end_nest(b, d);
    end_expr(b);
}

void nft_socket(struct nft *b, int key, int reg)
{
    expr(b, "socket");
    attr_number(b, NFTA_SOCKET_KEY, (uint32_t)key);
    attr_number(b, NFTA_SOCKET_DREG, (uint32_t)reg);
    end_expr(b);
}

void nft_tproxy(struct nft *b, int family, int address_reg, int port_reg)
{
    expr(b, "tproxy");
    attr_number(b, NFTA_TPROXY_FAMILY, (uint32_t)family);
    attr_number(b, NFTA_TPROXY_REG_ADDR, (uint32_t)address_reg);
    attr_number(b, NFTA_TPROXY_REG_PORT, (uint32_t)port_reg);
    end_expr(b);
}

void nft_reject(struct nft *b, int type, int code)
{
    uint8_t c = (uint8_t)code;
    expr(b, "reject");
    attr_number(b, NFTA_REJECT_TYPE, (uint32_t)type);
    attr(b, NFTA_REJECT_ICMP_CODE, &c, 1);
    end_expr(b);
}

void nft_proto(struct nft *b, int protocol)
{
    uint8_t p = (uint8_t)protocol;
    nft_meta(b, NFT_META_L4PROTO, NFT_R0);
    nft_is(b, NFT_R0, NFT_CMP_EQ, &p, 1);
}

void nft_family(struct nft *b, int nfproto)
{
    uint8_t p = (uint8_t)nfproto;
    nft_meta(b, NFT_META_NFPROTO, NFT_R0);
    nft_is(b, NFT_R0, NFT_CMP_EQ, &p, 1);
}

void nft_match(struct nft *b, int base, int offset, const void *value, int len)
{
    nft_load(b, base, offset, len, NFT_R0);
    nft_is(b, NFT_R0, NFT_CMP_EQ, value, len);
}

void nft_match_prefix(struct nft *b, int offset, const uint8_t *address, int bytes, int prefix, int op)
{
    uint8_t mask[16] = {0}, net[16] = {0};
    for (int i = 0; i < bytes; i++) {
        int bits = prefix - 8 * i;
        mask[i] = bits >= 8 ? 0xff : bits <= 0 ? 0 : (uint8_t)(0xff << (8 - bits));
        net[i] = address[i] & mask[i];
    }
    nft_load(b, NFT_NETWORK, offset, bytes, NFT_R0);
    nft_mask(b, NFT_R0, mask, bytes);
    nft_is(b, NFT_R0, op, net, bytes);
}

int nft_commit(struct nft *b)
{
    uint8_t answer[8192];
    message(b, NFNL_MSG_BATCH_END, 0, 0, NFNL_SUBSYS_NFTABLES);
    end_message(b);
    if (b->full)
        return errno = ENOBUFS, -1;
    int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_NETFILTER);
    if (fd < 0)
        return -1;
    struct sockaddr_nl kernel = {.nl_family = AF_NETLINK};
    struct timeval patience = {5, 0};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    int bad = 0, acks = 0, wanted = 0;
    for (size_t at = 0; at < b->n;) {
        struct nlmsghdr h;
        memcpy(&h, b->data + at, sizeof h);
        wanted += (h.nlmsg_flags & NLM_F_ACK) != 0;
        at += (h.nlmsg_len + 3) & ~3u;
    }
    if (sendto(fd, b->data, b->n, 0, (struct sockaddr *)&kernel, sizeof kernel) < 0)
        bad = errno;
    while (!bad && acks < wanted) {
        ssize_t n = recv(fd, answer, sizeof answer, 0);
        if (n < 0) {
            bad = errno;
            break;
        }
        for (size_t at = 0; at + sizeof(struct nlmsghdr) + 4 <= (size_t)n;) {
            struct nlmsghdr h;
            int32_t error;
            memcpy(&h, answer + at, sizeof h);
            memcpy(&error, answer + at + sizeof h, 4);
            if (h.nlmsg_len < sizeof h)
                break;
            if (h.nlmsg_type == NLMSG_ERROR) {
                acks++;
                if (error && !bad)
                    bad = -error;
            }
            at += (h.nlmsg_len + 3) & ~3u;
        }
    }
    close(fd);
    return errno = bad, bad ? -1 : 0;
}
