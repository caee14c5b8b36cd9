/* SPDX-License-Identifier: Apache-2.0 */
/* common/base/turns.h, against a naive model: every short sequence of calls, and long random ones. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/error.h"
#include "common/base/turns.h"

enum { KEYS = 3, ITEMS = 64 };

/* ---- the model: lines as plain arrays of item numbers, and the order of turns as an array of keys ---- */

typedef struct model {
  turns_conf_t conf; /* with no zeroes left but out */
  int lines[KEYS][ITEMS], lengths[KEYS], out[KEYS];
  long credit[KEYS];
  uint64_t reached[KEYS]; /* when the line got its present length: of equals the last one gives way */
  int order[KEYS], ordered;
  int all, all_out;
  uint64_t clock;
} model_t;

static bool known(const model_t *m, int key)
{
  return m->lengths[key] > 0 || m->out[key] > 0;
}

static bool may_be_served(const model_t *m, int key)
{
  return m->lengths[key] > 0 && (m->conf.out == 0 || m->out[key] < (int)m->conf.line_out);
}

static int place_in_order(const model_t *m, int key)
{
  for (int i = 0; i < m->ordered; i++)
    if (m->order[i] == key)
      return i;
  return -1;
}

static void take_out_of_order(model_t *m, int key)
{
  int at = place_in_order(m, key);
  if (at < 0)
    return;
  memmove(m->order + at, m->order + at + 1, (size_t)(m->ordered - at - 1) * sizeof *m->order);
  m->ordered--;
}

static void to_the_end(model_t *m, int key)
{
  take_out_of_order(m, key);
  if (m->credit[key] <= 0)
    m->credit[key] += (long)m->conf.quantum;
  m->order[m->ordered++] = key;
}

static void put_in_order(model_t *m, int key)
{
  if (!may_be_served(m, key))
    take_out_of_order(m, key);
  else if (place_in_order(m, key) < 0)
    to_the_end(m, key);
}

static void change_length(model_t *m, int key, int by)
{
  m->lengths[key] += by;
  m->all += by;
}

static void touched(model_t *m, int key)
{
  m->reached[key] = ++m->clock;
  put_in_order(m, key);
}

/* The item that leaves, or -1; *refused. */
static int model_join(model_t *m, int key, int item, bool *refused)
{
  int displaced = -1, longest = 0;
  *refused = m->lengths[key] == (int)m->conf.line_places;
  if (*refused)
    return -1;
  if (m->all == (int)m->conf.places) {
    for (int k = 1; k < KEYS; k++)
      if (m->lengths[k] > m->lengths[longest] ||
          (m->lengths[k] == m->lengths[longest] && m->reached[k] > m->reached[longest]))
        longest = k;
    *refused = m->lengths[longest] < m->lengths[key] + 2;
    if (*refused)
      return -1;
    displaced = m->lines[longest][m->lengths[longest] - 1];
    change_length(m, longest, -1);
    touched(m, longest);
  }
  if (!known(m, key))
    m->credit[key] = (long)m->conf.quantum;
  m->lines[key][m->lengths[key]] = item;
  change_length(m, key, 1);
  touched(m, key);
  return displaced;
}

static void cut(model_t *m, int key, int at)
{
  memmove(m->lines[key] + at, m->lines[key] + at + 1,
          (size_t)(m->lengths[key] - at - 1) * sizeof m->lines[key][0]);
  change_length(m, key, -1);
}

/* Whether some line is to be passed over once at most. */
static bool any_due(const model_t *m)
{
  bool any = false;
  for (int i = 0; i < m->ordered; i++)
    any = any || m->credit[m->order[i]] > -(long)m->conf.quantum;
  return any;
}

static int model_take(model_t *m, const uint64_t *costs, bool due)
{
  if (m->ordered == 0 || (m->conf.out > 0 && m->all_out == (int)m->conf.out))
    return -1;
  if (due && !any_due(m)) {
    for (int i = 0; i < m->ordered; i++)
      m->credit[m->order[i]] += (long)m->conf.quantum;
    return -1;
  }
  while (m->credit[m->order[0]] <= 0)
    to_the_end(m, m->order[0]);
  int key = m->order[0], item = m->lines[key][0];
  m->credit[key] -= (long)costs[item];
  cut(m, key, 0);
  if (m->conf.out > 0) {
    m->out[key]++;
    m->all_out++;
  }
  touched(m, key);
  return item;
}

/* ---- both side by side ---- */

typedef struct pair {
  turns_t *turns;
  model_t model;
  turns_item_t items[ITEMS];
  uint64_t costs[ITEMS];
  int keys[ITEMS];
  enum { FREE, WAITS, OUT } states[ITEMS];
} pair_t;

static turns_key_t key_of(int key)
{
  static const char *const names[KEYS] = {"one", "two", ""};
  return turns_key(names[key], strlen(names[key]));
}

static int number_of(const pair_t *p, const turns_item_t *item)
{
  return item == NULL ? -1 : (int)(item - p->items);
}

static void compare(const pair_t *p)
{
  assert_int_equal(turns_waiting(p->turns), p->model.all);
  assert_int_equal(turns_out(p->turns), p->model.all_out);
  for (int k = 0; k < KEYS; k++) {
    turns_key_t key = key_of(k);
    assert_int_equal(turns_length(p->turns, &key), p->model.lengths[k]);
  }
}

static int first_in(const pair_t *p, int state)
{
  for (int i = 0; i < ITEMS; i++)
    if ((int)p->states[i] == state)
      return i;
  return -1;
}

static void join(pair_t *p, int k, uint64_t cost)
{
  int i = first_in(p, FREE);
  bool refused;
  turns_item_t *displaced;
  turns_key_t key = key_of(k);
  p->costs[i] = cost;
  int expected = model_join(&p->model, k, i, &refused);
  int err = turns_join(p->turns, &key, cost, &p->items[i], &displaced);
  assert_int_equal(err, refused ? SMPL_ELIMIT : SMPL_OK);
  assert_int_equal(number_of(p, displaced), expected);
  if (expected >= 0)
    p->states[expected] = FREE;
  if (!refused) {
    p->states[i] = WAITS;
    p->keys[i] = k;
  }
}

static void take(pair_t *p, bool due)
{
  int expected = model_take(&p->model, p->costs, due);
  assert_int_equal(number_of(p, due ? turns_take_due(p->turns) : turns_take(p->turns)), expected);
  if (expected >= 0)
    p->states[expected] = p->model.conf.out > 0 ? OUT : FREE;
}

static void give_back(pair_t *p, int i, uint64_t extra)
{
  int key = p->keys[i];
  p->model.credit[key] -= (long)extra;
  p->model.out[key]--;
  p->model.all_out--;
  touched(&p->model, key);
  turns_give_back(p->turns, &p->items[i], extra);
  p->states[i] = FREE;
}

static void leave(pair_t *p, int i)
{
  int key = p->keys[i], at = 0;
  while (p->model.lines[key][at] != i)
    at++;
  cut(&p->model, key, at);
  touched(&p->model, key);
  turns_leave(p->turns, &p->items[i]);
  p->states[i] = FREE;
}

static pair_t begin(const turns_conf_t *conf)
{
  pair_t p;
  memset(&p, 0, sizeof p);
  p.turns = turns_new(conf);
  assert_non_null(p.turns);
  p.model.conf = *conf;
  if (conf->line_places == 0)
    p.model.conf.line_places = conf->places;
  if (conf->line_out == 0)
    p.model.conf.line_out = conf->out;
  if (conf->quantum == 0)
    p.model.conf.quantum = 1;
  return p;
}

/* ---- tests ---- */

static const turns_conf_t confs[] = {
    {.places = 4},
    {.places = 4, .line_places = 3, .quantum = 2},
    {.places = 4, .out = 2, .line_out = 1},
    {.places = 3, .out = 3},
    {.places = 1},
};

enum { CALLS = KEYS + 5, DEPTH = 6 };

/* One call of the alphabet: a key joins; the next is taken; an item is given back, in time or late; the
 * oldest leaves. */
static void call(pair_t *p, int which, int step)
{
  int i;
  if (which < KEYS)
    join(p, which, (uint64_t)step % 3 + 1);
  else if (which == KEYS || which == KEYS + 4)
    take(p, which != KEYS);
  else if (which == KEYS + 3)
    (i = first_in(p, WAITS)) >= 0 ? leave(p, i) : (void)0;
  else if ((i = first_in(p, OUT)) >= 0)
    give_back(p, i, which == KEYS + 1 ? 0 : 3);
  compare(p);
}

static void every_short_sequence_of_calls_does_what_the_model_does(void **state)
{
  (void)state;
  int sequences = 1;
  for (int i = 0; i < DEPTH; i++)
    sequences *= CALLS;
  for (size_t c = 0; c < sizeof confs / sizeof *confs; c++) {
    for (int s = 0; s < sequences; s++) {
      pair_t p = begin(&confs[c]);
      for (int step = 0, rest = s; step < DEPTH; step++, rest /= CALLS)
        call(&p, rest % CALLS, step);
      turns_free(p.turns);
    }
  }
}

static void long_random_sequences_do_what_the_model_does(void **state)
{
  (void)state;
  srand(17);
  for (size_t c = 0; c < sizeof confs / sizeof *confs; c++) {
    turns_conf_t conf = confs[c];
    conf.places *= 4;
    conf.line_places *= 3;
    pair_t p = begin(&conf);
    for (int step = 0; step < 200000; step++)
      call(&p, rand() % CALLS, step);
    turns_free(p.turns);
  }
}

enum { PLACES = 1024 };

/* An item that knows whose it is. */
typedef struct owned {
  turns_item_t item; /* first */
  int owner;
} owned_t;

static int join_as(turns_t *t, owned_t *owned, int owner, turns_item_t **displaced)
{
  turns_key_t key = turns_key(&owner, sizeof owner);
  owned->owner = owner;
  return turns_join(t, &key, 1, &owned->item, displaced);
}

static void somebody_with_all_places_gives_them_up_to_others_one_by_one(void **state)
{
  (void)state;
  turns_t *t = turns_new(&(turns_conf_t){.places = PLACES});
  static owned_t greedy[PLACES + 1], others[PLACES];
  turns_item_t *displaced;
  for (int i = 0; i < PLACES; i++)
    assert_int_equal(join_as(t, &greedy[i], 0, &displaced), SMPL_OK);
  assert_int_equal(join_as(t, &greedy[PLACES], 0, &displaced), SMPL_ELIMIT);
  for (int i = 0; i < PLACES - 1; i++) { /* the newest goes each time, and the oldest keeps its place */
    assert_int_equal(join_as(t, &others[i], i + 1, &displaced), SMPL_OK);
    assert_ptr_equal(displaced, &greedy[PLACES - 1 - i].item);
  }
  assert_int_equal(join_as(t, &others[PLACES - 1], PLACES, &displaced),
                   SMPL_ELIMIT); /* one each: fair enough */
  assert_int_equal(turns_waiting(t), PLACES);
  turns_free(t);
}

static void nobody_waits_for_more_than_one_item_of_each_other_line(void **state)
{
  (void)state;
  turns_t *t = turns_new(&(turns_conf_t){.places = PLACES});
  static owned_t greedy[PLACES], one;
  turns_item_t *displaced;
  for (int i = 0; i < PLACES - 1; i++) /* three greedy ones */
    assert_int_equal(join_as(t, &greedy[i], i % 3, &displaced), SMPL_OK);
  for (int round = 0; round < 100; round++) {
    int before = 0;
    assert_int_equal(join_as(t, &one, 9, &displaced), SMPL_OK);
    while (turns_take(t) != &one.item)
      before++;
    assert_true(before <= 3);
  }
  turns_free(t);
}

static void what_costs_more_than_a_turn_is_paid_with_the_turns_after_it(void **state)
{
  (void)state;
  turns_t *t = turns_new(&(turns_conf_t){.places = PLACES, .quantum = 10});
  static owned_t dear[4], cheap[PLACES - 4];
  turns_item_t *displaced, *item;
  turns_key_t key = turns_key("dear", 4);
  for (int i = 0; i < 4; i++)
    assert_int_equal(turns_join(t, &key, 1000, &dear[i].item, &displaced), SMPL_OK);
  for (int i = 0; i < 300; i++) {
    key = turns_key("cheap", 5);
    assert_int_equal(turns_join(t, &key, 10, &cheap[i].item, &displaced), SMPL_OK);
  }
  int taken = 0, last = 0;
  for (int i = 0; (item = turns_take(t)) != NULL; i++) {
    if (item < &dear[0].item || item > &dear[3].item)
      continue;
    assert_true(taken == 0 || i - last == 101 || taken == 3);
    taken++;
    last = i;
  }
  assert_int_equal(taken, 4);
  turns_free(t);
}

static void keys_are_told_apart_by_all_of_their_bytes_up_to_the_limit(void **state)
{
  (void)state;
  char text[TURNS_KEY_MAX + 1];
  memset(text, 'a', sizeof text);
  turns_key_t whole = turns_key(text, TURNS_KEY_MAX), longer = turns_key(text, TURNS_KEY_MAX + 1);
  turns_key_t shorter = turns_key(text, TURNS_KEY_MAX - 1);
  turns_t *t = turns_new(&(turns_conf_t){.places = 3});
  turns_item_t items[2], *displaced;
  assert_int_equal(turns_join(t, &whole, 1, &items[0], &displaced), SMPL_OK);
  assert_int_equal(turns_join(t, &shorter, 1, &items[1], &displaced), SMPL_OK);
  assert_int_equal(turns_length(t, &whole), 1);
  assert_int_equal(turns_length(t, &longer), 1);
  assert_int_equal(turns_length(t, &shorter), 1);
  turns_free(t);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(every_short_sequence_of_calls_does_what_the_model_does),
      cmocka_unit_test(long_random_sequences_do_what_the_model_does),
      cmocka_unit_test(somebody_with_all_places_gives_them_up_to_others_one_by_one),
      cmocka_unit_test(nobody_waits_for_more_than_one_item_of_each_other_line),
      cmocka_unit_test(what_costs_more_than_a_turn_is_paid_with_the_turns_after_it),
      cmocka_unit_test(keys_are_told_apart_by_all_of_their_bytes_up_to_the_limit),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
