/* SPDX-License-Identifier: Apache-2.0 */
#include <stddef.h>

#include "app/program/app.h"
#include "app/services/services.h"

int main(int argc, char **argv)
{
  static const service_t *const services[] = {&accounts_service, &config_service, &flags_service, NULL};
  return app_main(argc, argv, services);
}
