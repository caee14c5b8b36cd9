/* SPDX-License-Identifier: Apache-2.0 */
#include "resolver/control/explain.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/error.h"
#include "resolver/answer/probe.h"

enum {
  LINE_MAX_ = DNS_NAME_TEXT_MAX + 1024,
  VIEWS_NAMED = 8, /* views that a refusal names as holding the name */
};

int explain_read(const char *name, const char *type, const char *from, const char *listener,
                 explain_question_t *out, diag_t *diag)
{
  *out = (explain_question_t){.type = DNS_TYPE_A};
  if (name == NULL || dns_name_from_text(name, &out->name))
    return diag_fail(diag, SMPL_EINVAL, "expected a name to explain, got '%s'", name != NULL ? name : "");
  dns_name_lower(&out->name);
  if (type != NULL && probe_type(type, &out->type))
    return diag_fail(diag, SMPL_EINVAL, "expected a record type like A, SRV or TYPE65280, got '%s'", type);
  if (from == NULL)
    return diag_fail(diag, SMPL_EINVAL, "the client's address is needed: --from ADDR");
  if (ip_parse(from, &out->from))
    return diag_fail(diag, SMPL_EINVAL, "--from: expected an IP address, got '%s'", from);
  out->at_listener = listener != NULL;
  if (listener != NULL && endpoint_parse(listener, &out->listener))
    return diag_fail(diag, SMPL_EINVAL, "--listener: expected ADDR:PORT, got '%s'", listener);
  return SMPL_OK;
}

static void add_line(json_t *list, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void add_line(json_t *list, const char *fmt, ...)
{
  char line[LINE_MAX_];
  va_list ap;
  va_start(ap, fmt);
  vsnprintf(line, sizeof line, fmt, ap);
  va_end(ap);
  json_array_append_new(list, json_string(line));
}

static json_t *name_json(const uint8_t *wire, size_t len)
{
  dns_name_t name = {.len = (uint8_t)len};
  char text[DNS_NAME_TEXT_MAX];
  memcpy(name.wire, wire, len);
  return json_string(dns_name_to_text(&name, text));
}

/* The most specific network of the view chosen that holds the client, as it was written. */
static json_t *network_json(const snapshot_t *s, const view_t *view, const ip_t *peer)
{
  char text[IP_NET_TEXT_MAX];
  if (view == NULL)
    return json_null();
  const settings_t *settings = snapshot_settings(s);
  const view_conf_t *v = settings_view_at(settings, settings_view(settings, view_name(view)));
  const ip_net_t *best = NULL;
  for (size_t i = 0; i < v->clients.count; i++) {
    const ip_net_t *net = settings_client_at(v, i);
    if (ip_net_contains(net, peer) && (best == NULL || net->prefix > best->prefix))
      best = net;
  }
  return best != NULL ? json_string(ip_net_format(best, text)) : json_null();
}

/* ---- steps ---- */

static const char *kind_text(zone_match_kind_t kind)
{
  switch (kind) {
  case ZONE_ANSWER:
    return "record";
  case ZONE_ALIAS:
    return "alias";
  case ZONE_DNAME:
    return "dname";
  case ZONE_NODATA:
    return "no such type";
  case ZONE_NXDOMAIN:
    return "no such name";
  case ZONE_REFERRAL:
    return "delegation";
  case ZONE_UNAVAILABLE:
    return "zone not available";
  }
  return "";
}

static json_t *step_json(const answer_step_t *step)
{
  json_t *o = json_pack("{s:o, s:s}", "name", name_json(step->name.wire, step->name.len), "view",
                        view_name((const view_t *)step->zone.view));
  if (o == NULL || step->zone.zone == NULL) {
    json_object_set_new(o, "zone", json_null());
    json_object_set_new(o, "found", json_string("no zone"));
    return o;
  }
  zone_path_t path;
  zone_path(step->zone, &step->name, &path);
  const uint8_t *encloser = step->name.wire + step->name.len - path.encloser_len;
  json_object_set_new(o, "zone", json_string(zone_name(step->zone.zone)));
  json_object_set_new(o, "closest_encloser", name_json(encloser, path.encloser_len));
  json_object_set_new(o, "exists", json_boolean(path.exists));
  json_object_set_new(o, "wildcard", json_null());
  if (path.wildcard && path.encloser_len + 2 <= DNS_NAME_MAX) {
    uint8_t star[DNS_NAME_MAX] = {1, '*'};
    memcpy(star + 2, encloser, path.encloser_len);
    json_object_set_new(o, "wildcard", name_json(star, path.encloser_len + 2));
  }
  json_object_set_new(o, "found", json_string(kind_text(step->match.kind)));
  if (step->match.kind == ZONE_REFERRAL || step->match.kind == ZONE_DNAME) {
    size_t len = step->match.owner_len;
    json_object_set_new(o, "owner", name_json(step->name.wire + step->name.len - len, len));
  }
  return o;
}

static json_t *steps_json(const probe_t *p)
{
  json_t *list = json_array();
  for (size_t i = 0; i < p->trace.count; i++)
    json_array_append_new(list, step_json(&p->trace.steps[i]));
  return list;
}

/* ---- answer ---- */

static void add_record(void *ctx, unsigned section, const dns_rr_t *rr, const char *text, const char *tail)
{
  json_t **sections = ctx;
  (void)rr;
  (void)tail;
  json_array_append_new(sections[section], json_string(text));
}

static json_t *answer_json(const probe_t *p, bool truncated_over_udp)
{
  json_t *sections[3] = {json_array(), json_array(), json_array()};
  json_t *flags = json_array();
  probe_records(p, add_record, sections);
  if (probe_flags(p) & DNS_FLAG_AA)
    json_array_append_new(flags, json_string("aa"));
  return json_pack("{s:s, s:o, s:b, s:o, s:o, s:o}", "rcode", stats_rcode_name(p->note.rcode), "flags", flags,
                   "truncated_over_udp", truncated_over_udp, "answer", sections[0], "authority", sections[1],
                   "additional", sections[2]);
}

/* ---- why ---- */

static bool listener_has(const listener_conf_t *l, const char *view)
{
  for (size_t i = 0; i < l->views.count; i++)
    if (strcmp(settings_name_at(&l->views, i), view) == 0)
      return true;
  return false;
}

/* A view that has a zone for the name, and what stands between the client and it. */
static void say_holder(const snapshot_t *s, size_t listener, const char *asked, const view_t *holder,
                       const zone_t *zone, json_t *change)
{
  const char *name = view_name(holder);
  if (listener_has(snapshot_listener_conf(s, listener), name))
    add_line(change,
             "view '%s' has zone '%s' for this name: give the client's network to its clients, or list the "
             "zone in view '%s'",
             name, zone_name(zone), asked);
  else
    add_line(change,
             "view '%s' has zone '%s' for this name, but is not a view of this dns listener: list the zone "
             "in view '%s', or ask another listener",
             name, zone_name(zone), asked);
}

static void change_zones(const snapshot_t *s, size_t listener, const view_t *view,
                         const explain_question_t *q, json_t *change)
{
  size_t named = 0;
  for (size_t i = 0; i < snapshot_view_count(s) && named < VIEWS_NAMED; i++) {
    zone_in_view_t z;
    const view_t *other = snapshot_view(s, i);
    if (other == view || !view_zone_for(other, &q->name, q->type, &z))
      continue;
    say_holder(s, listener, view_name(view), other, z.zone, change);
    named++;
  }
  if (named == 0)
    add_line(change, "no view has a zone at or above this name: add one under zones and list it in view '%s'",
             view_name(view));
}

static void change_network(const snapshot_t *s, size_t listener, const explain_question_t *q, json_t *change)
{
  char from[IP_TEXT_MAX];
  const listener_conf_t *l = snapshot_listener_conf(s, listener);
  for (size_t i = 0; i < l->views.count && i < VIEWS_NAMED; i++) {
    const char *name = settings_name_at(&l->views, i);
    const view_t *v = snapshot_view(s, settings_view(snapshot_settings(s), name));
    zone_in_view_t z;
    if (view_zone_for(v, &q->name, q->type, &z))
      add_line(change,
               "give view '%s', which has zone '%s' for this name, a network in clients that holds %s", name,
               zone_name(z.zone), ip_format(&q->from, from));
  }
  if (json_array_size(change) == 0)
    add_line(change,
             "no view of this dns listener has a zone for this name: beside a network for %s, one of them "
             "needs it",
             ip_format(&q->from, from));
}

static const char *why_answered(const probe_t *p)
{
  if (p->note.rcode == DNS_RCODE_NXDOMAIN)
    return "the zone does not have the name";
  const answer_step_t *last = &p->trace.steps[p->trace.count - 1];
  if (last->zone.zone == NULL)
    return "the alias leads to a name for which the view has no zone: it is not followed further";
  switch (last->match.kind) {
  case ZONE_ANSWER:
    return "the zone has the record";
  case ZONE_NODATA:
    return "the zone has the name, but no record of this type";
  case ZONE_REFERRAL:
    return "the zone delegates the name to other servers";
  case ZONE_UNAVAILABLE:
    return "the zone's file could not be read at the start, and no good copy of it was kept";
  case ZONE_ALIAS:
  case ZONE_DNAME:
  case ZONE_NXDOMAIN:
    break;
  }
  return p->note.rcode == DNS_RCODE_NOERROR
             ? "the alias ends here: asked for itself, in a circle, or too long"
             : "the alias leads to a name that is too long";
}

static const char *why(const snapshot_t *s, size_t listener, const view_t *view, const explain_question_t *q,
                       const probe_t *p, json_t *change)
{
  if (view == NULL) {
    change_network(s, listener, q, change);
    return "no network of this dns listener's views holds the client";
  }
  if (q->type == DNS_TYPE_AXFR || q->type == DNS_TYPE_IXFR) {
    add_line(change, "nothing in the configuration: ask for records one by one");
    return "transfers are refused to every client";
  }
  if (p->trace.count == 0 || p->trace.steps[0].zone.zone == NULL) {
    change_zones(s, listener, view, q, change);
    return "the client's view has no zone at or above the name";
  }
  return why_answered(p);
}

static json_t *explain_at(const snapshot_t *s, size_t listener, const explain_question_t *q, probe_t *p)
{
  char text[ENDPOINT_TEXT_MAX];
  endpoint_t at = snapshot_listener(s, listener);
  snapshot_view_t chosen;
  snapshot_choose(s, listener, &q->from, 1, &chosen);
  const view_t *view = chosen.view;
  probe_ask(view, EXCHANGE_UDP, &q->name, q->type, p);
  bool truncated = p->note.truncated;
  if (truncated)
    probe_ask(view, EXCHANGE_TCP, &q->name, q->type, p);
  json_t *change = json_array();
  const char *reason = why(s, listener, view, q, p, change);
  return json_pack("{s:s, s:o, s:s?, s:o, s:o, s:s, s:o}", "listener", endpoint_format(&at, text), "network",
                   network_json(s, view, &q->from), "view", view != NULL ? view_name(view) : NULL, "steps",
                   steps_json(p), "answer", answer_json(p, truncated), "why", reason, "change", change);
}

static void no_such_listener(const snapshot_t *s, const explain_question_t *q, diag_t *diag)
{
  char wanted[ENDPOINT_TEXT_MAX];
  char text[ENDPOINT_TEXT_MAX];
  char list[DIAG_TEXT_MAX / 2] = "";
  for (size_t i = 0; i < snapshot_listener_count(s); i++) {
    endpoint_t at = snapshot_listener(s, i);
    size_t used = strlen(list);
    snprintf(list + used, sizeof list - used, "%s%s", i > 0 ? ", " : "", endpoint_format(&at, text));
  }
  diag_fail(diag, SMPL_ENOENT, "no dns listener %s; there is %s", endpoint_format(&q->listener, wanted),
            list);
}

json_t *explain(const snapshot_t *s, const explain_question_t *q, diag_t *diag)
{
  char name[DNS_NAME_TEXT_MAX];
  char type[PROBE_TYPE_MAX];
  char from[IP_TEXT_MAX];
  json_t *list = json_array();
  probe_t *p = malloc(sizeof *p);
  for (size_t i = 0; p != NULL && i < snapshot_listener_count(s); i++) {
    endpoint_t at = snapshot_listener(s, i);
    if (!q->at_listener || (ip_equal(&at.ip, &q->listener.ip) && at.port == q->listener.port))
      json_array_append_new(list, explain_at(s, i, q, p));
  }
  if (p == NULL)
    diag_fail(diag, SMPL_ENOMEM, "out of memory");
  free(p);
  if (json_array_size(list) == 0) {
    no_such_listener(s, q, diag);
    json_decref(list);
    return NULL;
  }
  json_t *reply =
      json_pack("{s:b, s:s, s:s, s:s, s:o}", "ok", 1, "name", dns_name_to_text(&q->name, name), "type",
                probe_type_text(q->type, type), "from", ip_format(&q->from, from), "listeners", list);
  if (reply == NULL)
    diag_fail(diag, SMPL_ENOMEM, "out of memory");
  return reply;
}
