/* SPDX-License-Identifier: Apache-2.0 */
/* smpl-control: asking the bastion about targets and refusals, in lines that the speaker carries. A plain SSH
 * server has no such subsystem; then every question is answered with nothing. Questions carry an id, by which
 * answers find them in whatever order they come. */
#pragma once

#include <jansson.h>
#include <stdbool.h>

#include "tunnel/limits.h"
#include "tunnel/session/talk.h"

typedef struct ask ask_t;

/* reply is borrowed; NULL: there is no answer (no subsystem, no time, session over). */
typedef void (*ask_answer_cb)(void *ctx, const json_t *reply);
/* An object with "event". */
typedef void (*ask_event_cb)(void *ctx, const json_t *event);

typedef enum ask_state { ASK_OPENING, ASK_READY, ASK_ABSENT } ask_state_t;

/* talk must live as long. NULL when out of memory. */
ask_t *ask_new(talk_t *talk, ask_event_cb on_event, void *ctx);
/* Waiting questions are answered with nothing. NULL allowed. */
void ask_free(ask_t *ask);
/* The speaker says whether the subsystem is there. */
void ask_found(ask_t *ask, bool there);
/* A line of the bastion's. */
void ask_heard(ask_t *ask, const char *line, size_t len);
/* After every turn of the loop: time limits. */
void ask_step(ask_t *ask);
ask_state_t ask_state(const ask_t *ask);
/* Whether the other end is a bastion: the subsystem is there, or was. */
bool ask_is_bastion(const ask_t *ask);
/* Whether ask_step has time limits to look at. */
bool ask_busy(const ask_t *ask);
/* Takes over body. The answer may come at once (ASK_ABSENT). SMPL_ELIMIT: too many wait. */
int ask_question(ask_t *ask, json_t *body, ask_answer_cb cb, void *ctx);
