/* SPDX-License-Identifier: Apache-2.0 */
/* Rules of Landlock, each set put up in a child. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/error.h"
#include "common/process/file.h"
#include "common/process/landlock.h"

enum { NEEDS_NET = 4, PORT = 9, OTHER_PORT = 10 };

static char folder[] = "/tmp/smpl-landlock-XXXXXX";
static char inside[64], moved[64], outside[64], link_to[64];

static void put(const char *path)
{
  int fd = open(path, O_WRONLY | O_CREAT, 0644);
  assert_true(fd >= 0 && write(fd, "x", 1) == 1 && close(fd) == 0);
}

static int set_up(void **state)
{
  char in[48], out[48];
  (void)state;
  if (mkdtemp(folder) == NULL)
    return -1;
  snprintf(in, sizeof in, "%s/in", folder);
  snprintf(out, sizeof out, "%s/out", folder);
  mkdir(in, 0755);
  mkdir(out, 0755);
  snprintf(inside, sizeof inside, "%s/a", in);
  snprintf(moved, sizeof moved, "%s/b", in);
  snprintf(link_to, sizeof link_to, "%s/link", in);
  snprintf(outside, sizeof outside, "%s/a", out);
  put(inside);
  put(outside);
  return symlink(outside, link_to);
}

static int tear_down(void **state)
{
  const char *const files[] = {inside, moved, outside, link_to};
  char path[64];
  (void)state;
  for (size_t i = 0; i < 4; i++)
    unlink(files[i]);
  snprintf(path, sizeof path, "%s/in", folder);
  rmdir(path);
  snprintf(path, sizeof path, "%s/out", folder);
  rmdir(path);
  return rmdir(folder);
}

typedef bool (*act_t)(void);

static void check(landlock_t *l, act_t act)
{
  int status = 0;
  fflush(NULL);
  pid_t pid = fork();
  assert_true(pid >= 0);
  if (pid == 0)
    _exit(!landlock_enforce(l) ? 99 : act() ? 0 : 1);
  landlock_free(l);
  assert_int_equal(waitpid(pid, &status, 0), pid);
  assert_int_equal(status, 0);
}

static bool opens(const char *path, int how)
{
  int fd = open(path, how, 0600);
  if (fd >= 0)
    close(fd);
  return fd >= 0;
}

static bool reads_alone(void)
{
  return opens(inside, O_RDONLY) && !opens(inside, O_WRONLY) && errno == EACCES &&
         !opens(outside, O_RDONLY) && errno == EACCES && !opens(moved, O_WRONLY | O_CREAT) &&
         unlink(inside) < 0;
}

static bool makes_and_renames(void)
{
  return opens(moved, O_RDWR | O_CREAT) && rename(moved, inside) == 0 && rename(inside, moved) == 0 &&
         opens(inside, O_WRONLY | O_CREAT) && !opens(outside, O_WRONLY) && unlink(moved) == 0;
}

static bool follows_the_link(void)
{
  return opens(link_to, O_RDONLY) && opens(outside, O_RDONLY);
}

static bool says_why(void)
{
  char *text = NULL;
  size_t len;
  diag_t diag = {""};
  int err = file_read(outside, 16, &text, &len, &diag);
  free(text);
  return err == SMPL_EDENIED && strstr(diag.text, "that needs a restart") != NULL &&
         file_read(inside, 16, &text, &len, NULL) == SMPL_OK;
}

static bool connects(uint16_t port)
{
  struct sockaddr_in sa = {.sin_family = AF_INET,
                           .sin_port = htons(port),
                           .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  int fd = socket(AF_INET, SOCK_STREAM, 0);
  int rc = connect(fd, (const struct sockaddr *)&sa, sizeof sa);
  int saved = errno;
  close(fd);
  return rc == 0 || saved != EACCES;
}

static bool one_port_alone(void)
{
  return connects(PORT) && !connects(OTHER_PORT);
}

static bool every_port(void)
{
  return connects(PORT) && connects(OTHER_PORT);
}

static void folders_are_what_was_allowed(void **state)
{
  (void)state;
  if (landlock_abi() == 0)
    skip();
  landlock_t *l = landlock_new(true);
  landlock_allow_beside(l, inside, LANDLOCK_READ);
  landlock_allow(l, "/nowhere/at/all", LANDLOCK_READ);
  check(l, reads_alone);
  l = landlock_new(true);
  landlock_allow_beside(l, inside, LANDLOCK_READ | LANDLOCK_WRITE | LANDLOCK_MAKE | LANDLOCK_REMOVE);
  check(l, makes_and_renames);
  put(inside);
}

static void a_symbolic_link_is_followed_to_its_folder(void **state)
{
  (void)state;
  if (landlock_abi() == 0)
    skip();
  landlock_t *l = landlock_new(true);
  landlock_allow_beside(l, link_to, LANDLOCK_READ);
  check(l, follows_the_link);
}

static void a_file_elsewhere_needs_a_restart_and_the_message_says_so(void **state)
{
  (void)state;
  if (landlock_abi() == 0)
    skip();
  landlock_t *l = landlock_new(true);
  landlock_allow_beside(l, inside, LANDLOCK_READ);
  check(l, says_why);
  errno = EACCES;
  assert_false(landlock_refused(inside)); /* nothing stands here */
  assert_int_equal(errno, EACCES);
}

static void ports_are_what_was_allowed(void **state)
{
  (void)state;
  if (landlock_abi() < NEEDS_NET)
    skip();
  landlock_t *l = landlock_new(true);
  landlock_allow_connect(l, PORT);
  check(l, one_port_alone);
  check(landlock_new(false), every_port);
}

static void without_landlock_nothing_stands(void **state)
{
  (void)state;
  landlock_allow(NULL, "/", LANDLOCK_READ);
  landlock_allow_beside(NULL, inside, LANDLOCK_READ);
  landlock_allow_connect(NULL, PORT);
  assert_false(landlock_enforce(NULL));
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(folders_are_what_was_allowed),
      cmocka_unit_test(a_symbolic_link_is_followed_to_its_folder),
      cmocka_unit_test(a_file_elsewhere_needs_a_restart_and_the_message_says_so),
      cmocka_unit_test(ports_are_what_was_allowed),
      cmocka_unit_test(without_landlock_nothing_stands),
  };
  return cmocka_run_group_tests(tests, set_up, tear_down);
}
