/* SPDX-License-Identifier: Apache-2.0 */
/* Questions on the terminal. They are asked by the thread that connects; the main thread puts the terminal
 * right again when it ends the program meanwhile. */
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <termios.h>

typedef struct prompt {
  pthread_mutex_t lock;
  int terminal; /* -1: no question is open */
  bool echo_off;
  struct termios saved;
} prompt_t;

void prompt_init(prompt_t *prompt);

enum {
  PROMPT_NOBODY = -1, /* there is no terminal, or no answer */
  PROMPT_ENDED = -2   /* the session is over, and the answer is not needed any more */
};

/* Asks on the terminal, without echo if secret. session: a socket whose end ends the wait; -1: none. Returns
 * the length, or one of those above. */
int prompt_ask(prompt_t *prompt, const char *question, char *answer, int cap, bool secret, int session);

/* Any thread: the terminal is as it was before the question. */
void prompt_restore(prompt_t *prompt);
