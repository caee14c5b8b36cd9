/* SPDX-License-Identifier: Apache-2.0 */
#include "common/base/log.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/text.h"

/* Set once by log_init before threads exist; read-only afterwards. */
static const char *log_program = "smpl";
static log_level_t log_max_level = LOG_LEVEL_INFO;
static bool log_colour;
static bool log_journal;

/* The journal says which device and inode its stream is (systemd.exec(5)): standard error may have been led
 * elsewhere since. */
static bool is_journal(const char *stream)
{
  struct stat st;
  const char *colon = stream != NULL ? strchr(stream, ':') : NULL;
  uint64_t device = 0, inode = 0;
  if (colon == NULL || fstat(STDERR_FILENO, &st) < 0 ||
      text_parse_u64(stream, (size_t)(colon - stream), UINT64_MAX, &device) ||
      text_parse_u64(colon + 1, strlen(colon + 1), UINT64_MAX, &inode))
    return false;
  return st.st_dev == device && st.st_ino == inode;
}

void log_init(const char *program, log_level_t level)
{
  log_program = program;
  log_max_level = level;
  const char *no_color = getenv("NO_COLOR");
  log_colour = isatty(STDERR_FILENO) && (no_color == NULL || no_color[0] == '\0');
  log_journal = is_journal(getenv("JOURNAL_STREAM"));
}

bool log_in_journal(void)
{
  return log_journal;
}

static const char *const level_names[] = {"error", "warning", "info", "debug"};
static const int level_priorities[] = {3, 4, 6, 7}; /* syslog(3) */
static const char *const level_colours[] = {"\033[31m", "\033[33m", "\033[32m", "\033[2m"};

__attribute__((format(printf, 2, 0))) static void log_line(log_level_t level, const char *fmt, va_list ap)
{
  if (level > log_max_level)
    return;
  char raw[LOG_LINE_MAX];
  int n = vsnprintf(raw, sizeof raw, fmt, ap);
  size_t raw_len = n < 0 ? 0 : (size_t)n;
  if (raw_len >= sizeof raw)
    raw_len = sizeof raw - 1;
  char when[CLOCK_ISO_MAX];
  char line[LOG_LINE_MAX];
  if (log_journal)
    n = snprintf(line, sizeof line, "<%d>", level_priorities[level]);
  else
    n = snprintf(line, sizeof line, "%s %s %s%s%s: ", clock_wall_iso(when), log_program,
                 log_colour ? level_colours[level] : "", level_names[level], log_colour ? "\033[0m" : "");
  size_t used = n < 0 ? 0 : (size_t)n;
  used += text_printable(line + used, sizeof line - used - 1, raw, raw_len);
  line[used++] = '\n';
  /* A log that cannot be written has nowhere to be reported. */
  ssize_t ignored = write(STDERR_FILENO, line, used);
  (void)ignored;
}

void log_failure(const char *program, const char *text)
{
  if (!log_journal) {
    fprintf(stderr, "%s: %s\n", program, text);
    return;
  }
  while (*text != '\0') { /* the journal takes each line for itself */
    size_t len = strcspn(text, "\n");
    fprintf(stderr, "<%d>%.*s\n", level_priorities[LOG_LEVEL_ERROR], (int)len, text);
    text += len + (text[len] == '\n');
  }
}

void log_error(const char *fmt, ...)
{
  va_list ap;
  va_start(ap, fmt);
  log_line(LOG_LEVEL_ERROR, fmt, ap);
  va_end(ap);
}

void log_warn(const char *fmt, ...)
{
  va_list ap;
  va_start(ap, fmt);
  log_line(LOG_LEVEL_WARN, fmt, ap);
  va_end(ap);
}

void log_info(const char *fmt, ...)
{
  va_list ap;
  va_start(ap, fmt);
  log_line(LOG_LEVEL_INFO, fmt, ap);
  va_end(ap);
}

void log_debug(const char *fmt, ...)
{
  va_list ap;
  va_start(ap, fmt);
  log_line(LOG_LEVEL_DEBUG, fmt, ap);
  va_end(ap);
}
