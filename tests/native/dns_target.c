/* The resolver's reading of messages on arbitrary bytes, for libFuzzer: as questions, against names of ours; and as answers. */
#include "dns.h"
#include <stdlib.h>
#include <string.h>

static const char NAMES[] = "10.1.0.2,fd00::2 web shop\n10.1.0.3 db a.b shop\n\n10.1 x\n::1, c d\n,::2 e";

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *input, size_t size)
{
    struct question q;
    uint8_t *small = malloc(DNS_HEAD + 256 + 4 + 11);
    /* The first half of the rounds reads a question, with the names or with what follows it as the file of names. */
    int rcode = dns_parse(input, size, &q);
    if (rcode >= 0) {
        size_t n = dns_empty(input, &q, rcode, small);
        if (n < DNS_HEAD || n > DNS_HEAD + 256 + 4 + 11)
            abort();
    }
    if (rcode == 0) {
        const struct dns_network nets[] = {{"net", NAMES, sizeof NAMES - 1}, {"", (const char *)input + q.end, size - q.end}};
        for (uint32_t turn = 0; turn < 3; turn++) {
            size_t room = turn == 2 ? DNS_MESSAGE_MAX : q.room;
            uint8_t *to = malloc(room);
            size_t n = dns_local(nets, 2, input, &q, turn, to, room);
            if (n > room || (n && n < q.end))
                abort();
            free(to);
        }
        int empty;
        dns_is_answer(input, size, q.id, input, &q, &empty);
        if (size > q.end)
            dns_is_answer(input + q.end, size - q.end, q.id, input, &q, &empty);
    }
    free(small);
    return 0;
}
