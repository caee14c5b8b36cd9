/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/manuals/print.h"

#include <stdio.h>

#include "common/conf/manual.h"
#include "common/conf/reference.h"

static void begin(const char *part)
{
  printf("; begin %s\n", part);
}

static void end(void)
{
  puts("; end");
}

void print_synopsis(const command_set_t *commands)
{
  begin("synopsis");
  for (size_t i = 0; i < commands->count; i++) {
    const command_row_t *row = command_at(commands, i);
    printf("*%s* *%s*", commands->program, row->name);
    const char *behind[] = {row->args, row->options};
    for (size_t j = 0; j < sizeof behind / sizeof *behind; j++) {
      if (behind[j] == NULL)
        continue;
      putchar(' ');
      manual_print_syntax(behind[j], stdout);
    }
    puts(i + 1 < commands->count ? "++" : "");
  }
  end();
}

void print_commands(const char *part, const command_set_t *commands)
{
  begin(part);
  command_print_manual(commands, stdout);
  end();
}

void print_options(const option_set_t *options)
{
  begin("options");
  option_print_manual(options, stdout);
  end();
}

void print_keys(const conf_map_t *map)
{
  begin("keys");
  conf_reference_print(map, stdout);
  end();
}
