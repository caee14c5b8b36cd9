/* SPDX-License-Identifier: Apache-2.0 */
/* A configuration through libfyaml, its schema and its checks. What is refused is so with one line that names
 * the file, what is taken agrees within itself. */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "resolver/limits.h"
#include "resolver/view/settings.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(int condition, const char *what)
{
  if (condition)
    return;
  fprintf(stderr, "broken: %s\n", what);
  abort();
}

static void on_warning(void *ctx, const char *text)
{
  (void)ctx;
  require(strstr(text, "folder/resolver.yaml") != NULL && strchr(text, '\n') == NULL,
          "a warning is one line with its place");
}

static void check(const settings_t *s)
{
  require(s->listeners.count > 0 && s->listeners.count <= LISTENERS_MAX, "dns listeners");
  for (size_t i = 0; i < s->listeners.count; i++) {
    const listener_conf_t *l = settings_listener_at(s, i);
    require(l->port >= 1 && l->port <= UINT16_MAX, "port");
    for (size_t j = 0; j < l->views.count; j++)
      require(settings_view(s, settings_name_at(&l->views, j)) < s->views.count, "a listener's view");
  }
  for (size_t i = 0; i < s->views.count; i++) {
    const view_conf_t *v = settings_view_at(s, i);
    require(settings_view(s, v->name) == i, "names of views are unique");
    for (size_t j = 0; j < v->zones.count; j++)
      require(settings_zone(s, settings_name_at(&v->zones, j)) < s->zones.count, "a view's zone");
  }
  for (size_t i = 0; i < s->zones.count; i++) {
    const zone_conf_t *z = settings_zone_at(s, i);
    dns_name_t origin;
    require(settings_zone(s, z->name) == i && settings_origin(z->name, &origin) == 0, "a zone's name");
    require((z->base != NULL) == (z->on_missing == ON_MISSING_BASE), "a zone's base");
  }
  require(s->control != NULL && s->control[0] != '\0', "control socket");
  settings_warnings(s, on_warning, NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  settings_t s;
  diag_t diag = {""};
  int err = settings_parse("folder/resolver.yaml", (const char *)data, size, &s, &diag);
  if (err) {
    require(strncmp(diag.text, "folder/resolver.yaml:", 21) == 0, diag.text);
    require(strchr(diag.text, '\n') == NULL, "a message is one line");
    return 0;
  }
  require(diag.text[0] == '\0', "no message");
  check(&s);
  settings_free(&s);
  return 0;
}
