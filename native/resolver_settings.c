/* What the resolver knows: its settings and the files of names, read again when a look at a file says that it is another one. */
#include "resolver_inner.h"
#include "wherry.h"
#include <arpa/inet.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

struct seen { ino_t ino; struct timespec changed; off_t size; int there; };

/* In one piece and small: it stays in memory as long as the container. */
static _Alignas(64) struct {
    struct seen settings, host;
    struct dns_network net[NETWORKS];
    const char *net_id[NETWORKS];
    struct seen net_seen[NETWORKS];
    int nets, ndots, from_host;
    const char *host_file;
    char text[3000]; /* the settings; names, ids and the path point into it */
} know;

static int changed(int dir, const char *path, struct seen *seen)
{
    struct stat st;
    if (fstatat(dir, path, &st, 0)) {
        int was = seen->there;
        memset(seen, 0, sizeof *seen);
        return was;
    }
    if (seen->there && st.st_ino == seen->ino && st.st_size == seen->size && st.st_mtim.tv_sec == seen->changed.tv_sec
        && st.st_mtim.tv_nsec == seen->changed.tv_nsec)
        return 0;
    *seen = (struct seen){st.st_ino, st.st_mtim, st.st_size, 1};
    return 1;
}

static ssize_t read_text(int dir, const char *path, char *to, size_t size)
{
    int fd = openat(dir, path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return to[0] = 0, -1;
    ssize_t n = read(fd, to, size - 1);
    close(fd);
    to[n > 0 ? n : 0] = 0;
    return n;
}

/* "10.0.0.1", "10.0.0.1#5353", "fe80::1%eth0" */
static void add_server(char *text)
{
    int64_t port = 53;
    char *hash = strchr(text, '#');
    if (hash) {
        *hash = 0;
        if (parse_number(hash + 1, &port) || port < 1 || port > 65535)
            return;
    }
    if (resolver.servers == SERVERS)
        return;
    union address *a = &resolver.server[resolver.servers];
    memset(a, 0, sizeof *a);
    char *scope = strchr(text, '%');
    if (scope)
        *scope++ = 0;
    if (inet_pton(AF_INET, text, &a->v4.sin_addr) == 1) {
        a->v4.sin_family = AF_INET, a->v4.sin_port = htons((uint16_t)port);
    } else if (inet_pton(AF_INET6, text, &a->v6.sin6_addr) == 1) {
        int64_t index = 0;
        a->v6.sin6_family = AF_INET6, a->v6.sin6_port = htons((uint16_t)port);
        if (scope && parse_number(scope, &index)) {
            char path[64];
            size_t n = text_append(path, sizeof path, 0, "/sys/class/net/");
            n = text_append(path, sizeof path, n, scope);
            text_append(path, sizeof path, n, "/ifindex");
            char number[16];
            if (strchr(scope, '/') || read_text(AT_FDCWD, path, number, sizeof number) <= 0)
                return;
            number[strcspn(number, "\n")] = 0;
            if (parse_number(number, &index))
                return;
        }
        a->v6.sin6_scope_id = (uint32_t)index;
    } else {
        return;
    }
    resolver.servers++;
}

/* The lines of a file, words cut in place. `from` moves on; NULL at the end. */
static char *line_words(char **from, char *word[], int max, int *count)
{
    char *p = *from;
    if (!*p)
        return NULL;
    char *end = p + strcspn(p, "\n");
    *from = *end ? end + 1 : end;
    *end = 0;
    for (*count = 0; *count < max;) {
        p += strspn(p, " \t\r");
        if (!*p)
            break;
        word[(*count)++] = p;
        p += strcspn(p, " \t\r");
        if (*p)
            *p++ = 0;
    }
    return end;
}

static void read_host_servers(void)
{
    char text[4096];
    char *at = text, *word[3];
    int n;
    resolver.servers = 0;
    if (read_text(AT_FDCWD, know.host_file, text, sizeof text) <= 0)
        return;
    while (line_words(&at, word, 3, &n))
        if (n >= 2 && !strcmp(word[0], "nameserver"))
            add_server(word[1]);
}

static void drop_names(int i)
{
    if (know.net[i].text && know.net[i].size)
        munmap((void *)(uintptr_t)know.net[i].text, know.net[i].size);
    know.net[i].text = NULL, know.net[i].size = 0;
}

/* The file is mapped: one copy for all resolvers of the network. It is replaced as a whole, never written to. */
static void read_names(int i, const char *file)
{
    drop_names(i);
    int fd = openat(resolver.run_fd, file, O_RDONLY | O_CLOEXEC);
    struct stat st;
    if (fd < 0)
        return;
    if (!fstat(fd, &st) && st.st_size > 0 && st.st_size < 64 << 20) {
        void *p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, fd, 0);
        if (p != MAP_FAILED)
            know.net[i].text = p, know.net[i].size = (size_t)st.st_size;
    }
    close(fd);
}

static void read_settings(void)
{
    char *word[3], *at = know.text;
    int n;
    for (int i = 0; i < know.nets; i++)
        drop_names(i);
    know.nets = resolver.servers = know.ndots = know.from_host = 0;
    read_text(resolver.run_fd, "resolv", know.text, sizeof know.text);
    while (line_words(&at, word, 3, &n)) {
        if (n == 3 && !strcmp(word[0], "network") && know.nets < NETWORKS && strlen(word[2]) < 80 && !strchr(word[2], '/')) {
            know.net_id[know.nets] = word[2];
            know.net[know.nets] = (struct dns_network){strcmp(word[1], "-") ? word[1] : "", NULL, 0};
            memset(&know.net_seen[know.nets++], 0, sizeof know.net_seen[0]);
        } else if (n == 2 && !strcmp(word[0], "server")) {
            add_server(word[1]);
        } else if (n == 2 && !strcmp(word[0], "servers-of")) {
            know.host_file = word[1], know.from_host = 1;
            memset(&know.host, 0, sizeof know.host);
        } else if (n == 1 && !strcmp(word[0], "ndots")) {
            know.ndots = 1;
        }
    }
}

static void refresh(void)
{
    if (changed(resolver.run_fd, "resolv", &know.settings))
        read_settings();
    for (int i = 0; i < know.nets; i++) {
        char file[128];
        text_append(file, sizeof file, text_append(file, sizeof file, 0, "../net/names/"), know.net_id[i]);
        if (changed(resolver.run_fd, file, &know.net_seen[i]))
            read_names(i, file);
    }
}

/* The answer if it needs no server; 0 if it does. */
size_t resolver_here(const uint8_t *query, const struct question *q, size_t room)
{
    refresh();
    size_t n = dns_local(know.net, know.nets, query, q, resolver.turn++, resolver_out, room);
    if (n)
        return n;
    /* A bare name with an explicit ndots: ours or nobody's, the search list comes next (docker does so, too). */
    if (know.ndots && (q->type == DNS_A || q->type == DNS_AAAA) && !strchr(q->name, '.'))
        return dns_empty(query, q, DNS_NOERROR, resolver_out);
    if (know.from_host && changed(AT_FDCWD, know.host_file, &know.host))
        read_host_servers();
    return resolver.servers ? 0 : dns_empty(query, q, DNS_SERVFAIL, resolver_out);
}

void resolver_drop_settings(void)
{
    for (int i = 0; i < know.nets; i++)
        drop_names(i);
    know.nets = 0;
    memset(&know.settings, 0, sizeof know.settings);
}
