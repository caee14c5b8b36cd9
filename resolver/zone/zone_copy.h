/* SPDX-License-Identifier: Apache-2.0 */
/* A zone written down as it was served, to serve it again when its own file is bad at a start. The text is a
 * master file that any tool reads (RFC 3597 data). A head of comments comes before it, and a last line with
 * the SHA-256 of all the rest behind it. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/diag.h"
#include "common/dns/dns_wire.h"
#include "resolver/zone/zone.h"

enum {
  ZONE_DIGEST_LEN = 32,
  ZONE_COPY_NAME_MAX = 200, /* bytes of a copy's file name, with NUL */
  ZONE_COPY_CHUNK = 64 << 10,
};

/* A view that has the zone, itself or below an overlay. */
typedef struct zone_copy_view {
  const char *name;
  bool is_private; /* all its clients are private addresses */
} zone_copy_view_t;

typedef struct zone_copy_views {
  zone_copy_view_t *items;
  size_t count;
} zone_copy_views_t;

/* What a copy says of itself. */
typedef struct zone_copy_head {
  uint32_t serial;
  uint64_t made_ms; /* wall clock */
  uint8_t digest[ZONE_DIGEST_LEN];
} zone_copy_head_t;

/* Of the zone's records, whatever their order in the file. SMPL_ENOMEM. Any thread. */
int zone_digest(const zone_t *zone, uint8_t out[static ZONE_DIGEST_LEN]);

/* Whether two zones are the same to the byte: the quick answer, for files that did not change. */
bool zone_is_same(const zone_t *a, const zone_t *b);

/* Whether a serial comes after another (RFC 1982 section 3.2); false where they are equal. */
bool zone_serial_after(uint32_t a, uint32_t b);

/* The name of a zone's copy in the folder of state, of letters that any file system takes. Returns buf. */
char *zone_copy_name(const char *zone, char buf[static ZONE_COPY_NAME_MAX]);

/* Hands the copy's bytes to sink, in pieces of at most ZONE_COPY_CHUNK. A result of sink other than 0 ends it
 * and is returned; SMPL_ENOMEM, SMPL_ELIMIT (longer than a zone file may be). */
int zone_copy_write(const zone_t *zone, const zone_copy_views_t *views, const zone_copy_head_t *head,
                    int (*sink)(void *ctx, const char *bytes, size_t len), void *ctx);

/* Reads the copy at path of the zone `name`. It counts only if it is whole, is of this zone, and every view
 * that has the zone now had it then; a view that was private then must be so now: data never comes to clients
 * for whom it was not meant. On success the zone's files are those that it was made from. SMPL_ENOENT (there
 * is none), SMPL_EINVAL, SMPL_EDENIED (other views), each with one sentence in diag. */
int zone_copy_read(const char *name, const dns_name_t *origin, const char *path,
                   const zone_copy_views_t *views, zone_contents_t **out, zone_copy_head_t *head,
                   diag_t *diag);

/* The head alone of a copy that need not be whole. *same_views: it is for these views and for no other.
 * SMPL_ENOENT, SMPL_EINVAL. */
int zone_copy_peek(const char *path, const char *name, const zone_copy_views_t *views, zone_copy_head_t *head,
                   bool *same_views);
