/* SPDX-License-Identifier: Apache-2.0 */
/* common/base/list.h and common/base/fifo.h. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/base/fifo.h"
#include "common/base/list.h"

typedef struct item {
  int number;
  list_t link;
  fifo_link_t next;
} item_t;

/* The numbers in a list, as decimal digits; both directions must agree. */
static int digits(const list_t *list)
{
  int forward = 0, back = 0, scale = 1;
  LIST_EACH(const item_t, i, list, link)
    forward = forward * 10 + i->number;
  for (const list_t *at = list->next; at != list; at = at->next, scale *= 10)
    back += LIST_ITEM(at, item_t, link)->number * scale;
  int mirrored = 0;
  for (const list_t *at = list->prev; at != list; at = at->prev)
    mirrored = mirrored * 10 + LIST_ITEM(at, item_t, link)->number;
  assert_int_equal(mirrored, back);
  return forward;
}

static void items_enter_at_both_ends_and_leave_anywhere(void **state)
{
  (void)state;
  item_t items[4] = {{.number = 1}, {.number = 2}, {.number = 3}, {.number = 4}};
  list_t list;
  list_init(&list);
  assert_true(list_empty(&list));
  list_add_last(&list, &items[0].link);
  list_add_last(&list, &items[1].link);
  list_add_first(&list, &items[2].link);
  list_add_before(&items[1].link, &items[3].link);
  assert_int_equal(digits(&list), 3142);
  list_remove(&items[0].link);
  list_remove(&items[0].link);
  assert_int_equal(digits(&list), 342);
  list_remove(&items[2].link);
  list_remove(&items[1].link);
  assert_int_equal(digits(&list), 4);
  list_remove(&items[3].link);
  assert_true(list_empty(&list));
}

static void the_item_at_hand_may_leave_within_the_loop(void **state)
{
  (void)state;
  item_t items[4] = {{.number = 1}, {.number = 2}, {.number = 3}, {.number = 4}};
  list_t list;
  list_init(&list);
  for (size_t i = 0; i < 4; i++)
    list_add_last(&list, &items[i].link);
  LIST_EACH(item_t, i, &list, link)
    if (i->number % 2 == 0)
      list_remove(&i->link);
  assert_int_equal(digits(&list), 13);
}

static void the_ends_of_a_list_are_items_or_nothing(void **state)
{
  (void)state;
  item_t items[2] = {{.number = 1}, {.number = 2}};
  list_t list;
  list_init(&list);
  assert_null(LIST_FIRST(&list, item_t, link));
  assert_null(LIST_LAST(&list, item_t, link));
  list_add_last(&list, &items[0].link);
  list_add_last(&list, &items[1].link);
  assert_ptr_equal(LIST_FIRST(&list, item_t, link), &items[0]);
  assert_ptr_equal(LIST_LAST(&list, item_t, link), &items[1]);
  assert_ptr_equal(LIST_NEXT(&items[0], &list, item_t, link), &items[1]);
  assert_null(LIST_NEXT(&items[1], &list, item_t, link));
}

static void one_list_goes_behind_another(void **state)
{
  (void)state;
  item_t items[3] = {{.number = 1}, {.number = 2}, {.number = 3}};
  list_t list, more;
  list_init(&list);
  list_init(&more);
  list_append(&list, &more);
  assert_true(list_empty(&list));
  list_add_last(&more, &items[0].link);
  list_add_last(&more, &items[1].link);
  list_append(&list, &more);
  assert_true(list_empty(&more));
  list_add_last(&more, &items[2].link);
  list_append(&list, &more);
  assert_true(list_empty(&more));
  assert_int_equal(digits(&list), 123);
}

static int taken(fifo_t *q)
{
  item_t *item = FIFO_TAKE(q, item_t, next);
  return item != NULL ? item->number : 0;
}

static void what_came_first_goes_first(void **state)
{
  (void)state;
  item_t items[3] = {{.number = 1}, {.number = 2}, {.number = 3}};
  fifo_t q;
  fifo_init(&q);
  assert_int_equal(taken(&q), 0);
  for (size_t i = 0; i < 3; i++)
    fifo_add(&q, &items[i].next);
  assert_int_equal(taken(&q), 1);
  fifo_add(&q, &items[0].next);
  assert_int_equal(taken(&q), 2);
  assert_int_equal(taken(&q), 3);
  assert_int_equal(taken(&q), 1);
  assert_int_equal(taken(&q), 0);
  fifo_add(&q, &items[1].next); /* after it was empty */
  assert_int_equal(taken(&q), 2);
}

static void one_queue_goes_behind_another(void **state)
{
  (void)state;
  item_t items[3] = {{.number = 1}, {.number = 2}, {.number = 3}};
  fifo_t q, more;
  fifo_init(&q);
  fifo_init(&more);
  fifo_append(&q, &more);
  assert_true(fifo_empty(&q));
  assert_null(FIFO_FIRST(&q, item_t, next));
  fifo_add(&more, &items[0].next);
  fifo_append(&q, &more);
  fifo_add(&more, &items[1].next);
  fifo_append(&q, &more);
  assert_true(fifo_empty(&more));
  fifo_add(&q, &items[2].next);
  int digits = 0;
  FIFO_EACH(const item_t, i, &q, next)
    digits = digits * 10 + i->number;
  assert_int_equal(digits, 123);
  assert_ptr_equal(FIFO_FIRST(&q, item_t, next), &items[0]);
  assert_int_equal(taken(&q), 1);
  assert_int_equal(taken(&q), 2);
  assert_int_equal(taken(&q), 3);
  assert_int_equal(taken(&q), 0);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(items_enter_at_both_ends_and_leave_anywhere),
      cmocka_unit_test(the_item_at_hand_may_leave_within_the_loop),
      cmocka_unit_test(the_ends_of_a_list_are_items_or_nothing),
      cmocka_unit_test(one_list_goes_behind_another),
      cmocka_unit_test(what_came_first_goes_first),
      cmocka_unit_test(one_queue_goes_behind_another),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
