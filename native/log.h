#ifndef WHERRY_LOG_H
#define WHERRY_LOG_H
#include <stddef.h>
struct op;
int log_open(const struct op *op);
void log_off(void);
/* log_to.c */
int log_to_open(const struct op *op);
void log_to_line(int stream, const char *text, size_t n);
void log_bytes(int stream, const char *data, size_t n); /* 0 stdout, 1 stderr */
void log_flush(void);
void log_end(void);
void log_forget(void);
#endif
