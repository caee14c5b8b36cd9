/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/manuals/print.h"
#include "tunnel/cli/commands.h"
#include "tunnel/cli/config.h"
#include "tunnel/cli/options.h"

int main(void)
{
  print_synopsis(&commands);
  print_commands("commands", &commands);
  print_options(&option_rows);
  print_keys(&config_map);
  return 0;
}
