/* SPDX-License-Identifier: Apache-2.0 */
#include "resolver/cli/commands.h"
#include "resolver/view/settings.h"
#include "tests/manuals/print.h"

int main(void)
{
  print_synopsis(&commands);
  print_commands("commands", &commands);
  print_options(&option_rows);
  print_keys(&settings_map);
  return 0;
}
