/* SPDX-License-Identifier: Apache-2.0 */
/* Log lines for people and journald: one write(2) a line to standard error, hostile bytes escaped, at most
 * LOG_LINE_MAX bytes. Safe from any thread. Lines for machines (audit, access log) are written elsewhere, as
 * JSON. */
#pragma once

#include <stdbool.h>

enum { LOG_LINE_MAX = 2048 };

typedef enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARN, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG } log_level_t;

/* Once, before any thread starts. program is kept, not copied. Colours the level when standard error is a
 * terminal and NO_COLOR is unset. */
void log_init(const char *program, log_level_t level);

/* Whether standard error is the journal's: then lines begin with their priority (<3>, as sd-daemon(3) has it)
 * and without a time, which the journal knows. From log_init on. */
bool log_in_journal(void);

/* Why a program ends before it serves: one line, "PROGRAM: TEXT", and an error to the journal. */
void log_failure(const char *program, const char *text);

void log_error(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void log_warn(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void log_info(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void log_debug(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
