/* SPDX-License-Identifier: Apache-2.0 */
#include "bastion/policy/finder.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/error.h"
#include "common/base/text.h"

typedef struct candidate {
  char name[GRANT_NAME_MAX];
} candidate_t;

struct finder {
  const finder_world_t *world;
  char user[CONFIG_NAME_MAX];
  bool by_service; /* the port is asked of DNS */
  candidate_t candidates[CONFIG_SEARCH_MAX];
  size_t count;
  size_t at;
  lookup_query_t *query;
  finder_cb cb;
  void *ctx;
  finder_result_t result;
};

/* The search domain that a name lies in, NULL if in none. */
static const char *domain_of(const config_t *c, const char *name)
{
  const char *const *search = c->search.items;
  for (size_t i = 0; i < c->search.count; i++)
    if (target_in_domain(name, search[i]))
      return search[i];
  return NULL;
}

static grant_decision_t decide(const config_t *c, const char *user_name, const grant_target_t *target)
{
  const user_conf_t *user = config_user(c, user_name);
  if (user == NULL)
    return (grant_decision_t){REASON_NOT_GRANTED, 0, 0};
  grant_subject_t subject = config_subject(user);
  return grant_decide(c->grants, config_grant_count(c), &subject, target);
}

static grant_decision_t decide_name(const config_t *c, const char *user, const char *name, uint16_t port)
{
  grant_target_t target = {.name = name, .port = port};
  return decide(c, user, &target);
}

grant_decision_t finder_judge_address(const config_t *c, const char *user_name, bool is_ip, const char *name,
                                      const endpoint_t *address)
{
  const user_conf_t *user = config_user(c, user_name);
  if (user == NULL)
    return (grant_decision_t){REASON_NOT_GRANTED, 0, 0};
  grant_subject_t subject = config_subject(user);
  grant_target_t target = {is_ip, address->ip, name, address->port};
  grant_decision_t d =
      grant_decide_address(c->grants, config_grant_count(c), &subject, &target, &address->ip);
  if (d.reason == REASON_NONE && config_is_own(c, &address->ip, address->port))
    d.reason = REASON_ADDRESS_NOT_GRANTED;
  return d;
}

/* So many minutes from the beginning of the one that is running. */
static uint64_t after_minutes(unsigned minutes)
{
  unsigned ms;
  hours_now(&ms);
  return minutes >= HOURS_WEEK ? UINT64_MAX : clock_mono_ms() + minutes * 60000ull - ms;
}

uint64_t finder_hours_end(const grant_t *grant)
{
  unsigned minutes = hours_left(grant->hours, grant->hour_count, hours_now(NULL));
  return minutes == 0 ? 0 : after_minutes(minutes);
}

uint64_t finder_granted_until(const config_t *c, const char *user_name, bool is_ip, const char *name,
                              const endpoint_t *address)
{
  const user_conf_t *user = config_user(c, user_name);
  if (user == NULL)
    return 0;
  grant_subject_t subject = config_subject(user);
  grant_target_t target = {is_ip, address->ip, name, address->port};
  return after_minutes(grant_minutes_left(c->grants, config_grant_count(c), &subject, &target, &address->ip));
}

/* The final names that a target may mean and a grant covers. Without any, the decision nearest to a grant. */
static grant_decision_t collect(const config_t *c, const char *user, const target_t *target, uint16_t port,
                                candidate_t *out, size_t *count)
{
  grant_decision_t best = {REASON_NOT_GRANTED, 0, 0};
  const char *const *search = c->search.items;
  size_t tries = target->final ? 1 : c->search.count;
  *count = 0;
  for (size_t i = 0; i < tries; i++) {
    candidate_t one;
    if (target->final)
      memcpy(one.name, target->name, sizeof one.name);
    else if (target_under(target, search[i], one.name))
      continue;
    grant_decision_t d = decide_name(c, user, one.name, port);
    if (d.reason == REASON_NONE)
      out[(*count)++] = one;
    else if (*count == 0 && (i == 0 || d.reason != REASON_NOT_GRANTED))
      out[0] = one;
    best = grant_nearer(best, d);
  }
  return best;
}

grant_decision_t finder_judge(const config_t *c, const char *user, const char *host, uint16_t port,
                              char *name)
{
  target_t target;
  candidate_t candidates[CONFIG_SEARCH_MAX] = {0};
  size_t count;
  name[0] = '\0';
  if (target_parse(host, &target))
    return (grant_decision_t){REASON_BAD_TARGET, 0, 0};
  if (target.is_ip) {
    ip_format(&target.ip, name);
    grant_target_t t = {true, target.ip, name, port};
    grant_decision_t d = decide(c, user, &t);
    return d.reason != REASON_NONE
               ? d
               : finder_judge_address(c, user, true, name, &(endpoint_t){target.ip, port});
  }
  grant_decision_t d = collect(c, user, &target, port, candidates, &count);
  memcpy(name, candidates[0].name, GRANT_NAME_MAX);
  return d;
}

/* ---- looking up ---- */

static void finish(finder_t *f, reason_t reason)
{
  f->result.reason = reason;
  f->cb(f->ctx, &f->result);
  free(f);
}

static void try_candidate(finder_t *f);

/* This candidate does not exist: the next one, or the end. */
static void next_candidate(finder_t *f, reason_t reason)
{
  if (++f->at < f->count)
    try_candidate(f);
  else
    finish(f, reason);
}

static reason_t reason_of(int err)
{
  return err == SMPL_ENOENT   ? REASON_UNKNOWN_NAME
         : err == SMPL_EINVAL ? REASON_NO_ADDRESS
                              : REASON_RESOLVER_FAILED;
}

/* Aliases stay within the domain that was searched; of a name outside all of them, each alias needs a grant
 * itself. */
static bool alias_ok(const finder_t *f, const dns_name_t *wire)
{
  char name[GRANT_NAME_MAX];
  if (!target_of_wire(wire, name))
    return false;
  const config_t *c = f->world->config;
  const char *domain = domain_of(c, f->result.name);
  if (domain != NULL)
    return target_in_domain(name, domain);
  return decide_name(c, f->user, name, f->result.port).reason == REASON_NONE;
}

static reason_t check_addrs(const finder_t *f, const lookup_addrs_t *found)
{
  for (size_t i = 0; i < found->chain_count; i++)
    if (!alias_ok(f, &found->chain[i]))
      return REASON_NAME_LEAVES_DOMAIN;
  for (size_t i = 0; i < found->count; i++) {
    endpoint_t ep = {found->addrs[i], f->result.port};
    reason_t reason = finder_judge_address(f->world->config, f->user, false, f->result.name, &ep).reason;
    if (reason != REASON_NONE)
      return reason;
  }
  return REASON_NONE;
}

static void on_addrs(void *ctx, int err, const lookup_addrs_t *found)
{
  finder_t *f = ctx;
  f->query = NULL;
  if (err == SMPL_ENOENT || err == SMPL_EINVAL) {
    next_candidate(f, reason_of(err));
    return;
  }
  if (err) {
    finish(f, REASON_RESOLVER_FAILED);
    return;
  }
  reason_t reason = check_addrs(f, found);
  if (reason == REASON_NONE) {
    f->result.count = found->count;
    memcpy(f->result.addrs, found->addrs, found->count * sizeof *found->addrs);
  }
  finish(f, reason);
}

/* The user has his share of the questions under way, or something is wrong. */
static reason_t not_asked(int err)
{
  return err == SMPL_ELIMIT ? REASON_TOO_MANY_LOOKUPS : REASON_RESOLVER_FAILED;
}

static void ask_addrs(finder_t *f, lookup_addrs_cb cb)
{
  dns_name_t name;
  int err;
  if (dns_name_from_text(f->result.name, &name))
    finish(f, REASON_BAD_TARGET);
  else if ((err = lookup_addresses(f->world->lookup, f->user, &name, cb, f, &f->query)) != SMPL_OK)
    finish(f, not_asked(err));
}

/* No service record: does the name exist at all? */
static void on_existence(void *ctx, int err, const lookup_addrs_t *found)
{
  (void)found;
  finder_t *f = ctx;
  f->query = NULL;
  if (err == SMPL_ENOENT)
    next_candidate(f, REASON_UNKNOWN_NAME);
  else
    finish(f, err == SMPL_OK || err == SMPL_EINVAL ? REASON_NO_SERVICE_PORT : REASON_RESOLVER_FAILED);
}

/* A service record never widens a grant: its target and port must pass like any other. */
static reason_t choose_service(finder_t *f, const lookup_srvs_t *found)
{
  reason_t reason = REASON_NO_SERVICE_PORT;
  for (size_t i = 0; i < found->count; i++) {
    char name[GRANT_NAME_MAX];
    if (!target_of_wire(&found->srvs[i].target, name) || found->srvs[i].port == 0)
      continue;
    reason = decide_name(f->world->config, f->user, name, found->srvs[i].port).reason;
    if (reason != REASON_NONE)
      continue;
    memcpy(f->result.name, name, sizeof name);
    f->result.port = found->srvs[i].port;
    break;
  }
  return reason;
}

static void on_services(void *ctx, int err, const lookup_srvs_t *found)
{
  finder_t *f = ctx;
  f->query = NULL;
  if (err == SMPL_ENOENT || err == SMPL_EINVAL) {
    ask_addrs(f, on_existence);
    return;
  }
  reason_t reason = err ? REASON_RESOLVER_FAILED : choose_service(f, found);
  if (reason == REASON_NONE)
    ask_addrs(f, on_addrs);
  else
    finish(f, reason);
}

static void try_candidate(finder_t *f)
{
  memcpy(f->result.name, f->candidates[f->at].name, sizeof f->result.name);
  if (!f->by_service) {
    ask_addrs(f, on_addrs);
    return;
  }
  char text[sizeof "_http._tcp." + GRANT_NAME_MAX];
  dns_name_t name;
  snprintf(text, sizeof text, "_http._tcp.%s", f->result.name);
  int err;
  if (dns_name_from_text(text, &name))
    finish(f, REASON_BAD_TARGET);
  else if ((err = lookup_services(f->world->lookup, f->user, &name, on_services, f, &f->query)) != SMPL_OK)
    finish(f, not_asked(err));
}

static void start_literal(finder_t *f, const target_t *target)
{
  ip_format(&target->ip, f->result.name);
  f->result.is_ip = true;
  if (f->by_service) {
    finish(f, REASON_NO_SERVICE_PORT);
    return;
  }
  endpoint_t ep = {target->ip, f->result.port};
  reason_t reason = finder_judge_address(f->world->config, f->user, true, f->result.name, &ep).reason;
  f->result.count = reason == REASON_NONE;
  f->result.addrs[0] = target->ip;
  finish(f, reason);
}

void finder_start(const finder_world_t *world, const char *user, const char *host, uint16_t port,
                  finder_cb cb, void *ctx, finder_t **out)
{
  *out = NULL;
  finder_t *f = calloc(1, sizeof *f);
  target_t target;
  if (f == NULL) {
    cb(ctx, &(finder_result_t){.reason = REASON_RESOLVER_FAILED});
    return;
  }
  *f = (finder_t){.world = world, .by_service = port == 0, .cb = cb, .ctx = ctx};
  f->result.port = port;
  if (text_copy(f->user, sizeof f->user, user) || target_parse(host, &target)) {
    finish(f, REASON_BAD_TARGET);
    return;
  }
  if (target.is_ip) {
    start_literal(f, &target);
    return;
  }
  reason_t reason = collect(world->config, user, &target, port, f->candidates, &f->count).reason;
  if (reason != REASON_NONE) {
    memcpy(f->result.name, f->candidates[0].name, sizeof f->result.name);
    finish(f, reason);
    return;
  }
  *out = f; /* set first: a lookup that cannot start ends it at once */
  f->query = NULL;
  try_candidate(f);
}

void finder_cancel(finder_t *f)
{
  if (f == NULL)
    return;
  if (f->query != NULL)
    lookup_cancel(f->query);
  free(f);
}
