#include "common/prom_text.h"

#include <inttypes.h>

void prom_head(FILE *f, const char *name, const char *type, const char *help)
{
  fprintf(f, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

void prom_number(FILE *f, const char *name, const char *type, const char *help, double value)
{
  prom_head(f, name, type, help);
  fprintf(f, "%s %.15g\n", name, value);
}

void prom_count(FILE *f, const char *name, const char *type, const char *help, uint64_t value)
{
  prom_head(f, name, type, help);
  fprintf(f, "%s %" PRIu64 "\n", name, value);
}

void prom_label(FILE *f, const char *value)
{
  fputc('"', f);
  for (; *value != '\0'; value++) {
    if (*value == '\\' || *value == '"')
      fputc('\\', f);
    if (*value == '\n')
      fputs("\\n", f);
    else
      fputc(*value, f);
  }
  fputc('"', f);
}
