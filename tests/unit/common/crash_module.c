/* SPDX-License-Identifier: Apache-2.0 */
/* A library that crashes in its own code; the test loads copies of it. */
void crash_here(void);

void crash_here(void)
{
  __builtin_trap();
}
