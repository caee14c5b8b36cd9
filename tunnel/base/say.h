/* SPDX-License-Identifier: Apache-2.0 */
/* Everything the program prints: the ready lines on standard output, the rest on standard error; with --json
 * all events on standard output as one JSON object a line. On a terminal one line stands below the others and
 * says how it goes. Text that others chose is escaped here. Any thread. */
#pragma once

#include <jansson.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "tunnel/limits.h"
#include "common/base/ip.h"
#include "tunnel/base/exit.h"

typedef struct say {
  bool json;
  bool quiet;
  unsigned verbose;
  bool ready_to_error; /* standard output belongs to somebody else: --stdio, a program that is run */
  bool live;           /* a terminal, and nobody who wants it quiet */
  bool color;
  pthread_mutex_t lock;
  char live_text[SAY_LIVE_MAX]; /* shown now; "" none */
} say_t;

/* What is asked for, and what standard error is. */
void say_init(say_t *say, bool json, bool quiet, unsigned verbose);

typedef struct say_ready {
  const char *url;     /* http://localhost:8080, socks5h://..., or NULL for a unix socket */
  const char *address; /* localhost:8080, or the socket's path */
  uint16_t port;       /* local; 0: none */
  const char *target;  /* final name; NULL for SOCKS */
  uint16_t target_port;
  const char *bastion; /* user@host:port */
} say_ready_t;

void say_ready(say_t *say, const say_ready_t *ready);
/* A connection that the bastion did not let through. reason is a name of common/ssh/reason.h's list, or NULL.
 */
void say_refused(say_t *say, const char *target, uint16_t port, const char *reason, const char *text);
/* How the program ends. text is printed unless it ends as asked. */
void say_end(say_t *say, exit_code_t code, const char *reason, const char *text);
/* A change that scripts may want to know: event with the members of more (taken over; NULL: none) and the
 * text. */
void say_event(say_t *say, const char *event, json_t *more, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
/* Worth knowing although all goes on. */
void say_note(say_t *say, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* -v */
void say_step(say_t *say, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* The line below the others; "" takes it away. Nothing where there is no terminal. */
void say_live(say_t *say, const char *text);
/* An answer for people or, with --json, for scripts: a line of standard output. */
void say_answer(say_t *say, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void say_answer_json(say_t *say, const json_t *answer);
