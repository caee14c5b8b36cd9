/* SPDX-License-Identifier: Apache-2.0 */
#include "app/program/settings_file.h"
#include "tests/manuals/print.h"

int main(void)
{
  print_keys(&settings_file_map);
  return 0;
}
