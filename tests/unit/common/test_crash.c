/* SPDX-License-Identifier: Apache-2.0 */
/* Each crash in a child: what it says, and that it ends as it would have without us. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>

#include <cmocka.h>

#include <dlfcn.h>
#include <errno.h>
#include <link.h>
#include <pthread.h>
#include <regex.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/process/crash.h"
#include "common/base/log.h"
#include "common/process/seal.h"

enum { SAID_MAX = 4096 };

typedef struct ended {
  int status;
  char said[SAID_MAX];
} ended_t;

/* In a child whose standard error is a pipe. */
static ended_t run(void (*act)(void))
{
  ended_t e = {0, ""};
  int out[2];
  assert_int_equal(pipe(out), 0);
  fflush(NULL);
  pid_t pid = fork();
  assert_true(pid >= 0);
  if (pid == 0) {
    struct rlimit none = {0, 0};
    setrlimit(RLIMIT_CORE, &none);
    dup2(out[1], STDERR_FILENO);
    close(out[0]);
    close(out[1]);
    act();
    _exit(0);
  }
  close(out[1]);
  size_t used = 0;
  ssize_t n;
  while (used < SAID_MAX - 1 && (n = read(out[0], e.said + used, SAID_MAX - 1 - used)) > 0)
    used += (size_t)n;
  close(out[0]);
  assert_int_equal(waitpid(pid, &e.status, 0), pid);
  return e;
}

static void assert_says(const ended_t *e, const char *pattern)
{
  regex_t r;
  assert_int_equal(regcomp(&r, pattern, REG_EXTENDED | REG_NOSUB | REG_NEWLINE), 0);
  if (regexec(&r, e->said, 0, NULL, 0) != 0)
    fail_msg("said '%s'", e->said);
  regfree(&r);
}

static void assert_ended_by(const ended_t *e, int number)
{
  assert_true(WIFSIGNALED(e->status));
  assert_int_equal(WTERMSIG(e->status), number);
}

static void seal(void)
{
  seal_t *s = seal_new(SEAL_REFUSE);
  seal_add(s, SEAL_ALLOW, seal_runtime, seal_runtime_count);
  seal_add(s, SEAL_ALLOW, seal_files, seal_files_count);
  if (seal_load(s, true) != 0 && errno != ENOSYS && errno != EINVAL) /* an emulator has no filters */
    _exit(99);
}

static volatile int *volatile nowhere = (volatile int *)0x10;

static void touch_nowhere(void)
{
  crash_catch("test-crash");
  seal();
  *nowhere = 1;
}

static void give_up(void)
{
  crash_catch("test-crash");
  seal();
  abort();
}

static void illegal(void)
{
  crash_catch("test-crash");
  seal();
  __builtin_trap();
}

#define LINE  "^test-crash crashed: "
#define PLACE ", in [a-z_.0-9-]+\\+0x[0-9a-f]+, build [0-9a-f]{40}$"

static void a_crash_is_one_line_and_ends_by_its_own_signal(void **state)
{
  (void)state;
  ended_t e = run(touch_nowhere);
  assert_ended_by(&e, SIGSEGV);
  assert_says(&e, LINE "SIGSEGV at address 0x10, in test-crash\\+0x[0-9a-f]+, build [0-9a-f]{40}$");
  assert_ptr_equal(strchr(e.said, '\n') + 1, e.said + strlen(e.said));
  e = run(give_up);
  assert_ended_by(&e, SIGABRT);
  assert_says(&e, LINE "SIGABRT sent by process [0-9]+" PLACE);
  e = run(illegal);
  assert_ended_by(&e, SIGILL);
  assert_says(&e, LINE "SIGILL at address 0x[0-9a-f]+" PLACE);
}

static int sent;

static void send_to_itself(void)
{
  crash_catch("test-crash");
  seal();
  raise(sent);
}

static void a_signal_that_somebody_sends_ends_it_as_well(void **state)
{
  (void)state;
  static const int all[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGTRAP, SIGSYS};
  for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
    sent = all[i];
    ended_t e = run(send_to_itself);
    assert_ended_by(&e, sent);
    assert_says(&e, LINE "SIG[A-Z]+ sent by process [0-9]+" PLACE);
  }
}

static volatile char sink;

__attribute__((noinline)) static void fill_the_stack(volatile char *before)
{
  volatile char here[4096];
  here[0] = *before;
  if (here[0] == 0)
    fill_the_stack(here);
  sink = here[4095];
}

static void *full(void *arg)
{
  (void)arg;
  crash_thread();
  volatile char start = 0;
  fill_the_stack(&start);
  return NULL;
}

static void full_stack_of_the_first_thread(void)
{
  crash_catch("test-crash");
  full(NULL);
}

static void full_stack_of_another(void)
{
  pthread_t t;
  crash_catch("test-crash");
  pthread_create(&t, NULL, full, NULL);
  pthread_join(t, NULL);
}

static void a_full_stack_is_told_too(void **state)
{
  (void)state;
  ended_t e = run(full_stack_of_the_first_thread);
  assert_ended_by(&e, SIGSEGV);
  assert_says(&e, LINE "SIGSEGV at address 0x[0-9a-f]+" PLACE);
  e = run(full_stack_of_another);
  assert_ended_by(&e, SIGSEGV);
  assert_says(&e, LINE "SIGSEGV at address 0x[0-9a-f]+" PLACE);
}

static void tell(void *ctx, const char *line)
{
  dprintf(STDERR_FILENO, "%s: %s.\n", (const char *)ctx, line);
}

static void tell_somebody(void)
{
  static char who[] = "told";
  crash_catch("test-crash");
  crash_tell(tell, who);
  raise(SIGSEGV);
}

static void who_may_not_write_tells_somebody_else(void **state)
{
  (void)state;
  ended_t e = run(tell_somebody);
  assert_ended_by(&e, SIGSEGV);
  assert_says(&e, "^told: test-crash crashed: SIGSEGV sent by process [0-9]+" PLACE
                  "|told: .*, build [0-9a-f]{40}\\.$");
}

/* JOURNAL_STREAM names standard error, or something else. */
static void as_in_a_unit(bool same)
{
  struct stat st;
  char stream[64];
  fstat(STDERR_FILENO, &st);
  snprintf(stream, sizeof stream, "%llu:%llu", (unsigned long long)st.st_dev,
           (unsigned long long)st.st_ino + !same);
  setenv("JOURNAL_STREAM", stream, 1);
  log_init("test-crash", LOG_LEVEL_DEBUG);
  log_error("broken %d", 1);
  log_warn("odd");
  log_info("said");
  log_debug("small");
  log_failure("test-crash", "first\nsecond");
  crash_catch("test-crash");
  abort();
}

static void in_the_journal(void)
{
  as_in_a_unit(true);
}

static void led_elsewhere(void)
{
  as_in_a_unit(false);
}

static void in_the_journal_lines_have_priorities_and_no_time(void **state)
{
  (void)state;
  ended_t e = run(in_the_journal);
  assert_memory_equal(e.said,
                      "<3>broken 1\n<4>odd\n<6>said\n<7>small\n<3>first\n<3>second\n<2>test-crash crashed: ",
                      76);
  e = run(led_elsewhere);
  assert_null(strstr(e.said, "<"));
  assert_says(&e, "^[0-9-]{10}T[0-9:.]+Z test-crash error: broken 1$");
  assert_says(&e, "^test-crash: first$");
}

static void longest_line(void)
{
  static char name[2 * CRASH_LINE_MAX];
  memset(name, 'n', sizeof name - 1);
  crash_catch(name);
  *nowhere = 1;
}

static void a_long_name_does_not_cost_the_rest_of_the_line(void **state)
{
  (void)state;
  ended_t e = run(longest_line);
  assert_ended_by(&e, SIGSEGV);
  assert_says(&e, "^n{40} crashed: SIGSEGV at address 0x10, in n{40}\\+0x[0-9a-f]+, build [0-9a-f]{40}$");
  assert_true(strlen(e.said) <= CRASH_LINE_MAX);
}

static int count_module(struct dl_phdr_info *info, size_t size, void *ctx)
{
  (void)info;
  (void)size;
  ++*(int *)ctx;
  return 0;
}

static int modules_loaded(void)
{
  int count = 0;
  dl_iterate_phdr(count_module, &count);
  return count;
}

/* Another file is another library, whatever it is called inside. */
static void *load_a_copy(const char *folder, int number)
{
  char path[128], part[4096];
  snprintf(path, sizeof path, "%s/copy-%d.so", folder, number);
  FILE *in = fopen(CRASH_MODULE, "rbe"), *out = fopen(path, "wbe");
  size_t n;
  if (in == NULL || out == NULL)
    _exit(98);
  while ((n = fread(part, 1, sizeof part, in)) > 0)
    fwrite(part, 1, n, out);
  fclose(in);
  fclose(out);
  void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  unlink(path);
  return library;
}

static int beyond; /* the limit, the library that crashes */

/* The first library beyond the limit, or the last one within it. */
static void crash_in_a_late_library(void)
{
  char folder[] = "/tmp/test_crash_XXXXXX";
  void *last = NULL;
  if (mkdtemp(folder) == NULL)
    _exit(97);
  for (int i = 0; modules_loaded() < CRASH_MODULES_MAX + beyond; i++)
    if ((last = load_a_copy(folder, i)) == NULL)
      _exit(96);
  rmdir(folder);
  void (*crash)(void) = NULL;
  void *symbol = dlsym(last, "crash_here");
  memcpy(&crash, &symbol, sizeof crash);
  crash_catch("test-crash");
  crash();
}

static void as_many_libraries_have_a_name_as_the_limit_says(void **state)
{
  (void)state;
  beyond = 0;
  ended_t e = run(crash_in_a_late_library);
  assert_ended_by(&e, SIGILL);
  assert_says(&e,
              LINE "SIGILL at address 0x[0-9a-f]+, in copy-[0-9]+\\.so\\+0x[0-9a-f]+, build [0-9a-f]{40}$");
  beyond = 1;
  e = run(crash_in_a_late_library);
  assert_ended_by(&e, SIGILL);
  assert_says(&e, LINE "SIGILL at address 0x[0-9a-f]+, in 0x[0-9a-f]+, build [0-9a-f]{40}$");
}

int main(void)
{
#ifdef SMPL_SANITIZER
  return 0; /* its run time reports by itself */
#endif
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_crash_is_one_line_and_ends_by_its_own_signal),
      cmocka_unit_test(a_signal_that_somebody_sends_ends_it_as_well),
      cmocka_unit_test(a_full_stack_is_told_too),
      cmocka_unit_test(who_may_not_write_tells_somebody_else),
      cmocka_unit_test(a_long_name_does_not_cost_the_rest_of_the_line),
      cmocka_unit_test(as_many_libraries_have_a_name_as_the_limit_says),
      cmocka_unit_test(in_the_journal_lines_have_priorities_and_no_time),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
