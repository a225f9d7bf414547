/* Health probes of a container, for the monitor's loop. */
#ifndef WHERRY_HEALTH_H
#define WHERRY_HEALTH_H
#include "wherry.h"

void health_settings(const struct plan *plan);
void health_started(void);
void health_stopped(void);
int health_fd(void);       /* readable when a probe has ended; -1: none is going on */
int64_t health_due(void);  /* when the next one begins, in the monitor's milliseconds; 0: none */
void health_work(void);
int health_probe(void);
size_t health_text(char *to, size_t size, size_t n);
#endif
