#include <stddef.h>

#include "app/app.h"
#ifdef SMPL_APP_SERVICES
#include "app/services/services.h"
#endif

int main(int argc, char **argv)
{
  static const service_t *const services[] = {
#ifdef SMPL_APP_SERVICES
      &accounts_service, &config_service, &flags_service,
#endif
      NULL,
  };
  return app_main(argc, argv, services);
}
