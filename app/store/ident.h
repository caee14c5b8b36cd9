/* SPDX-License-Identifier: Apache-2.0 */
/* Names and moments as the API writes them: UUIDs, resource ids that clients choose, RFC 3339 times. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/base/ip.h"

enum {
  UUID_TEXT_MAX = 37,    /* with NUL */
  RESOURCE_ID_MAX = 255, /* characters of an id that the client chooses */
};

/* Version 4, lower case, into out (UUID_TEXT_MAX bytes). SMPL_ESYS when there is no randomness. */
int uuid_generate(char *out);
/* Its 16 bytes, for a crowd of accounts (common/net/crowd.h). Of what is no UUID, some bytes. */
ip_t uuid_place(const char *text);
/* 8-4-4-4-12 lower-case hexadecimal. */
bool uuid_valid(const char *text);

/* 1 to RESOURCE_ID_MAX of A-Z a-z 0-9 . _ ~ - and not "." or "..": what can stand in a path as it is. */
bool resource_id_valid(const char *id);

/* "2027-03-20T11:02:16.616Z", "...+02:00", to milliseconds since 1970; years 1970 to 9999. SMPL_EINVAL. */
int time_parse(const char *text, uint64_t *ms);
