/* SPDX-License-Identifier: Apache-2.0 */
#include "bastion/cli/commands.h"
#include "bastion/policy/config.h"
#include "bastion/session/question.h"
#include "tests/manuals/print.h"

int main(void)
{
  print_synopsis(&commands_all);
  print_commands("commands", &commands_all);
  print_commands("questions", &question_commands);
  print_options(&option_rows);
  print_keys(&config_map);
  return 0;
}
