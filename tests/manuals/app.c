/* SPDX-License-Identifier: Apache-2.0 */
#include "app/program/commands.h"
#include "app/program/settings_file.h"
#include "tests/manuals/print.h"

int main(void)
{
  print_synopsis(&commands);
  print_commands("commands", &commands);
  print_options(&option_rows);
  print_keys(&settings_file_map);
  return 0;
}
