/* SPDX-License-Identifier: Apache-2.0 */
#include "app/services/strangers.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/error.h"
#include "common/base/turns.h"

/* A turn of a network. Which of its questions has it is decided when it comes. */
typedef struct stranger_ticket {
  turns_item_t item; /* first */
  stranger_t *question;
  bool taken;
} ticket_t;

struct strangers {
  crowd_t *requests, *questions; /* that wait */
  turns_t *turns;
  stranger_t *oldest, *newest; /* questions that wait */
};

strangers_t *strangers_new(void)
{
  static const turns_conf_t conf = {.places = STRANGERS_WAITING_MAX,
                                    .out = STRANGERS_ASKED_MAX,
                                    .line_out = STRANGERS_ASKED_NETWORK_MAX};
  strangers_t *s = calloc(1, sizeof *s);
  if (s == NULL)
    return NULL;
  s->requests = crowd_new();
  s->questions = crowd_new();
  s->turns = turns_new(&conf);
  if (s->requests == NULL || s->questions == NULL || s->turns == NULL) {
    strangers_free(s);
    return NULL;
  }
  return s;
}

void strangers_free(strangers_t *s)
{
  if (s == NULL)
    return;
  crowd_free(s->requests);
  crowd_free(s->questions);
  turns_free(s->turns);
  free(s);
}

/* Requests */

int strangers_wait(strangers_t *s, crowd_member_t *m, const ip_t *source, crowd_member_t **displaced)
{
  return crowd_add_within(s->requests, m, source, STRANGERS_WAITING_MAX, displaced);
}

void strangers_go(strangers_t *s, crowd_member_t *m)
{
  crowd_leave(s->requests, m);
}

size_t strangers_waiting(const strangers_t *s)
{
  return (size_t)crowd_total(s->requests);
}

/* Questions */

static void unlink_question(strangers_t *s, stranger_t *q)
{
  *(q->previous != NULL ? &q->previous->next : &s->oldest) = q->next;
  *(q->next != NULL ? &q->next->previous : &s->newest) = q->previous;
  q->previous = q->next = NULL;
  crowd_leave(s->questions, &q->place);
}

int strangers_queue(strangers_t *s, stranger_t *q, const ip_t *source)
{
  turns_item_t *displaced = NULL; /* nobody: there is a place for each request that waits */
  ticket_t *t = calloc(1, sizeof *t);
  *q = (stranger_t){.ticket = t, .source = *source, .network = crowd_network(source)};
  turns_key_t line = turns_key(&q->network, sizeof q->network);
  if (t == NULL || crowd_add(s->questions, &q->place, source, 1) ||
      turns_join(s->turns, &line, 1, &t->item, &displaced)) {
    crowd_leave(s->questions, &q->place);
    free(t);
    q->ticket = NULL;
    return SMPL_ENOMEM;
  }
  t->question = q;
  q->rank = crowd_of_source(s->questions, source);
  q->previous = s->newest;
  *(s->newest != NULL ? &s->newest->next : &s->oldest) = q;
  s->newest = q;
  return SMPL_OK;
}

/* Of the questions of a network that wait: the first of a source that has fewest before it. */
static stranger_t *fairest(const strangers_t *s, const ip_t *network)
{
  stranger_t *best = NULL;
  for (stranger_t *q = s->oldest; q != NULL; q = q->next)
    if (ip_equal(&q->network, network) && (best == NULL || q->rank < best->rank))
      best = q;
  return best;
}

stranger_t *strangers_take(strangers_t *s)
{
  ticket_t *t = (ticket_t *)turns_take(s->turns);
  if (t == NULL)
    return NULL;
  stranger_t *q = fairest(s, &t->question->network);
  t->question->ticket = q->ticket;
  q->ticket->question = t->question;
  q->ticket = t;
  t->question = q;
  t->taken = true;
  unlink_question(s, q);
  return q;
}

void strangers_end(strangers_t *s, stranger_t *q)
{
  ticket_t *t = q->ticket;
  if (t == NULL)
    return;
  if (t->taken) {
    turns_give_back(s->turns, &t->item, 0);
  } else {
    turns_leave(s->turns, &t->item);
    unlink_question(s, q);
  }
  free(t);
  q->ticket = NULL;
}
