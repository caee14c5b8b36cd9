/* SPDX-License-Identifier: Apache-2.0 */
#include "app/program/check.h"

#include <stdbool.h>
#include <stdio.h>

#include "app/program/settings.h"
#include "app/program/status.h"
#include "common/net/bind.h"

static void print_rules(const listener_conf_t *listener)
{
  for (size_t i = 0; i < listener->admit.rule_count; i++)
    printf("%s%s", i > 0 ? ", " : "", listener->admit.rules[i].text);
}

static void print_listener(const listener_conf_t *listener)
{
  char address[ENDPOINT_TEXT_MAX], net[IP_NET_TEXT_MAX];
  size_t count = router_count(listener->admit.router);
  printf("  http listener %s: %s, %s, rules ", listener->name, endpoint_format(&listener->address, address),
         listener->admit.internal ? "internal" : "public");
  print_rules(listener);
  printf(": %zu route%s\n", count, count == 1 ? "" : "s");
  if (!bind_is_here(&listener->address.ip))
    printf("    warning: this machine has no such address now\n");
  if (listener->tls != NULL)
    printf("    TLS: certificate of %s, good until %s%s\n", tls_subject(listener->tls),
           tls_until(listener->tls), tls_days_left(listener->tls) < 0 ? "; warning: it has expired" : "");
  if (listener->client_count > 0) {
    printf("    clients:");
    for (size_t i = 0; i < listener->client_count; i++)
      printf(" %s", ip_net_format(&listener->clients[i], net));
    printf("\n");
  }
  if (listener->admit.internal) {
    printf("    answers for Host:");
    for (size_t i = 0; i < listener->admit.host_count; i++)
      printf(" %s", listener->admit.hosts[i]);
    printf(" %s localhost *.localhost 127.0.0.1 [::1]\n", listener->admit.own_address);
  }
  if (count == 0)
    printf("    warning: its rules admit no route; every request is answered with 404\n");
}

static void print_balancers(const settings_t *settings)
{
  const ip_net_t *all = settings->file->balancers.items;
  char net[IP_NET_TEXT_MAX];
  if (settings->file->balancers.count == 0)
    return;
  printf("  balancers, whose X-Forwarded-For is believed:");
  for (size_t i = 0; i < settings->file->balancers.count; i++)
    printf(" %s", ip_net_format(&all[i], net));
  printf("\n");
}

static void print_internal_keys(const settings_t *settings)
{
  for (size_t i = 0; i < settings->internal_key_count; i++) {
    const internal_key_t *key = &settings->internal_keys[i];
    printf("  internal key of %s:", key->name);
    for (int operation = OPERATION_FIRST; operation < OPERATION_COUNT; operation++)
      if ((key->operations >> operation & 1) != 0)
        printf(" %s", operation_name((operation_t)operation));
    printf("\n");
  }
}

static void print_warning(void *ctx, const char *text)
{
  (void)ctx;
  printf("  warning: %s\n", text);
}

static bool never(void *ctx)
{
  (void)ctx;
  return false;
}

/* What the database itself has to tell. */
static void print_notices(const settings_t *settings)
{
  tool_call_t call = {.verb = TOOL_NOTICES,
                      .database = settings->file->database,
                      .revocations = settings->file->revocations,
                      .say = print_warning,
                      .stop = never};
  if (settings->service->tool != NULL)
    settings->service->tool(&call, NULL);
}

static void print_rate(const settings_t *settings)
{
  if (settings->file->rate.requests > 0)
    printf("  rate limit: %llu requests a second with one API key, %llu at once\n",
           (unsigned long long)settings->file->rate.requests, (unsigned long long)settings->rate_burst);
  else
    printf("  rate limit: none\n");
}

int check_run(const char *path, const service_t *const *services)
{
  diag_t diag = {.text = ""};
  settings_t settings;
  listener_conf_t *listeners = NULL;
  route_source_t sources[SERVICE_SOURCES];
  if (settings_load(path, services, &settings, &diag))
    return status_fail(&diag);
  built_in_sources(NULL, settings.service, NULL, sources);
  int err = settings_listeners(&settings, sources, SERVICE_SOURCES, &listeners, &diag);
  if (!err)
    err = settings_check_database(&settings, &diag);
  if (!err)
    err = settings_check_control(&settings, &diag);
  if (!err) {
    printf("%s: ok, %s (%s service)\n", path, settings.service->title, settings.service->name);
    for (size_t i = 0; i < settings.file->listeners.count; i++)
      print_listener(&listeners[i]);
    print_balancers(&settings);
    print_rate(&settings);
    print_internal_keys(&settings);
    settings_each_warning(&settings, print_warning, NULL);
    print_notices(&settings);
  }
  settings_listeners_free(listeners, &settings);
  settings_free(&settings);
  return err ? status_fail(&diag) : STATUS_OK;
}
