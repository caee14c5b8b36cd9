/* SPDX-License-Identifier: Apache-2.0 */
/* Big request bodies are taken apart, checked and freed by threads of their own, so that the loop turns to
 * others meanwhile. They wait in turns (common/base/turns.h) by account, or by source where no account is
 * known: however many one has sent, a body of another waits for one of them and for those that the threads
 * have. Only so many may be parsed at once, since a parsed value takes a hundred times the memory of its
 * text. When all places are taken, the owner with most that wait loses the newest.
 *
 * A thread has a body's text or values alone from the hand-over until it is back. The request belongs to the
 * loop's thread all the while: it is not freed before, also when its client has gone. All calls on the loop's
 * thread; private to the http side. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

struct request;

typedef struct parse parse_t;
typedef struct parsed parsed_t; /* a big body, from its last byte until its request is over */

typedef struct parse_conf {
  size_t waiting;      /* bodies that may wait */
  size_t parsed;       /* parsed ones that there may be */
  size_t parsed_share; /* of them, of one account or source */
  /* A thread takes the request's text: it is not the connection's any more. */
  void (*taken)(struct request *request);
  /* It is parsed, or err and why say what is wrong with it. */
  void (*done)(struct request *request, int err, const char *why);
} parse_conf_t;

/* Starts the threads. SMPL_ENOMEM, SMPL_ESYS. */
int parse_open(uv_loop_t *loop, const parse_conf_t *conf, parse_t **out);
/* Once all requests are over. Frees what they left, ends the threads; closed is called from the loop. */
void parse_close(parse_t *parse, void (*closed)(void *ctx), void *ctx);

/* Queues the request's body, which is there whole; `done` follows on a later turn of the loop.
 * *displaced, unless NULL, is a request that gave its place to this one. SMPL_ENOMEM; SMPL_ELIMIT: there is
 * no place. */
int parse_queue(struct request *request, struct request **displaced);
/* A thread has the request's body now. */
bool parse_is_away(const struct request *request);
/* The request is over, wherever its body is, but not while it is away. May be called for any request. */
void parse_forget(struct request *request);

/* If bodies were freed since the last time: gives their memory back to the system, some time soon. */
bool parse_trim(parse_t *parse);

typedef struct parse_counts {
  size_t waiting, parsed; /* bodies that wait; parsed ones, and those being parsed */
  uint64_t here, there;   /* how many were parsed on the loop and by the threads, since the start */
} parse_counts_t;

parse_counts_t parse_counts(const parse_t *parse);
/* One was parsed on the loop. */
void parse_count_here(parse_t *parse);
