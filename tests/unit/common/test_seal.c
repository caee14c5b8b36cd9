/* SPDX-License-Identifier: Apache-2.0 */
/* Filters built from lists, each loaded in a child. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/process/seal.h"

typedef bool (*act_t)(void);

/* The child's status: 0 if the act held behind this filter. */
static int behind(seal_t *(*build)(void), act_t act)
{
  int status = 0;
  fflush(NULL);
  pid_t pid = fork();
  assert_true(pid >= 0);
  if (pid == 0)
    _exit(seal_load(build(), true) != 0 ? 99 : act() ? 0 : 1);
  assert_int_equal(waitpid(pid, &status, 0), pid);
  return status;
}

static const seal_rule_t narrow[] = {
    SEAL_CALL_IF(fcntl, SEAL_ARG(1, IS, F_SETFL), SEAL_ARG(2, WITHOUT, O_ASYNC)),
    SEAL_CALL_IF(fcntl, SEAL_ARG(1, IS, F_GETFL)),
};
static const seal_rule_t deadly[] = {SEAL_CALL(getppid)};
static const seal_rule_t missing[] = {SEAL_CALL(clone3)};

static const seal_rule_t closed[] = {SEAL_CALL_IF(fcntl, SEAL_ARG(1, LOW_IS, F_GETFL))};

static seal_t *make(seal_verdict_t otherwise)
{
  seal_t *seal = seal_new(otherwise);
  seal_add(seal, SEAL_ALLOW, seal_runtime, seal_runtime_count);
  seal_add(seal, SEAL_ALLOW, narrow, COUNT_OF(narrow));
  seal_add(seal, SEAL_ALLOW, narrow, COUNT_OF(narrow)); /* twice is once */
  seal_add(seal, SEAL_END, deadly, COUNT_OF(deadly));
  seal_add(seal, SEAL_MISS, missing, COUNT_OF(missing));
#ifdef SMPL_SANITIZER
  seal_add(seal, SEAL_ALLOW, seal_files, seal_files_count);
#endif
  return seal;
}

static seal_t *refusing(void)
{
  return make(SEAL_REFUSE);
}

static seal_t *ending(void)
{
  return make(SEAL_END);
}

static seal_t *open_but_for_one(void)
{
  seal_t *seal = seal_new(SEAL_ALLOW);
  seal_add(seal, SEAL_REFUSE, closed, COUNT_OF(closed));
  return seal;
}

static bool arguments_decide(void)
{
  return fcntl(0, F_GETFL) >= 0 && fcntl(0, F_SETFL, O_RDONLY) == 0 && fcntl(0, F_SETFL, O_ASYNC) == -1 &&
         errno == EPERM && fcntl(0, F_SETOWN, 1) == -1 && errno == EPERM;
}

/* The kernel looks at the lower half of a command alone; the filter at all of it. */
static bool a_longer_number_is_another(void)
{
  return syscall(SYS_fcntl, 0, (1UL << 32) | F_GETFL, 0) == -1 && errno == EPERM;
}

/* A list of what is refused has to see that. */
static bool half_a_number_is_refused_whatever_the_rest(void)
{
  return syscall(SYS_fcntl, 0, (1UL << 32) | F_GETFL, 0) == -1 && errno == EPERM && fcntl(0, F_GETFL) == -1 &&
         errno == EPERM && fcntl(0, F_GETFD) >= 0;
}

static bool ask_deadly(void)
{
  return getppid() == 0;
}

static bool is_missing(void)
{
  return syscall(SYS_clone3, NULL, 0) == -1 && errno == ENOSYS;
}

static bool refused(void)
{
  return access("/", F_OK) == -1 && errno == EPERM;
}

static bool abort_it(void)
{
  abort();
}

static void checks_of_arguments_hold(void **state)
{
  (void)state;
  assert_int_equal(behind(refusing, arguments_decide), 0);
  assert_int_equal(behind(refusing, a_longer_number_is_another), 0);
  assert_int_equal(behind(open_but_for_one, half_a_number_is_refused_whatever_the_rest), 0);
}

static void each_verdict_is_what_it_says(void **state)
{
  (void)state;
  int status = behind(refusing, ask_deadly);
  assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS);
  assert_int_equal(behind(refusing, is_missing), 0);
#ifndef SMPL_SANITIZER
  assert_int_equal(behind(refusing, refused), 0);
  status = behind(ending, refused);
  assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS);
#endif
}

#ifndef SMPL_SANITIZER
static void a_sealed_process_can_still_abort(void **state)
{
  (void)state;
  int status = behind(refusing, abort_it);
  assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
}
#else
static void a_sealed_process_can_still_abort(void **state)
{
  (void)state;
  (void)ending;
  (void)abort_it;
  (void)refused;
}
#endif

#ifdef __x86_64__
/* The numbers mean other calls there: 20 is writev() in the one table and getpid() in the other. */
static bool call_by_32_bits(void)
{
  long result = 20;
  __asm__ volatile("int $0x80" : "+a"(result) : : "memory");
  return true;
}
static bool call_by_x32(void)
{
  syscall(0x40000000 | SYS_getpid);
  return true;
}

static void calls_of_another_kind_of_program_end_it(void **state)
{
  (void)state;
  int status = behind(refusing, call_by_32_bits);
  assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS);
  status = behind(refusing, call_by_x32);
  assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS);
  status = behind(open_but_for_one, call_by_32_bits);
  assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS);
  status = behind(open_but_for_one, call_by_x32);
  assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS);
}
#else
static void calls_of_another_kind_of_program_end_it(void **state)
{
  (void)state;
  skip();
}
#endif

static void *ask(void *arg)
{
  int *go = arg;
  char byte;
  ssize_t n = read(*go, &byte, 1);
  (void)n;
  return (void *)(intptr_t)(fcntl(0, F_SETOWN, 1) == -1 && errno == EPERM);
}

/* In a child, whose other thread was there before the filter. */
static void the_filter_is_every_threads(void **state)
{
  (void)state;
  static const seal_rule_t reading[] = {SEAL_CALL(read), SEAL_CALL(write)};
  int status = 0;
  fflush(NULL);
  pid_t pid = fork();
  if (pid == 0) {
    int ends[2];
    pthread_t thread;
    void *held = NULL;
    seal_t *seal = make(SEAL_REFUSE);
    seal_add(seal, SEAL_ALLOW, reading, COUNT_OF(reading));
    bool fine = pipe(ends) == 0 && pthread_create(&thread, NULL, ask, &ends[0]) == 0 &&
                seal_load(seal, true) == 0 && write(ends[1], "", 1) == 1 && pthread_join(thread, &held) == 0;
    _exit(fine && held != NULL ? 0 : 1);
  }
  assert_int_equal(waitpid(pid, &status, 0), pid);
  assert_int_equal(status, 0);
}

static void a_filter_that_ran_out_of_memory_does_not_load(void **state)
{
  (void)state;
  seal_add(NULL, SEAL_ALLOW, narrow, COUNT_OF(narrow));
  assert_int_not_equal(seal_load(NULL, true), 0);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(checks_of_arguments_hold),
      cmocka_unit_test(each_verdict_is_what_it_says),
      cmocka_unit_test(calls_of_another_kind_of_program_end_it),
      cmocka_unit_test(a_sealed_process_can_still_abort),
      cmocka_unit_test(the_filter_is_every_threads),
      cmocka_unit_test(a_filter_that_ran_out_of_memory_does_not_load),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
