/* SPDX-License-Identifier: Apache-2.0 */
/* Whether a host key has signed a session's id (RFC 4253 §8): that this session is with this host, checked
 * again outside the process that libssh runs in. Pure. */
#pragma once

#include <stdbool.h>

#include "common/ssh/cursor.h"

/* key: its blob. signature: as SSH writes it. False for anything malformed, and for keys of other kinds than
 * Ed25519, ECDSA and RSA. */
bool host_proof_holds(cursor_t key, cursor_t signature, cursor_t session);
