/* SPDX-License-Identifier: Apache-2.0 */
/* TLS of an http listener by OpenSSL: 1.2 and later, one certificate, which is read again when its files
 * change. No sockets here: ciphertext goes in and out as bytes, and the connection moves them. Private to the
 * http side; all on the loop's thread. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "app/limits.h"
#include "common/base/diag.h"

typedef struct tls tls_t;           /* of a listener */
typedef struct tls_link tls_link_t; /* of one connection */

/* Reads certificate (with its chain, PEM) and key (PEM, without passphrase, of our user and closed to
 * others); paths are copied. SMPL_EINVAL, SMPL_EDENIED, SMPL_ENOENT ...; diag names the file. */
int tls_open(const char *certificate, const char *key, tls_t **out, diag_t *diag);
/* Once no link is left. NULL allowed. */
void tls_free(tls_t *tls);

/* Looks whether the files are others than those looked at last; if so reads them. 1: a new certificate serves
 * new connections; 0: nothing has changed; negative: what is there now cannot be used, diag says why, and the
 * old one stays until they change again; where it was for want of open files, memory or the like, they are
 * tried again at each call, and that is said once. */
int tls_refresh(tls_t *tls, diag_t *diag);

/* Serves new connections by what other has read, and looks at other's files from now on; nothing changes
 * if they are the files of before as they were. Links stay. Takes over other, which must have none.
 * True if something has changed. */
bool tls_adopt(tls_t *tls, tls_t *other);
/* "CN=config.smplkit.com" or its first name, and the last day it is good for ("2027-01-31T10:00:00Z"). */
const char *tls_subject(const tls_t *tls);
const char *tls_until(const tls_t *tls);
/* Days until then from now, negative if it has passed. */
int tls_days_left(const tls_t *tls);
/* The second, since 1970, at which it ends. */
int64_t tls_ends(const tls_t *tls);

/* NULL when out of memory. */
tls_link_t *tls_link_new(tls_t *tls);
/* NULL allowed. */
void tls_link_free(tls_link_t *link);

/* Gives bytes of the peer to the following tls_read calls, which take all of them. */
void tls_feed(tls_link_t *link, const uint8_t *bytes, size_t len);
/* The handshake goes on with what was fed, or plaintext comes out: how much of it, 0 when more must be fed,
 * SMPL_ECLOSED after the peer's close_notify, SMPL_EPROTO (tls_reason says what), SMPL_ENOMEM. Output may
 * have been made in any case. */
ssize_t tls_read(tls_link_t *link, uint8_t *buf, size_t cap);
/* Encrypts at most TLS_WRITE_MAX bytes, all of them, into the output. */
int tls_write(tls_link_t *link, const uint8_t *bytes, size_t len);
/* Puts close_notify into the output. */
void tls_bye(tls_link_t *link);

/* The ciphertext that was made since it was taken last. Valid until the next call for any link of the same
 * tls: it must be taken after each. */
void tls_take_output(tls_link_t *link, const uint8_t **bytes, size_t *len);

/* Bytes of memory that a record takes of which only a part has come; 0 if there is none. */
size_t tls_held(const tls_link_t *link);

bool tls_established(const tls_link_t *link);
/* Why the last tls_read failed: OpenSSL's words, such as "no shared cipher". */
const char *tls_reason(const tls_link_t *link);
