/* SPDX-License-Identifier: Apache-2.0 */
/* Questions on a terminal: what is typed in secret is not left for whoever reads there next. */
#include <fcntl.h>
#include <pty.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include <cmocka.h>

#include "tunnel/session/prompt.h"

enum { FINE = 0, NOT_ENDED = 10, LEFT = 20, ECHOES_NOT = 30 };

static int peer; /* the server's end */

/* Typed behind half a passphrase: when it is heard, the half stands in the terminal's queue. */
static void on_quit(int number)
{
  (void)number;
  close(peer);
}

static int child(void)
{
  int ends[2], left = 0;
  char answer[64];
  struct termios how;
  prompt_t prompt;
  signal(SIGQUIT, on_quit);
  tcgetattr(0, &how);
  how.c_lflag |= NOFLSH; /* SIGQUIT leaves the queue alone */
  tcsetattr(0, TCSANOW, &how);
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0)
    return 1;
  peer = ends[1];
  prompt_init(&prompt);
  if (prompt_ask(&prompt, "Passphrase: ", answer, sizeof answer, true, ends[0]) != PROMPT_ENDED)
    return NOT_ENDED;
  tcgetattr(0, &how);
  if (!(how.c_lflag & ECHO))
    return ECHOES_NOT;
  how.c_lflag &= ~(tcflag_t)ICANON; /* as a shell reads */
  tcsetattr(0, TCSANOW, &how);
  return ioctl(0, FIONREAD, &left) == 0 && left == 0 ? FINE : LEFT;
}

static void test_half_a_passphrase_is_forgotten_when_the_server_hangs_up(void **state)
{
  (void)state;
  int terminal, status;
  char seen[512] = "";
  size_t used = 0;
  pid_t pid = forkpty(&terminal, NULL, NULL, NULL);
  if (pid == 0)
    _exit(child());
  assert_true(pid > 0);
  while (!strstr(seen, "Passphrase: ")) {
    ssize_t n = read(terminal, seen + used, sizeof seen - 1 - used);
    assert_true(n > 0);
    used += (size_t)n;
    seen[used] = '\0';
  }
  assert_int_equal(write(terminal, "half\x1c", 5), 5);
  for (ssize_t n = 1; n > 0 && used<sizeof seen - 1; used += n> 0 ? (size_t)n : 0)
    n = read(terminal, seen + used, sizeof seen - 1 - used);
  assert_int_equal(waitpid(pid, &status, 0), pid);
  assert_true(WIFEXITED(status));
  assert_int_equal(WEXITSTATUS(status), FINE);
  seen[used] = '\0';
  assert_null(strstr(seen, "half")); /* nor shown */
  close(terminal);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_half_a_passphrase_is_forgotten_when_the_server_hangs_up),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
