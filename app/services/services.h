/* SPDX-License-Identifier: Apache-2.0 */
/* The services that smpl-app can be. */
#pragma once

#include "app/http/handler.h"

extern const service_t accounts_service, config_service, flags_service;
