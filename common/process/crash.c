/* SPDX-License-Identifier: Apache-2.0 */
#include "common/base/count.h"
#include "common/process/crash.h"

#include <elf.h>
#include <link.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#include "common/base/log.h"
#include "common/base/text.h"

enum { BUILD_ID_MAX = 32, NAME_SHOWN = 40 };

typedef struct module {
  const char *name; /* "": the program */
  uintptr_t base, from, to;
} module_t;

/* Set before threads start and before anything is sealed; the handler only reads. */
static const char *crash_program = "smpl";
static module_t modules[CRASH_MODULES_MAX];
static size_t module_count;
static char build_id[2 * BUILD_ID_MAX + 1];
static void (*teller)(void *ctx, const char *line); /* NULL: standard error */
static void *teller_ctx;
static volatile int *volatile nowhere;

static const struct {
  int number;
  const char *name;
} fatal[] = {
    {SIGSEGV, "SIGSEGV"}, {SIGBUS, "SIGBUS"},   {SIGILL, "SIGILL"}, {SIGFPE, "SIGFPE"},
    {SIGABRT, "SIGABRT"}, {SIGTRAP, "SIGTRAP"}, {SIGSYS, "SIGSYS"},
};

enum { FATAL_COUNT = COUNT_OF(fatal) };

/* ---- the line; all of this is called by the handler: no lock, no memory, no locale ---- */

typedef struct line {
  char text[CRASH_LINE_MAX];
  size_t len;
} line_t;

static void put(line_t *l, const char *text, size_t max)
{
  for (size_t i = 0; i < max && text[i] != '\0' && l->len < sizeof l->text - 1; i++)
    l->text[l->len++] = text[i];
}

static void put_number(line_t *l, uint64_t value, unsigned base)
{
  char digits[24];
  size_t at = sizeof digits - 1;
  digits[at] = '\0';
  do {
    digits[--at] = "0123456789abcdef"[value % base];
    value /= base;
  } while (value > 0 && at > 0);
  if (base == 16)
    put(l, "0x", 2);
  put(l, digits + at, sizeof digits);
}

static uintptr_t place_of(const void *context)
{
  const ucontext_t *u = context;
#if defined(__x86_64__)
  return (uintptr_t)u->uc_mcontext.gregs[REG_RIP];
#elif defined(__aarch64__)
  return (uintptr_t)u->uc_mcontext.pc;
#else
  (void)u;
  return 0;
#endif
}

/* As addr2line takes it: the file, and where in it. */
static void put_place(line_t *l, uintptr_t at)
{
  for (size_t i = 0; i < module_count; i++) {
    if (at < modules[i].from || at >= modules[i].to)
      continue;
    put(l, modules[i].name[0] != '\0' ? modules[i].name : crash_program, NAME_SHOWN);
    put(l, "+", 1);
    put_number(l, at - modules[i].base, 16);
    return;
  }
  put_number(l, at, 16);
}

/* Of a fault the kernel knows the address. */
static bool is_fault(int number, const siginfo_t *info)
{
  return info->si_code > 0 && (number == SIGSEGV || number == SIGBUS || number == SIGILL || number == SIGFPE);
}

static void report(int number, const siginfo_t *info, const void *context)
{
  line_t l = {.len = 0};
  const char *name = "signal";
  for (size_t i = 0; i < FATAL_COUNT; i++)
    name = fatal[i].number == number ? fatal[i].name : name;
  if (teller == NULL && log_in_journal())
    put(&l, "<2>", 3);
  put(&l, crash_program, NAME_SHOWN);
  put(&l, " " CRASH_WORD, sizeof CRASH_WORD);
  put(&l, name, NAME_SHOWN);
  if (is_fault(number, info)) {
    put(&l, " at address ", NAME_SHOWN);
    put_number(&l, (uintptr_t)info->si_addr, 16);
  } else if (info->si_code <= 0) {
    put(&l, " sent by process ", NAME_SHOWN);
    put_number(&l, (uint64_t)info->si_pid, 10);
  }
  put(&l, ", in ", NAME_SHOWN);
  put_place(&l, place_of(context));
  put(&l, ", build ", NAME_SHOWN);
  put(&l, build_id[0] != '\0' ? build_id : "unknown", sizeof build_id);
  l.text[l.len] = '\0';
  if (teller != NULL) {
    teller(teller_ctx, l.text);
    return;
  }
  l.text[l.len++] = '\n';
  ssize_t ignored = write(STDERR_FILENO, l.text, l.len);
  (void)ignored;
}

/* A fault comes again by itself once the handler has returned. What was sent does not: it is sent again, and
 * is held back until then. SA_RESETHAND has put the signal's own action back. */
static void make_again(int number, const siginfo_t *info)
{
  if (is_fault(number, info))
    return;
  if (teller == NULL && syscall(SYS_tgkill, getpid(), syscall(SYS_gettid), number) == 0)
    return;
  if (number == SIGSEGV)
    *nowhere = 0;
  __builtin_trap();
}

static void on_crash(int number, siginfo_t *info, void *context)
{
  report(number, info, context);
  make_again(number, info);
}

/* ---- what is found out before ---- */

static void take_note(const char *note, size_t size)
{
  while (size >= sizeof(ElfW(Nhdr)) && build_id[0] == '\0') {
    ElfW(Nhdr) head;
    memcpy(&head, note, sizeof head);
    size_t name = ((size_t)head.n_namesz + 3) & ~(size_t)3;
    size_t data = ((size_t)head.n_descsz + 3) & ~(size_t)3;
    if (name > size || data > size || sizeof head + name + data > size)
      return;
    if (head.n_type == NT_GNU_BUILD_ID && head.n_namesz == 4 && head.n_descsz <= BUILD_ID_MAX &&
        memcmp(note + sizeof head, "GNU", 4) == 0)
      text_hex(build_id, (const uint8_t *)note + sizeof head + name, head.n_descsz);
    note += sizeof head + name + data;
    size -= sizeof head + name + data;
  }
}

static int take_module(struct dl_phdr_info *info, size_t size, void *ctx)
{
  (void)size;
  (void)ctx;
  if (module_count == CRASH_MODULES_MAX)
    return 1;
  bool first = module_count == 0;
  const char *slash = strrchr(info->dlpi_name, '/');
  module_t m = {slash != NULL ? slash + 1 : info->dlpi_name, info->dlpi_addr, UINTPTR_MAX, 0};
  for (size_t i = 0; i < info->dlpi_phnum; i++) {
    const ElfW(Phdr) *p = &info->dlpi_phdr[i];
    uintptr_t at = info->dlpi_addr + p->p_vaddr;
    if (p->p_type == PT_LOAD && (p->p_flags & PF_X) != 0) {
      m.from = at < m.from ? at : m.from;
      m.to = at + p->p_memsz > m.to ? at + p->p_memsz : m.to;
    }
    if (first && p->p_type == PT_NOTE)
      take_note((const char *)at, p->p_memsz);
  }
  modules[module_count++] = m;
  return 0;
}

void crash_thread(void)
{
#ifndef SMPL_SANITIZER
  void *stack = mmap(NULL, CRASH_STACK_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  const stack_t s = {.ss_sp = stack, .ss_size = CRASH_STACK_SIZE};
  if (stack != MAP_FAILED)
    sigaltstack(&s, NULL);
#endif
}

void crash_tell(void (*tell)(void *ctx, const char *line), void *ctx)
{
  teller = tell;
  teller_ctx = ctx;
}

void crash_catch(const char *program)
{
  bool first = module_count == 0;
  crash_program = program;
  if (!first)
    return;
  dl_iterate_phdr(take_module, NULL);
  crash_thread();
#ifndef SMPL_SANITIZER
  for (size_t i = 0; i < FATAL_COUNT; i++) {
    struct sigaction action = {.sa_sigaction = on_crash,
                               .sa_flags = SA_SIGINFO | SA_ONSTACK | (int)SA_RESETHAND};
    sigaction(fatal[i].number, &action, NULL);
  }
#else
  (void)on_crash;
#endif
}
