/* SPDX-License-Identifier: Apache-2.0 */
/* Text in scdoc's language, for what a table writes into a manual page. Any thread. */
#pragma once

#include <stdio.h>

/* Plain text: characters that scdoc would take for markup are escaped. */
void manual_print_text(const char *text, FILE *to);

/* "explain USER --from ADDR" with options in bold and words in capitals underlined: they stand for something.
 */
void manual_print_syntax(const char *text, FILE *to);

/* The paragraph below a term: the text begins with a capital and ends with a full stop. */
void manual_print_sentence(const char *text, FILE *to);
