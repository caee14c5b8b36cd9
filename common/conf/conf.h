/* SPDX-License-Identifier: Apache-2.0 */
/* Configuration files: YAML by libfyaml, described by data tables, decoded into the caller's structs. These
 * are errors, each with file:line:column: unknown keys, duplicate keys, directives, aliases, anchors, tags,
 * merge keys, control characters, a second document, too long lists, files above CONF_FILE_MAX. Everything
 * decoded lives until conf_free.
 *
 * A program writes one struct and one table per mapping:
 *
 *   typedef struct { const char *name; conf_list_t clients; } view_conf_t;            // clients: ip_net_t
 * items static const conf_field_t view_fields[] = {
 *     {"name", CONF_ONE, offsetof(view_conf_t, name), .scalar = &conf_string, .required = true},
 *     {"clients", CONF_MANY, offsetof(view_conf_t, clients), .scalar = &conf_ip_net, .required = true},
 *   };
 *   static const conf_map_t view_map = {"view", sizeof(view_conf_t), view_fields, COUNT_OF(view_fields),
 * NULL};
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/count.h"
#include "common/base/diag.h"

enum {
  CONF_FILE_MAX = 16 << 20, /* bytes */
  CONF_LIST_MAX = 200000,   /* items in one list, unless the field says less */
  CONF_MAP_KEYS_MAX = 64,   /* keys in one mapping: libfyaml's duplicate check is quadratic */
};

typedef struct conf conf_t;

/* A decoded list: count items of the scalar's or map's size. */
typedef struct conf_list {
  void *items;
  size_t count;
} conf_list_t;

/* How a scalar is read. */
typedef struct conf_scalar {
  const char *expected; /* "a duration such as 30s": for messages and references */
  size_t size;
  /* Gets the text with a NUL after len (no NUL inside), writes *out, returns 0 or negative. The message is
   * then "expected <expected>, got '<text>'". Memory it needs to keep comes from conf_alloc. */
  int (*parse)(conf_t *conf, const char *text, size_t len, void *out);
  /* Whether two values of size bytes are the same: conf_same_text, conf_same_bytes or another. NULL: they
   * cannot be compared, and a fixed field counts as changed. */
  bool (*same)(const void *a, const void *b, size_t size);
  /* The value as a file would have it, cut to cap; returns buf. NULL: defaults are not shown. */
  char *(*format)(const void *value, char *buf, size_t cap);
  bool is_number; /* a uint64_t: min and max of the field apply */
} conf_scalar_t;

/* Of const char *; NULL is the same as NULL. */
bool conf_same_text(const void *a, const void *b, size_t size);
/* Of what has neither pointers nor padding. */
bool conf_same_bytes(const void *a, const void *b, size_t size);

extern const conf_scalar_t conf_string;   /* const char *, not empty */
extern const conf_scalar_t conf_path;     /* const char *, relative to the file's folder */
extern const conf_scalar_t conf_bool;     /* bool: true or false */
extern const conf_scalar_t conf_uint;     /* uint64_t; min and max of the field apply */
extern const conf_scalar_t conf_duration; /* uint64_t milliseconds ("30s", "20m"); min and max apply */
extern const conf_scalar_t conf_ip;       /* ip_t */
extern const conf_scalar_t conf_ip_net;   /* ip_net_t */
extern const conf_scalar_t conf_endpoint; /* endpoint_t, "127.0.0.1:53" or "[::1]:53" */

typedef enum conf_shape {
  CONF_ONE,         /* the scalar itself at offset */
  CONF_MANY,        /* conf_list_t of scalars, not empty unless allow_empty */
  CONF_ONE_OR_MANY, /* the same, a lone scalar counts as a list of one */
  CONF_MAP,         /* the struct of .map at offset */
  CONF_MAPS,        /* conf_list_t of such structs */
  CONF_ONE_OR_MAP, /* the struct of .map; a lone scalar is its first field, and the others have their defaults
                    */
} conf_shape_t;

struct conf_map;

typedef struct conf_field {
  const char *key;
  conf_shape_t shape;
  size_t offset;
  const conf_scalar_t *scalar;
  const struct conf_map *map;
  bool required;
  bool allow_empty;  /* lists only: [] or nothing behind the key */
  bool is_private;   /* messages do not tell the value: a secret may have been put there by mistake */
  uint64_t min, max; /* of a number, in lists too; max 0: no limit */
  size_t most;       /* lists: most items; 0: CONF_LIST_MAX */
  bool fixed;        /* a reload cannot change it, nor anything inside it (conf/fixed.h) */
  const char *doc;   /* one line for the manual page, without a full stop at its end (conf/reference.h) */
} conf_field_t;

typedef struct conf_map {
  const char *what; /* "view": names the mapping in messages */
  size_t size;
  const conf_field_t *fields;
  size_t count;
  void (*defaults)(void *out); /* called on zeroed memory before decoding; may be NULL */
} conf_map_t;

/* Reads the file at path as `map` into out (map->size bytes, zeroed here). On error *conf is NULL and diag
 * says "path:line:col: what is wrong". A file that others can write is refused (file_read_trusted). Any
 * thread; no state is shared between calls. */
int conf_load(const char *path, const conf_map_t *map, void *out, conf_t **conf, diag_t *diag);
/* The same with the file's text at hand; path stands in messages. */
int conf_parse(const char *path, const char *text, size_t len, const conf_map_t *map, void *out,
               conf_t **conf, diag_t *diag);
void conf_free(conf_t *conf);

/* The path given to conf_load. */
const char *conf_path_of(const conf_t *conf);

/* Zeroed memory that lives as long as conf; NULL when out of memory. */
void *conf_alloc(conf_t *conf, size_t size);

/* True when the file gave the scalar or list at this address (as opposed to its default). */
bool conf_given(const conf_t *conf, const void *field);
/* The same for the struct of a CONF_MAP, whose address is also its first field's. */
bool conf_given_map(const conf_t *conf, const void *map);

/* For checks after decoding: fails with "file:line:col: message" where field (the address of a decoded field,
 * list item or struct in a list) was written; the file alone if it was not. */
int conf_fail(const conf_t *conf, diag_t *diag, const void *field, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
#ifdef __clang_analyzer__
#define conf_fail(conf, diag, ...) (conf_fail(conf, diag, __VA_ARGS__), SMPL_EINVAL)
#endif
/* The same place as text, for warnings. buf of cap bytes; returns buf. */
char *conf_place(const conf_t *conf, const void *field, char *buf, size_t cap);
