/* SPDX-License-Identifier: Apache-2.0 */
#include "bastion/cli/check.h"

#include <stdio.h>
#include <string.h>

#include "bastion/broker/broker.h"
#include "bastion/broker/library.h"
#include "bastion/broker/writable.h"
#include "bastion/session/blocks.h"
#include "common/conf/account.h"
#include "common/net/bind.h"

enum { PATH_CAP = 4096 };

static void print_host_keys(const config_t *c)
{
  bool other = false;
  for (size_t i = 0; i < hostkeys_count(c->keys); i++) {
    const hostkey_t *key = hostkeys_get(c->keys, i);
    printf("  host key   %s %s\n", hostkey_kind(key), hostkey_fingerprint(key));
    other = other || strcmp(hostkey_kind(key), "ssh-ed25519") != 0;
  }
  printf("  algorithms %s\n", config_algorithms(c));
  if (c->algorithms == MSG_ALGORITHMS_COMPATIBLE && !other)
    puts("  note       clients that know no ed25519 need a host key of kind ecdsa or rsa too (ssh-keygen -t "
         "ecdsa)");
}

static void print_checked(const config_t *c)
{
  char place[1024];
  const user_conf_t *users = c->users.items;
  printf("%s: ok\n", conf_path_of(c->conf));
  print_host_keys(c);
  size_t keys = 0, uncovered = 0;
  for (size_t i = 0; i < c->users.count; i++) {
    grant_subject_t subject = config_subject(&users[i]);
    bool covered = false;
    for (size_t g = 0; g < config_grant_count(c) && !covered; g++)
      covered = grant_covers_subject(&c->grants[g], &subject);
    keys += users[i].keys.count;
    uncovered += !covered;
  }
  printf("  users      %zu with %zu keys\n", c->users.count, keys);
  for (size_t g = 0; g < config_grant_count(c); g++) {
    const grant_conf_t *conf = &((const grant_conf_t *)c->grant_confs.items)[g];
    const target_conf_t *targets = conf->targets.items;
    size_t reached = 0;
    for (size_t i = 0; i < c->users.count; i++) {
      grant_subject_t subject = config_subject(&users[i]);
      reached += grant_covers_subject(&c->grants[g], &subject);
    }
    printf("  grant %zu    %s%s for %zu users (%s)\n", g + 1, targets[0].text,
           conf->targets.count > 1 ? " and others" : "", reached,
           config_grant_place(c, g, place, sizeof place));
  }
  if (uncovered > 0)
    printf("  note       %zu users are covered by no grant and can reach nothing\n", uncovered);
  const endpoint_t *listen = c->listen.items;
  for (size_t i = 0; i < c->listen.count; i++)
    if (!bind_is_here(&listen[i].ip))
      printf("  warning    listen: %s: this machine has no such address now\n",
             endpoint_format(&listen[i], place));
  if (config_grant_count(c) == 0)
    puts("  no grants: nobody can reach anything");
}

/* All of them: what `check` is for. */
static void print_faults(const faults_t *f)
{
  for (size_t i = 0; i < f->count; i++)
    fprintf(stderr, "smpl-bastion: %s%s\n", f->list[i].level == FAULT_WARNING ? "warning: " : "",
            f->list[i].text);
  if (f->errors + f->warnings > f->count)
    fprintf(stderr, "smpl-bastion: %zu more\n", f->errors + f->warnings - f->count);
}

/* As the account that will serve, where this process may become it. */
static int load_to_check(const char *path, config_t **out, bool *as_served, diag_t *diag)
{
  config_t *first;
  int err = config_load_paths(path, &first, diag);
  if (err)
    return err;
  account_conf_t account = {first->conf, &first->user};
  err = account_check(&account, as_served, diag);
  if (!err && *as_served)
    err = account_become(&account, ACCOUNT_KEEP_PORTS, NULL, diag);
  config_free(first);
  return err ? err : config_load(path, out, diag);
}

int check_run(const options_t *o)
{
  diag_t diag = {""};
  config_t *c = NULL;
  bool as_served;
  if (o->config == NULL)
    return options_fail_usage("check needs -c FILE");
  char worker[PATH_CAP], library[LIBSSH_VERSION_MAX] = "";
  int err = broker_find_worker(worker, sizeof worker, &diag);
  if (!err)
    library_ask(worker, library);
  if (!err)
    err = load_to_check(o->config, &c, &as_served, &diag);
  if (!err)
    err = library_check(library, &c->libssh, o->config, &diag);
  if (!err && as_served)
    err = writable_check(c, &diag);
  size_t blocked = 0;
  if (!err && c->state != NULL && (as_served || c->user == NULL))
    err = blocks_check(c->state, &blocked, &diag);
  bool absent = !err && c->faults.errors > 0;
  if (!err)
    print_faults(&c->faults);
  if (!err && !absent) {
    print_checked(c);
    if (blocked > 0)
      printf("  blocked    %zu users and keys\n", blocked);
    if (c->user != NULL)
      printf(as_served ? "  user       %s, who can read and write what it needs\n"
                       : "  note       only root can tell whether user %s can read and write what it needs\n",
             c->user);
  }
  config_free(c);
  return err ? options_fail(&diag) : absent ? EXIT_FAILED : EXIT_FINE;
}
