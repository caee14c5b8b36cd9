/* SPDX-License-Identifier: Apache-2.0 */
/* Public keys as they stand on the wire (RFC 4253 §6.6), as libssh has them. */
#pragma once

#include <libssh/libssh.h>

#include "common/ssh/cursor.h"

/* NULL for a kind that libssh does not know, or a malformed one. */
ssh_key blob_key(cursor_t blob);
/* The same of a certificate. */
ssh_key blob_certificate(cursor_t blob);
/* The blob of a key or certificate, malloc'ed. NULL: there is none. */
uint8_t *blob_of(ssh_key key, size_t *len);
