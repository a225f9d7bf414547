/* nftables by raw netlink: a batch of messages built in a buffer, sent at once, in force as a whole or not at all. */
#ifndef WHERRY_NFT_H
#define WHERRY_NFT_H
#include <stddef.h>
#include <stdint.h>

struct nft {
    uint8_t *data;
    size_t n, size;
    uint32_t seq;
    uint8_t family;
    const char *table;
    size_t message, list, element, expr; /* offsets of what is open */
    int full;
};

/* Registers of 32 bits, as nft numbers them, and header bases for nft_load. */
enum { NFT_R0 = 8, NFT_R1 = 9 };
enum { NFT_NETWORK = 1, NFT_TRANSPORT = 2 };

void nft_open(struct nft *b, uint8_t *data, size_t size, int family, const char *table);
void nft_new_table(struct nft *b, int exclusive); /* exclusive: EEXIST if there is one */
void nft_drop_table(struct nft *b); /* no error if there is none; costs some 10 ms, while the kernel waits for all processors */
void nft_chain(struct nft *b, const char *name, const char *type, int hook, int priority);
void nft_rule(struct nft *b, const char *chain);
void nft_end_rule(struct nft *b);

/* expressions of the open rule */
void nft_meta(struct nft *b, int key, int reg);
void nft_set_meta(struct nft *b, int key, int reg);
void nft_load(struct nft *b, int base, int offset, int len, int reg);
void nft_store(struct nft *b, int base, int offset, int len, int reg, int checksum_offset);
void nft_mask(struct nft *b, int reg, const void *mask, int len);
void nft_is(struct nft *b, int reg, int op, const void *value, int len);
void nft_put(struct nft *b, int reg, const void *value, int len);
void nft_verdict(struct nft *b, int verdict);
void nft_socket(struct nft *b, int key, int reg);
void nft_tproxy(struct nft *b, int family, int address_reg, int port_reg);
void nft_reject(struct nft *b, int type, int code);

/* the usual words */
void nft_proto(struct nft *b, int protocol);
void nft_family(struct nft *b, int nfproto);
void nft_match(struct nft *b, int base, int offset, const void *value, int len);
void nft_match_prefix(struct nft *b, int offset, const uint8_t *address, int bytes, int prefix, int op);

int nft_commit(struct nft *b); /* 0, or -1 with errno; of the calling thread's network namespace */
#endif
