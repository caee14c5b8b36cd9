/* SPDX-License-Identifier: Apache-2.0 */
/* Signatures are the supervisor's. libssh calls OpenSSL's EVP_DigestSign with the hollow key that it was
 * given; this executable defines it, so the call lands here and is sent on. In every other process, and for
 * every other caller, it is OpenSSL's. */
#pragma once

/* Once, in the speaker, before anything is signed. */
void hollow_sign_start(void);
