/* SPDX-License-Identifier: Apache-2.0 */
/* A service for tests: it answers with what it was asked, at once, later, at length, and it leaks. */
#pragma once

#include "app/http/handler.h"

enum { ECHO_HELD_MAX = 16 /* requests that /api/v1/echo/hold keeps */ };

#define ECHO_SECRET "this-must-never-leave"

extern const service_t echo_service;
