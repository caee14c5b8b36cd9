#include "tunnel/prompt.h"

#include <fcntl.h>
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
    tcsetattr(p->terminal, TCSANOW, &p->saved);
    ssize_t n = write(p->terminal, "\n", 1);
    (void)n;
  }
  p->echo_off = false;
  p->terminal = -1;
  pthread_mutex_unlock(&p->lock);
}

static int read_line(int fd, char *answer, int cap)
{
  int len = 0;
  char c = 0;
  ssize_t n;
  while ((n = read(fd, &c, 1)) == 1 && c != '\n') {
    if (len < cap - 1)
      answer[len++] = c;
  }
  answer[len] = '\0';
  return n == 1 ? len : -1;
}

int prompt_ask(prompt_t *p, const char *question, char *answer, int cap, bool secret)
{
  int fd = open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY);
  if (fd < 0)
    return -1;
  begin(p, fd, secret);
  ssize_t n = write(fd, question, strlen(question));
  int len = n < 0 ? -1 : read_line(fd, answer, cap);
  prompt_restore(p);
  close(fd);
  return len;
}
