#include "tunnel/interrupt.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "common/error.h"

/* What a signal handler can reach is static, or it cannot reach it. */
static int wake[2] = {-1, -1};
static volatile sig_atomic_t looping;
static volatile sig_atomic_t told;
static volatile sig_atomic_t echo_off;
static int terminal = -1;
static struct termios saved;

static void on_signal(int signal)
{
  (void)signal;
  if (echo_off)
    tcsetattr(terminal, TCSANOW, &saved);
  if (!looping || told)
    _exit(0);
  told = 1;
  int error = errno;
  ssize_t n = write(wake[1], "x", 1);
  (void)n;
  errno = error;
}

int interrupt_start(void)
{
  if (pipe2(wake, O_NONBLOCK | O_CLOEXEC) < 0)
    return SMPL_ESYS;
  struct sigaction action = {.sa_handler = on_signal};
  const int signals[] = {SIGINT, SIGTERM, SIGHUP};
  for (size_t i = 0; i < sizeof signals / sizeof *signals; i++) {
    if (sigaction(signals[i], &action, NULL) < 0)
      return SMPL_ESYS;
  }
  return SMPL_OK;
}

int interrupt_fd(void)
{
  looping = 1;
  return wake[0];
}

static int read_line(int fd, char *answer, int cap)
{
  int len = 0;
  char c;
  while (read(fd, &c, 1) == 1 && c != '\n') {
    if (len < cap - 1)
      answer[len++] = c;
  }
  answer[len] = '\0';
  return len;
}

int interrupt_prompt(const char *question, char *answer, int cap, int secret)
{
  int fd = open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY);
  if (fd < 0)
    return -1;
  terminal = fd;
  if (secret && tcgetattr(fd, &saved) == 0) {
    struct termios quiet = saved;
    quiet.c_lflag &= ~(tcflag_t)ECHO;
    echo_off = 1;
    tcsetattr(fd, TCSAFLUSH, &quiet);
  }
  ssize_t n = write(fd, question, strlen(question));
  int len = n < 0 ? -1 : read_line(fd, answer, cap);
  if (echo_off) {
    tcsetattr(fd, TCSAFLUSH, &saved);
    echo_off = 0;
    n = write(fd, "\n", 1);
    (void)n;
  }
  terminal = -1;
  close(fd);
  return len;
}
