/* SPDX-License-Identifier: Apache-2.0 */
#include "app/http/pace.h"

#include <stddef.h>
#include <string.h>

#include "common/base/error.h"
#include "common/net/crowd.h"

int pace_open(pace_t *pace, pace_rounds_t *rounds, size_t connections, size_t handshakes)
{
  /* Everybody has a place, and one more until an older one has given way. */
  turns_conf_t requests = {.places = connections + 1}, steps = {.places = handshakes + 1};
  pace->rounds = rounds;
  pace->requests = turns_new(&requests);
  if (pace->requests == NULL)
    return SMPL_ENOMEM;
  if (handshakes == 0)
    return SMPL_OK;
  pace->steps = turns_new(&steps);
  return pace->steps != NULL ? SMPL_OK : SMPL_ENOMEM;
}

void pace_close(pace_t *pace)
{
  turns_free(pace->requests);
  turns_free(pace->steps);
}

static size_t slot_of(const ip_t *network)
{
  uint64_t parts[2];
  memcpy(parts, network->b, sizeof parts);
  uint64_t hash = (parts[0] ^ parts[1]) * 0x9e3779b97f4a7c15u;
  return (size_t)((hash ^ hash >> 32) * 0x9e3779b97f4a7c15u >> 32) % PACE_SLOTS;
}

static void count_round(pace_t *pace)
{
  pace_begun_t *begun = &pace->begun;
  if (begun->round != pace->rounds->number)
    begun->all = begun->accepted = 0;
  begun->round = pace->rounds->number;
}

bool pace_begins(pace_t *pace, const ip_t *source)
{
  pace_begun_t *begun = &pace->begun;
  uint64_t round = pace->rounds->number;
  ip_t network = crowd_network(source);
  size_t slot = slot_of(&network);
  count_round(pace);
  if (begun->slots[slot].round != round)
    begun->slots[slot].count = 0;
  begun->slots[slot].round = round;
  if (begun->all >= PACE_BEGUN_ALL || begun->slots[slot].count >= PACE_BEGUN)
    return false;
  begun->all++;
  begun->slots[slot].count++;
  return true;
}

static void start_rounds(pace_rounds_t *rounds)
{
  uv_idle_start(&rounds->idle, rounds->run);
}

bool pace_accepts(pace_t *pace)
{
  count_round(pace);
  if (pace->begun.accepted < PACE_ACCEPTS) {
    pace->begun.accepted++;
    return true;
  }
  pace->accept_waits = true;
  start_rounds(pace->rounds);
  return false;
}

bool pace_accept_is_due(pace_t *pace)
{
  if (!pace->accept_waits || !pace_accepts(pace))
    return false;
  pace->accept_waits = false;
  return true;
}

static int wait_in(turns_t *queue, pace_rounds_t *rounds, pace_turn_t *turn, const ip_t *source)
{
  ip_t network = crowd_network(source);
  turns_key_t line = turns_key(&network, sizeof network);
  turns_item_t *displaced = NULL; /* nobody: there is a place for each */
  int err = turns_join(queue, &line, 1, &turn->item, &displaced);
  turn->queue = err ? NULL : queue;
  start_rounds(rounds);
  return err;
}

int pace_request(pace_t *pace, pace_turn_t *turn, const ip_t *source)
{
  return wait_in(pace->requests, pace->rounds, turn, source);
}

int pace_handshake(pace_t *pace, pace_turn_t *turn, const ip_t *source)
{
  return wait_in(pace->steps, pace->rounds, turn, source);
}

void pace_leave(pace_turn_t *turn)
{
  if (turn->queue != NULL)
    turns_leave(turn->queue, &turn->item);
  turn->queue = NULL;
}

static pace_turn_t *take(turns_t *queue)
{
  pace_turn_t *turn = queue != NULL ? (pace_turn_t *)(void *)turns_take(queue) : NULL;
  if (turn != NULL)
    turn->queue = NULL;
  return turn;
}

pace_turn_t *pace_next_request(pace_t *pace)
{
  return take(pace->requests);
}

pace_turn_t *pace_next_handshake(pace_t *pace)
{
  return take(pace->steps);
}

bool pace_is_idle(const pace_t *pace)
{
  return turns_waiting(pace->requests) == 0 && (pace->steps == NULL || turns_waiting(pace->steps) == 0);
}
