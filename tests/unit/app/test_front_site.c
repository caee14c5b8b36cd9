/* SPDX-License-Identifier: Apache-2.0 */
/* Host and cross-site decisions as tables, the latter for every combination of header values. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "app/gate/site.h"

static text_ref_t text(const char *s)
{
  return s != NULL ? (text_ref_t){s, strlen(s)} : (text_ref_t){NULL, 0};
}

static void only_known_hosts_are_answered(void **state)
{
  (void)state;
  static const char *const names[] = {"config.internal.smplkit.local"};
  static const struct {
    const char *host;
    bool known;
  } cases[] = {
      {"config.internal.smplkit.local", true},
      {"CONFIG.internal.smplkit.LOCAL:8000", true},
      {"config.internal.smplkit.local.", false},
      {"xconfig.internal.smplkit.local", false},
      {"config.internal.smplkit.local.evil.example", false},
      {"internal.smplkit.local", false},
      {"localhost", true},
      {"localhost:8080", true},
      {"LocalHost:1", true},
      {"a.localhost", true},
      {"a.b.localhost:9", true},
      {".localhost", false}, /* the gate refuses it too */
      {"localhost.evil.example", false},
      {"xlocalhost", false},
      {"127.0.0.1", true},
      {"127.0.0.1:9999", true},
      {"127.0.0.2", false},
      {"[::1]", true},
      {"[::1]:8080", true},
      {"[::2]", false},
      {"10.1.2.3", true},
      {"10.1.2.3:80", true},
      {"10.1.2.4", false},
      {"[10.1.2.3]", false},
      {"evil.example", false},
      {"", false},
      {NULL, false},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
    if (site_host_known(text(cases[i].host), names, 1, "10.1.2.3") != cases[i].known)
      fail_msg("%s", cases[i].host);
  assert_true(site_host_known(text("[fd00::5]:80"), names, 1, "fd00::5"));
  assert_true(site_host_known(text("[FD00::5]"), names, 1, "fd00::5"));
  assert_false(site_host_known(text("fd00::5"), names, 1, "fd00::5"));
}

/* DESIGN's sentence, word for word. */
static bool expected(const char *site, const char *mode, const char *dest, const char *origin, bool get)
{
  bool cross;
  if (site != NULL)
    cross = strcmp(site, "same-origin") != 0 && strcmp(site, "none") != 0;
  else
    return origin != NULL && strcmp(origin, "http://localhost:8080") != 0 &&
           strcmp(origin, "https://localhost:8080") != 0 && strcmp(origin, "http://LOCALHOST:8080") != 0;
  bool top_level =
      get && mode != NULL && strcmp(mode, "navigate") == 0 && dest != NULL && strcmp(dest, "document") == 0;
  return cross && !top_level;
}

static void every_combination_of_fetch_headers_is_decided_as_designed(void **state)
{
  (void)state;
  static const char *const sites[] = {NULL, "same-origin", "none",        "same-site", "cross-site",
                                      "",   "Cross-Site",  "same-origin "};
  static const char *const modes[] = {NULL, "navigate", "cors", "no-cors", "same-origin", "websocket"};
  static const char *const dests[] = {NULL,    "document", "iframe", "frame",
                                      "embed", "image",    "script", "empty"};
  static const char *const origins[] = {NULL,
                                        "http://localhost:8080",
                                        "https://localhost:8080",
                                        "http://LOCALHOST:8080",
                                        "http://localhost:8081",
                                        "http://localhost",
                                        "null",
                                        "http://evil.example",
                                        "http://localhost:8080.evil.example",
                                        "ftp://localhost:8080",
                                        "localhost:8080",
                                        ""};
  for (size_t s = 0; s < 8; s++)
    for (size_t m = 0; m < 6; m++)
      for (size_t d = 0; d < 8; d++)
        for (size_t o = 0; o < 12; o++)
          for (int get = 0; get < 2; get++) {
            site_headers_t headers = {.get = get != 0,
                                      .host = text("localhost:8080"),
                                      .origin = text(origins[o]),
                                      .fetch_site = text(sites[s]),
                                      .fetch_mode = text(modes[m]),
                                      .fetch_dest = text(dests[d])};
            if (site_is_foreign(&headers) != expected(sites[s], modes[m], dests[d], origins[o], get != 0))
              fail_msg("site %s mode %s dest %s origin %s get %d", sites[s], modes[m], dests[d], origins[o],
                       get);
          }
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(only_known_hosts_are_answered),
      cmocka_unit_test(every_combination_of_fetch_headers_is_decided_as_designed),
  };
  return cmocka_run_group_tests_name("front site", tests, NULL, NULL);
}
