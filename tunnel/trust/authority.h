/* SPDX-License-Identifier: Apache-2.0 */
/* Host certificates (PROTOCOL.certkeys), for hosts that a @cert-authority line of known_hosts is about.
 * libssh does not ask for one within the key exchange: it takes their algorithms out of its list. But a
 * certificate is no secret and proves itself. The server has proved in our own key exchange that it holds the
 * key. ssh-keyscan -c fetches the authority's word for this very key over a connection of its own, and
 * ssh-keygen checks its signature. One bounded reader reads it here. */
#pragma once

#include <libssh/libssh.h>
#include <stddef.h>
#include <stdint.h>

#include "tunnel/limits.h"
#include "tunnel/trust/trust.h"

/* Asks the server at host:port for its certificate. revoked: RevokedHostKeys, which may have it or its
 * authority; NULL: none. NULL when an authority of trust vouches with it for key under name, now; else why
 * not, for people. Takes a while: not for the loop. */
const char *authority_ask(const trust_t *trust, const char *revoked, const char *host, uint16_t port,
                          const char *name, ssh_key key);

/* Whether a certificate, whose signature has been checked, speaks for key (a plain public key's bytes) under
 * name at the time now_s (seconds since 1970). NULL and the signer's key, within cert; else why not. Pure. */
const char *authority_read(const uint8_t *cert, size_t cert_len, const uint8_t *key, size_t key_len,
                           const char *name, uint64_t now_s, const uint8_t **signer, size_t *signer_len);
