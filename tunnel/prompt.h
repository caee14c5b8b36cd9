/* Questions on the terminal. They are asked by the thread that connects; the main thread puts the terminal right
 * again when it ends the program meanwhile. */
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

/* Asks on the terminal, without echo if secret. Returns the length, or -1 when there is no terminal or no
 * answer. */
int prompt_ask(prompt_t *prompt, const char *question, char *answer, int cap, bool secret);

/* Any thread: the terminal is as it was before the question. */
void prompt_restore(prompt_t *prompt);
