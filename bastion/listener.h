/* The ssh listeners: bound at start and reload, accepting while a template is ready, dropping early when too many have not
 * signed in. */
#pragma once

#include "bastion/broker_state.h"

enum {
  LISTENER_BACKLOG = 128,
  LISTENER_BATCH = 16, /* connections accepted before others have their turn */
};

typedef struct listener listener_t;

/* Opens what config lists and is not open yet. On error those opened here are closed again; the others stay. */
int listener_open_all(broker_t *b, const config_t *config, diag_t *diag);
/* Closes those that config (NULL: none) does not list. */
void listener_close_others(broker_t *b, const config_t *config);
/* Starts or stops accepting on all. */
void listener_accept(broker_t *b, bool on);
