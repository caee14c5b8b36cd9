/* SPDX-License-Identifier: Apache-2.0 */
#include "tunnel/run/tunnel.h"

#include <libssh/libssh.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/count.h"
#include "common/base/error.h"
#include "common/net/loop.h"
#include "common/ssh/reason.h"
#include "common/base/text.h"
#include "tunnel/base/capture.h"
#include "tunnel/local/local.h"
#include "tunnel/local/system.h"
#include "tunnel/run/carry.h"
#include "tunnel/run/child.h"
#include "tunnel/run/control.h"
#include "tunnel/run/job.h"
#include "tunnel/run/learn.h"
#include "tunnel/run/life.h"
#include "tunnel/run/link.h"
#include "tunnel/run/live.h"
#include "tunnel/run/walls.h"
#include "tunnel/session/alive.h"
#include "tunnel/session/backoff.h"
#include "tunnel/session/opener.h"
#include "tunnel/session/words.h"
#include "tunnel/speaker/template.h"

typedef struct tunnel {
  const task_t *task;
  say_t *say;
  life_t life;
  uv_loop_t loop;
  uv_signal_t signals[6];
  uv_timer_t retry;    /* WAITING: the next try */
  uv_timer_t step;     /* the longest that the loop waits while a session stands */
  uv_timer_t stopping; /* told to over the control socket: the answer is written first */

  /* getting a session, and keeping one */
  template_t *template;
  session_how_t how;
  memory_t memory;
  bool memory_taken; /* an opener is at work, and the memory is its */
  session_t session;
  alive_t alive;
  unsigned tries; /* since the session was lost */
  uint64_t tried_at;
  bool sought; /* the first session was silent before it was of use, and another was sought */
  char last_failure[DIAG_TEXT_MAX]; /* of the last try to connect */

  /* what uses it */
  link_t link;
  routes_t routes;
  local_t *local; /* NULL: --stdio */
  why_t *why;
  carry_t *carry;
  learn_t learn;
  job_of_t job;

  /* what stands beside it */
  live_t *live;
  control_t *control;
  child_t *child;
} tunnel_t;

static void start_opener(tunnel_t *t);

/* ---- losing a session, and the next try ---- */

static void drop_session(tunnel_t *t)
{
  carry_lost(t->carry);
  ask_free(t->link.ask);
  t->link = (link_t){0};
  session_close(&t->session, 0);
}

static void on_retry(uv_timer_t *timer)
{
  tunnel_t *t = timer->data;
  if (t->life.state == LIFE_WAITING) /* a signal may have ended it in the same turn of the loop */
    start_opener(t);
}

static uint64_t wait_for_next(tunnel_t *t)
{
  uint32_t random = 0;
  if (getrandom(&random, sizeof random, GRND_NONBLOCK) < 0)
    random = (uint32_t)clock_mono_us();
  return backoff_ms(t->tries, random);
}

static void wait_and_retry(tunnel_t *t)
{
  uint64_t ms = wait_for_next(t);
  t->life.state = LIFE_WAITING;
  if (t->say->json || t->say->verbose)
    say_event(t->say, "waiting", json_pack("{s:I, s:i}", "in_ms", (json_int_t)ms, "try", (int)t->tries + 1),
              "next try in %llu.%llu s", (unsigned long long)ms / 1000, (unsigned long long)ms % 1000 / 100);
  uv_timer_start(&t->retry, on_retry, ms, 0);
}

/* A session that stood before is gone: another is sought. */
static void lose(tunnel_t *t, const char *text)
{
  uint64_t now = clock_mono_ms();
  t->life.lost_at = now;
  /* One that is lost at once, again and again, is not sought at once again and again. */
  t->tries = now - t->life.up_at >= BACKOFF_SETTLED_MS ? 0 : t->tries + 1;
  say_event(t->say, "lost", NULL, "%s; connecting again, the local ports stay", text);
  drop_session(t);
  t->last_failure[0] = '\0';
  wait_and_retry(t);
}

/* Somebody at the bastion, or a rule there, wants this session to end and no other in its place. */
static bool is_final(reason_t reason)
{
  switch (reason) {
  case REASON_IDLE:
  case REASON_SESSION_LIMIT:
  case REASON_TERMINATED:
  case REASON_POLICY_CHANGED:
  case REASON_OUTSIDE_HOURS:
  case REASON_BLOCKED:
  case REASON_AUDIT_RESERVE:
    return true;
  default:
    return false;
  }
}

/* Without an announcement the words alone tell: our bastion's own, or an administrator's. */
static bool is_final_end(const tunnel_t *t, const char *words)
{
  if (t->learn.last_reason[0])
    return is_final(reason_from_name(t->learn.last_reason));
  if (!words[0] || ask_state(t->link.ask) != ASK_READY)
    return false;
  for (unsigned i = 1; i < REASON_COUNT; i++) {
    if (strncmp(words, reason_text((reason_t)i), strlen(reason_text((reason_t)i))) == 0)
      return is_final((reason_t)i);
  }
  return true;
}

/* error: libssh's, of how it ended. */
static void session_over(tunnel_t *t, const char *error)
{
  char text[DIAG_TEXT_MAX * 2];
  const char *words = words_of_server(error);
  bool said = words[0] || t->learn.last_event[0];
  if (said)
    snprintf(text, sizeof text, "the bastion ended the session: %s", words[0] ? words : t->learn.last_event);
  else
    snprintf(text, sizeof text, "the connection to the bastion broke: %s", words_of_error(error));
  if (t->life.ready && !t->task->stdio && !is_final_end(t, words))
    lose(t, text);
  else
    life_fail(&t->life, said ? EXIT_ENDED_BY_BASTION : EXIT_NO_BASTION,
              said ? t->learn.last_reason : reason_name(REASON_CLIENT_VANISHED), text);
}

/* Nobody has used the session yet, and behind the bastion's name there may be another one that is alive. */
static void seek_second(tunnel_t *t)
{
  t->sought = true;
  drop_session(t);
  t->life.asking = 0;
  t->learn.checked = false;
  start_opener(t);
}

static void path_dead(tunnel_t *t)
{
  static const char text[] = "the path to the bastion is dead: no sign of life";
  if (t->life.ready && !t->task->stdio)
    lose(t, text);
  else if (!t->life.ready && !t->sought)
    seek_second(t);
  else
    life_fail(&t->life, EXIT_NO_BASTION, reason_name(REASON_CLIENT_VANISHED), text);
}

/* ---- getting one ---- */

static void name_bastion(tunnel_t *t)
{
  const ssh_config_t *s = &t->session.config;
  const char *host = t->task->to.host;
  bool v6 = strchr(host, ':') != NULL;
  snprintf(t->life.bastion, sizeof t->life.bastion, "%s@%s%s%s:%u", s->user, v6 ? "[" : "", host,
           v6 ? "]" : "", s->port);
}

static void become_up(tunnel_t *t);

static void watch_path(tunnel_t *t)
{
  const ssh_config_t *s = &t->session.config;
  uint64_t ask = s->alive_interval_s * 1000ULL;
  bool first = !ask && !t->life.ready && !t->sought;
  alive_start(&t->alive, first ? ALIVE_FIRST_ASK_MS : ask,
              first ? ALIVE_FIRST_DEAD_MS : ask * (s->alive_count + 1), clock_mono_ms());
}

/* ---- what the speaker says ---- */

static void speaker_failed(tunnel_t *t, const char *text)
{
  if (t->life.ready && !t->task->stdio)
    lose(t, text);
  else
    life_fail(&t->life, EXIT_OTHER, NULL, text);
}

static void on_gone(void *ctx, int err)
{
  tunnel_t *t = ctx;
  diag_t diag = {0};
  if (t->life.state == LIFE_OVER)
    return;
  talk_explain(t->link.talk, err, &diag);
  speaker_failed(t, diag.text);
}

static void on_over(tunnel_t *t, const speech_text_t *m)
{
  if (m->value == SPEECH_OVER_CLOSED)
    session_over(t, m->text);
  else
    life_fail(&t->life, EXIT_OTHER, NULL,
              m->value == SPEECH_OVER_ABUSE ? "the server sends more than its windows allow" : m->text);
}

static void on_message(void *ctx, const speech_t *m)
{
  tunnel_t *t = ctx;
  if (t->life.state == LIFE_OVER)
    return;
  switch ((speech_type_t)m->h.type) {
  case SPEECH_CONTROL:
    ask_found(t->link.ask, m->value.value != 0);
    return;
  case SPEECH_LINE:
    ask_heard(t->link.ask, (const char *)m->bytes.bytes, m->bytes.len);
    return;
  case SPEECH_OVER:
    on_over(t, &m->text);
    return;
  default:
    if (!carry_heard(t->carry, m))
      speaker_failed(t, "the process that speaks SSH tells of a connection that was not asked for");
  }
}

static void session_stands(tunnel_t *t)
{
  const talk_hooks_t hooks = {on_message, on_gone, t};
  t->link.talk = t->session.talk;
  t->link.ask = ask_new(t->link.talk, learn_event, &t->learn);
  if (!t->link.ask || talk_serve(t->link.talk, &t->loop, &hooks) != SMPL_OK) {
    life_fail(&t->life, EXIT_OTHER, NULL, "out of memory");
    return;
  }
  watch_path(t);
  t->learn.last_event[0] = t->learn.last_reason[0] = '\0';
  t->life.up_at = clock_mono_ms();
  name_bastion(t);
  t->life.state = LIFE_LEARNING;
  if (t->task->job)
    job_ask(&t->job);
  else
    learn_start(&t->learn);
  if (t->life.ready)
    become_up(t);
}

static void on_opened(void *ctx, opened_t *opened)
{
  tunnel_t *t = ctx;
  t->memory_taken = false;
  if (t->life.state != LIFE_CONNECTING) {
    session_close(&opened->session, 0);
    return;
  }
  bool may_pass = opened->session.may_pass && t->life.ready;
  t->session = opened->session;
  if (opened->code == EXIT_ENDED) {
    session_stands(t);
    return;
  }
  session_close(&t->session, 0);
  if (!may_pass) {
    life_fail(&t->life, opened->code, NULL, opened->diag.text);
    return;
  }
  t->tries++;
  if (strcmp(t->last_failure, opened->diag.text) != 0) /* the same words once */
    say_event(t->say, "failed", NULL, "%s", opened->diag.text);
  text_copy(t->last_failure, sizeof t->last_failure, opened->diag.text);
  wait_and_retry(t);
}

static void start_opener(tunnel_t *t)
{
  t->life.state = LIFE_CONNECTING;
  t->tried_at = clock_mono_ms();
  uv_timer_stop(&t->retry);
  t->memory_taken = opener_start(&t->loop, &t->how, &t->memory, on_opened, t) != NULL;
  if (!t->memory_taken)
    life_fail(&t->life, EXIT_OTHER, NULL, "out of memory or threads");
}

static void hurry(tunnel_t *t)
{
  uint64_t now = clock_mono_ms();
  uint64_t at = t->tried_at + BACKOFF_HURRY_MS;
  uint64_t in = at > now ? at - now : 0;
  if (t->life.state == LIFE_WAITING && uv_timer_get_due_in(&t->retry) > in)
    uv_timer_start(&t->retry, on_retry, in, 0);
}

/* ---- up ---- */

static void on_stop(uv_timer_t *timer)
{
  life_stop(&((tunnel_t *)timer->data)->life);
}

static void say_route(tunnel_t *t, const route_t *r)
{
  char at[FORWARD_PATH_MAX + 8];
  char url[ROUTE_URL_MAX];
  const forward_t *f = r->forward;
  say_ready(t->say, &(say_ready_t){route_url(r, url, sizeof url)[0] ? url : NULL,
                                   route_local(r, at, sizeof at), r->local_port,
                                   f->kind == FORWARD_SOCKS ? NULL : r->name, r->port, t->life.bastion});
}

static void stop_soon(void *ctx)
{
  tunnel_t *t = ctx;
  uv_timer_start(&t->stopping, on_stop, TUNNEL_STOP_MS, 0);
}

static void first_up(tunnel_t *t)
{
  t->life.ready = true;
  watch_path(t);
  if (t->task->stdio) {
    int fd = child_start_stdio(t->child);
    if (fd >= 0)
      carry_take(t->carry, &t->routes.items[0], fd, NULL, 0);
    return;
  }
  t->control = control_start(&t->loop, &(control_of_t){&t->life, &t->routes, t->carry, stop_soon, t});
  for (size_t i = 0; i < t->routes.count; i++)
    say_route(t, &t->routes.items[i]);
  job_refresh_targets(t->link.ask);
  if (t->task->open)
    child_open_browser(t->child);
  if (t->task->exec)
    child_start(t->child);
}

static void become_up(tunnel_t *t)
{
  t->life.state = LIFE_UP;
  if (t->life.ready) {
    uint64_t out = clock_mono_ms() - t->life.lost_at;
    say_event(t->say, "restored", json_pack("{s:I}", "after_ms", (json_int_t)out),
              "connected again after %llu s", (unsigned long long)(out + 500) / 1000);
  } else {
    first_up(t);
  }
  live_start(&t->live, &t->loop, &t->life, &t->link, t->carry);
  carry_release(t->carry);
}

/* ---- the loop ---- */

static uint64_t next_wait(const tunnel_t *t)
{
  uint64_t wait = alive_wait(&t->alive, clock_mono_ms());
  if (wait > TUNNEL_STEP_MS && (carry_count_in(t->carry, CONNECTION_OPENING) > 0 || ask_busy(t->link.ask)))
    wait = TUNNEL_STEP_MS;
  return wait;
}

/* A wait that took far longer than asked: nobody looked at the path meanwhile. */
static void notice_sleep(tunnel_t *t, uint64_t before, uint64_t asked)
{
  if (system_awake_or_not_ms() - before > asked + TUNNEL_SLEPT_MS)
    alive_woke(&t->alive);
}

static void ask_for_life(const tunnel_t *t)
{
  speech_t m;
  speech_init(&m, SPEECH_KEEPALIVE, 0);
  talk_send(t->link.talk, &m, -1);
}

/* A speaker that stands still counts no bytes, and so is dead too. */
static void judge_path(tunnel_t *t)
{
  uint64_t received = atomic_load_explicit(&talk_gauge(t->link.talk)->received, memory_order_relaxed);
  switch (alive_judge(&t->alive, received, clock_mono_ms())) {
  case ALIVE_ASK:
    ask_for_life(t);
    break;
  case ALIVE_DEAD:
    path_dead(t);
    break;
  default:
    break;
  }
}

static void on_step(uv_timer_t *timer)
{
  (void)timer; /* it ends the loop's wait */
}

static void turn_session(tunnel_t *t)
{
  uint64_t wait = next_wait(t), before = system_awake_or_not_ms();
  uv_update_time(&t->loop);
  uv_timer_start(&t->step, on_step, wait, 0);
  int asked = uv_backend_timeout(&t->loop);
  uv_run(&t->loop, UV_RUN_ONCE);
  notice_sleep(t, before, asked >= 0 ? (uint64_t)asked : wait);
  uv_timer_stop(&t->step);
  if (t->life.state == LIFE_OVER || !t->link.talk)
    return;
  ask_step(t->link.ask);
  carry_step(t->carry);
  learn_step(&t->learn);
  if (t->life.state == LIFE_LEARNING && t->learn.checked && t->life.asking == 0)
    become_up(t);
  if (t->life.state == LIFE_LEARNING || t->life.state == LIFE_UP)
    judge_path(t);
}

static bool has_room(void *ctx)
{
  const tunnel_t *t = ctx;
  return carry_count(t->carry) + local_count(t->local) < TUNNEL_CONNECTIONS_MAX;
}

static void turn(tunnel_t *t)
{
  if (t->local)
    local_listen(t->local, has_room(t));
  if (t->link.talk) {
    turn_session(t);
    return;
  }
  uint64_t before = system_awake_or_not_ms();
  uv_run(&t->loop, UV_RUN_ONCE);
  if (t->life.state == LIFE_WAITING && system_awake_or_not_ms() - before > BACKOFF_MAX_MS + TUNNEL_SLEPT_MS)
    hurry(t);
}

/* ---- signals ---- */

static void on_signal(uv_signal_t *signal, int number)
{
  tunnel_t *t = signal->data;
  switch (number) {
  case SIGCONT: /* we were stopped, or the terminal was another's */
    alive_woke(&t->alive);
    hurry(t);
    return;
  case SIGWINCH:
    live_update(t->live);
    return;
  case SIGCHLD:
    child_look(t->child);
    return;
  default:
    if (!child_signal(t->child, number))
      life_stop(&t->life);
  }
}

static void catch_signals(tunnel_t *t)
{
  static const int numbers[] = {SIGINT, SIGTERM, SIGHUP, SIGCONT, SIGWINCH, SIGCHLD};
  for (size_t i = 0; i < COUNT_OF(numbers); i++) {
    uv_signal_init(&t->loop, &t->signals[i]);
    t->signals[i].data = t;
    uv_signal_start(&t->signals[i], on_signal, numbers[i]);
  }
}

/* ---- from start to end ---- */

static void on_wanted(void *ctx)
{
  hurry(ctx);
}

static void on_connection(void *ctx, size_t i, int fd, const char *host, uint16_t port)
{
  tunnel_t *t = ctx;
  carry_take(t->carry, &t->routes.items[i], fd, host, port);
}

/* False when out of memory. */
static bool make_parts(tunnel_t *t)
{
  const task_t *task = t->task;
  const local_hooks_t hooks = {has_room, on_connection, t};
  routes_init(&t->routes, task->forwards, task->forward_count);
  t->learn.resolve = (resolve_t){&t->life, &t->link, &t->routes};
  t->job = (job_of_t){&t->life, &t->link};
  t->why = why_new(&t->learn.resolve);
  t->carry = t->why ? carry_new(&t->life, &t->link, t->why, on_wanted, t) : NULL;
  t->learn.carry = t->carry;
  t->child = child_new(&t->life, &t->routes, system_raise_limits());
  if (!task->stdio)
    t->local = local_new(&t->loop, t->say, task->forwards, task->forward_count, task->any_user, &hooks);
  return t->carry && t->child && (t->local || task->stdio);
}

static void free_parts(tunnel_t *t)
{
  carry_free(t->carry);
  why_free(t->why);
  child_free(t->child);
  local_free(t->local);
}

static void close_handle(uv_handle_t *handle, void *ctx)
{
  (void)ctx;
  if (!uv_is_closing(handle))
    uv_close(handle, NULL);
}

static void free_tunnel(tunnel_t *t)
{
  memory_clear(&t->memory);
  uv_walk(&t->loop, close_handle, NULL);
  while (uv_run(&t->loop, UV_RUN_DEFAULT) != 0)
    ;
  uv_loop_close(&t->loop);
  free_parts(t);
  free(t);
}

static tunnel_t *new_tunnel(const task_t *task, say_t *say, template_t *template)
{
  tunnel_t *t = calloc(1, sizeof *t);
  if (!t)
    return NULL;
  if (loop_init(&t->loop) != SMPL_OK) {
    free(t);
    return NULL;
  }
  t->task = task;
  t->say = say;
  t->life = (life_t){.task = task, .say = say};
  t->template = template;
  t->how = (session_how_t){&task->to, say, template, task->read_ahead};
  t->session.fd = -1;
  say->ready_to_error = task->stdio || task->exec;
  memory_init(&t->memory);
  uv_timer_t *timers[] = {&t->retry, &t->step, &t->stopping};
  for (size_t i = 0; i < COUNT_OF(timers); i++) { /* NOLINT(bugprone-sizeof-expression): an array */
    uv_timer_init(&t->loop, timers[i]);
    timers[i]->data = t;
  }
  if (make_parts(t))
    return t;
  free_tunnel(t);
  return NULL;
}

/* False after life_fail. */
static bool bind_ports(tunnel_t *t)
{
  diag_t diag = {0};
  if (!t->local)
    return true;
  if (local_bind(t->local, &diag) != SMPL_OK) {
    life_fail(&t->life, EXIT_CANNOT_BIND, NULL, diag.text);
    return false;
  }
  for (size_t i = 0; i < t->routes.count; i++)
    t->routes.items[i].local_port = local_port(t->local, i);
  return true;
}

/* The ports first: they are free at once. */
static void close_all(tunnel_t *t)
{
  local_close(t->local);
  live_free(t->live);
  control_stop(t->control);
  carry_lost(t->carry);
  ask_free(t->link.ask);
  t->link = (link_t){0};
  carry_close_all(t->carry);
  session_close(&t->session, TUNNEL_STEP_MS);
  prompt_restore(&t->memory.prompt);
}

static int status_of(const tunnel_t *t, exit_code_t code)
{
  if (!t->task->exec)
    return (int)code;
  int status = child_status(t->child);
  return status >= 0 ? status : code == EXIT_ENDED ? EXIT_ENDED : EXIT_FOR_COMMAND;
}

/* False: it is not to be used, and that was said. */
static bool library_is_fine(const task_t *task, say_t *say)
{
  char loaded[LIBSSH_VERSION_MAX], warning[LIBSSH_WARNING_MAX];
  diag_t diag = {0};
  if (text_copy(loaded, sizeof loaded, ssh_version(0)) != SMPL_OK)
    loaded[0] = '\0';
  loaded[strcspn(loaded, "/")] = '\0'; /* behind it: what it was built with */
  if (libssh_check(loaded[0] ? loaded : NULL, &task->libssh, "tunnel.yaml", warning, &diag) != SMPL_OK) {
    say_end(say, EXIT_OTHER, NULL, diag.text);
    return false;
  }
  if (warning[0])
    say_note(say, "%s", warning);
  return true;
}

static void run(tunnel_t *t)
{
  catch_signals(t);
  if (bind_ports(t)) {
    child_prepare(t->child);
    walls_seal(t->say);
    if (t->life.state != LIFE_OVER)
      start_opener(t);
  }
  while (t->life.state != LIFE_OVER)
    turn(t);
}

/* Its exit status. */
static int end(tunnel_t *t)
{
  bool opening = t->memory_taken;
  exit_code_t code = t->life.code;
  close_all(t);
  if (code == EXIT_ENDED)
    child_finish_stdio(t->child);
  child_end(t->child);
  if (!t->task->job || code != EXIT_ENDED)
    say_end(t->say, code, t->life.reason, t->life.diag.text);
  int status = status_of(t, code);
  capture_end(&t->memory.group);
  template_end(t->template);
  if (opening) { /* a thread still connects: nobody waits for it */
    fflush(NULL);
    _exit(status);
  }
  free_tunnel(t);
  return status;
}

int tunnel_run(const task_t *task, say_t *say)
{
  template_t template;
  int failed = task->exec ? EXIT_FOR_COMMAND : EXIT_OTHER;
  if (!library_is_fine(task, say))
    return failed;
  /* before keys, threads and descriptors of any worth */
  if (template_start(&template) != SMPL_OK) {
    say_end(say, EXIT_OTHER, NULL, "no process can be made that speaks SSH");
    return failed;
  }
  tunnel_t *t = new_tunnel(task, say, &template);
  if (!t) {
    template_end(&template);
    return EXIT_OTHER;
  }
  run(t);
  return end(t);
}
