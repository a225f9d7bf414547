/* The tar reader on arbitrary bytes, for libFuzzer: every member and all of its data. What is done with them is tested elsewhere. */
#include "tar.h"
#include "wherry.h"
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

static volatile size_t seen;

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *input, size_t size)
{
    static struct tar t;
    static struct tar_member m;
    static int fd = -1;
    if (fd < 0)
        fd = (int)syscall(SYS_memfd_create, "tar", 0);
    if (ftruncate(fd, 0) || pwrite(fd, input, size, 0) != (ssize_t)size || lseek(fd, 0, SEEK_SET))
        return 0;
    tar_begin(&t, fd);
    for (int members = 0; members < 1000 && tar_next(&t, &m) == 1; members++) {
        const char *data;
        uint64_t offset;
        ssize_t n;
        seen += strlen(m.name) + strlen(m.link);
        for (int i = 0; i < m.xattrs_n; i++) {
            seen += strlen(m.xattrs[i].name);
            for (size_t k = 0; k < m.xattrs[i].size; k++)
                seen += (unsigned char)m.xattrs[i].value[k];
        }
        while ((n = tar_data(&t, &data, &offset)) > 0)
            seen += (unsigned char)data[0] + (unsigned char)data[n - 1];
    }
    return 0;
}
