/* SPDX-License-Identifier: Apache-2.0 */
/* The supervisor's end of what it has in common with a speaker: questions while a session is being opened,
 * messages on the loop once it stands. Every message is checked in form and order; a speaker that does
 * otherwise is ended. */
#pragma once

#include <uv.h>

#include "common/base/diag.h"
#include "tunnel/contract/speech.h"
#include "tunnel/speaker/template.h"

typedef struct talk talk_t;

/* Makes a speaker, which ends the one before. template must live as long. SMPL_ENOMEM, what template_spawn
 * gives. */
int talk_new(template_t *template, talk_t **out);
/* Says goodbye, with so much time for what is still to be sent, and lets go. NULL allowed. */
void talk_free(talk_t *talk, unsigned flush_ms);
/* The same, and waits until it has ended; not for long. NULL allowed. */
void talk_end(talk_t *talk, unsigned flush_ms);

const gauge_t *talk_gauge(const talk_t *talk);
/* Whether the session has not been over yet. */
bool talk_stands(const talk_t *talk);

/* ---- one thread, before it stands ---- */

/* For SPEECH_SIGN: the signature of what is to be signed into out of SPEECH_SIGNATURE_MAX bytes. Its length;
 * 0: no. */
typedef size_t (*talk_sign_cb)(void *ctx, const uint8_t *data, size_t len, uint8_t *out);

/* Sends m, with fd unless it is -1, which stays the caller's. */
int talk_tell(talk_t *talk, const speech_t *m, int fd);
/* Sends m and waits for its answer, which takes its place: at most ms. sign NULL: nothing is signed.
 * SMPL_ETIMEOUT, SMPL_ECLOSED (it has ended), SMPL_EPROTO (it has said what it may not). */
int talk_ask(talk_t *talk, speech_t *m, int fd, int ms, talk_sign_cb sign, void *ctx);
/* After a failure of theirs, for people. */
void talk_explain(const talk_t *talk, int err, diag_t *diag);

/* ---- the loop's thread, once it stands ---- */

typedef struct talk_hooks {
  /* Of those that a speaker may send then. */
  void (*on_message)(void *ctx, const speech_t *m);
  /* It has ended, or was made to: nothing comes any more. Once, and not from within talk_send. */
  void (*on_gone)(void *ctx, int err);
  void *ctx;
} talk_hooks_t;

/* SMPL_ENOMEM. */
int talk_serve(talk_t *talk, uv_loop_t *loop, const talk_hooks_t *hooks);
/* Now or as soon as there is room. Does not take fd. SMPL_ENOMEM; SMPL_ECLOSED: it has ended, which on_gone
 * tells. */
int talk_send(talk_t *talk, const speech_t *m, int fd);
