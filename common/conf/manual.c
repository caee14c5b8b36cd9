/* SPDX-License-Identifier: Apache-2.0 */
#include "common/conf/manual.h"

#include <string.h>

#include "common/base/text.h"

static const char upper[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ";
static const char option[] = "abcdefghijklmnopqrstuvwxyz-";

void manual_print_text(const char *text, FILE *to)
{
  for (; *text != '\0'; text++) {
    if (strchr("\\*_<>#~", *text) != NULL)
      fputc('\\', to);
    fputc(*text, to);
  }
}

void manual_print_syntax(const char *text, FILE *to)
{
  for (const char *at = text; *at != '\0';) {
    size_t value = strspn(at, upper), name = *at == '-' ? strspn(at, option) : 0;
    size_t len = value > 0 ? value : name > 0 ? name : 1;
    if (value > 0)
      fprintf(to, "_%.*s_", (int)len, at);
    else if (name > 0)
      fprintf(to, "*%.*s*", (int)len, at);
    else
      fputc(*at, to);
    at += len;
  }
}

void manual_print_sentence(const char *text, FILE *to)
{
  char first[2] = {text_upper(text[0])};
  fputs(text[0] == '[' ? "\t\\" : "\t", to); /* in front of a line it would begin a table */
  manual_print_text(first, to);
  manual_print_text(text + 1, to);
  fputs(".\n\n", to);
}
