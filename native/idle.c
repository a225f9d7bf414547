/* What an idle monitor costs is its private memory, times all containers. Buffers that a launch or a burst of output has touched are
 * given back to the kernel once nothing has happened for a second; they read as zeros when they are used again. */
#include "monitor.h"
#include "log.h"
#include "resolver.h"
#include <stdint.h>

enum { STACK_BELOW = 128 * 1024 };

void rest(void)
{
    char here;
    m.busy = 0;
    if (m.in_at == m.in_n)
        forget(m.in, sizeof m.in);
    if (!behind())
        forget(m.out, sizeof m.out);
    log_forget();
    ctl_forget();
    launch_forget();
    resolver_forget();
    /* The stack below this frame, down to where a launch has been; the red zone and the frames of the next call stay. */
    forget((void *)((uintptr_t)&here - STACK_BELOW), STACK_BELOW - 512);
}
