/* SPDX-License-Identifier: Apache-2.0 */
#include "tunnel/session/prompt.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

void prompt_init(prompt_t *p)
{
  *p = (prompt_t){.terminal = -1};
  pthread_mutex_init(&p->lock, NULL);
}

static void begin(prompt_t *p, int fd, bool secret)
{
  pthread_mutex_lock(&p->lock);
  p->terminal = fd;
  if (secret && tcgetattr(fd, &p->saved) == 0) {
    struct termios quiet = p->saved;
    quiet.c_lflag &= ~(tcflag_t)ECHO;
    p->echo_off = true;
    tcsetattr(fd, TCSAFLUSH, &quiet);
  }
  pthread_mutex_unlock(&p->lock);
}

void prompt_restore(prompt_t *p)
{
  pthread_mutex_lock(&p->lock);
  if (p->terminal >= 0 && p->echo_off) {
    tcsetattr(p->terminal, TCSAFLUSH, &p->saved); /* half a passphrase is not for who reads here next */
    ssize_t n = write(p->terminal, "\n", 1);
    (void)n;
  }
  p->echo_off = false;
  p->terminal = -1;
  pthread_mutex_unlock(&p->lock);
}

/* False: the session is over. */
static bool wait_for_key(int fd, int session)
{
  struct pollfd polls[2] = {{fd, POLLIN, 0}, {session, POLLRDHUP, 0}};
  int n;
  do
    n = poll(polls, 2, -1);
  while (n < 0 && errno == EINTR);
  return n > 0 && !polls[1].revents;
}

static int read_line(int fd, char *answer, int cap, int session)
{
  int len = 0;
  char c = 0;
  ssize_t n = 0;
  do {
    if (!wait_for_key(fd, session))
      return PROMPT_ENDED;
    n = read(fd, &c, 1);
    if (n == 1 && c != '\n' && len < cap - 1)
      answer[len++] = c;
  } while (n == 1 && c != '\n');
  answer[len] = '\0';
  return n == 1 ? len : PROMPT_NOBODY;
}

int prompt_ask(prompt_t *p, const char *question, char *answer, int cap, bool secret, int session)
{
  int fd = open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY);
  answer[0] = '\0';
  if (fd < 0)
    return PROMPT_NOBODY;
  begin(p, fd, secret);
  ssize_t n = write(fd, question, strlen(question));
  int len = n < 0 ? PROMPT_NOBODY : read_line(fd, answer, cap, session);
  prompt_restore(p);
  close(fd);
  return len;
}
