/* SPDX-License-Identifier: Apache-2.0 */
/* smpl-app with the echo service in the account service's place: what the end-to-end tests of the http front
 * run. */
#include <stddef.h>

#include "app/program/app.h"
#include "tests/unit/app/echo_service.h"

int main(int argc, char **argv)
{
  static const service_t *const services[] = {&echo_service, NULL};
  return app_main(argc, argv, services);
}
