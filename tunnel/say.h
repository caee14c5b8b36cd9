/* Everything the program prints: the ready lines on standard output, the rest on standard error; with --json
 * all events on standard output as one JSON object a line. Text that others chose is escaped here. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/ip.h"
#include "tunnel/exit.h"

typedef struct say {
  bool json;
  bool quiet;
  unsigned verbose;
} say_t;

typedef struct say_ready {
  const ip_t *bind;   /* NULL: localhost */
  uint16_t port;      /* local */
  const char *target; /* final name */
  uint16_t target_port;
  const char *bastion; /* user@host:port */
} say_ready_t;

void say_ready(const say_t *say, const say_ready_t *ready);
/* A connection that the bastion did not let through. reason is a name of common/reason.h's list, or NULL. */
void say_refused(const say_t *say, const char *target, uint16_t port, const char *reason, const char *text);
/* How the program ends. text is printed unless it ends as asked. */
void say_end(const say_t *say, exit_code_t code, const char *reason, const char *text);
/* Worth knowing although all goes on. */
void say_note(const say_t *say, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* -v */
void say_step(const say_t *say, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
