# SPDX-License-Identifier: Apache-2.0
# Cuts a file of SQL into constants for the C file beside it: usage: awk -f cut.awk FILE.sql > FILE.sql.h
#
#   -- @fragment NAME   text that others of the file hold as {NAME}
#   -- @statement NAME  static const char sql_NAME[]
#   -- @list NAME       static const char *const sql_NAME[][2]: for each @by one text for either direction,
#                       which stands where the text says {order}
#   -- @by UP | DOWN
#   -- @migration       the next entry of static const char *const sql_migrations[], which ends with NULL
#
# Other comments, and what stands before the first of these, are left out.

function fail(why)
{
  printf "%s:%d: %s\n", FILENAME, FNR, why > "/dev/stderr"
  failed = 1
  exit 1
}

function filled(text,    name, out)
{
  out = ""
  while (match(text, /\{[a-z_0-9]+\}/)) {
    name = substr(text, RSTART + 1, RLENGTH - 2)
    if (!(name in fragments))
      fail("no fragment " name)
    out = out substr(text, 1, RSTART - 1)
    text = fragments[name] substr(text, RSTART + RLENGTH)
  }
  return out text
}

function literal(text)
{
  gsub(/\\/, "\\\\", text)
  gsub(/"/, "\\\"", text)
  return "\"" text "\""
}

function in_order(text, order)
{
  gsub(/\{order\}/, order, text)
  return literal(filled(text))
}

function emit(    i, part)
{
  if (kind == "")
    return
  if (text == "")
    fail(kind " " name " is empty")
  if (kind == "fragment")
    fragments[name] = filled(text)
  else if (kind == "statement")
    printf "static const char sql_%s[] =\n    %s;\n", name, literal(filled(text))
  else if (kind == "migration")
    migrations = migrations "    " literal(filled(text)) ",\n"
  else {
    if (orders == 0)
      fail("list " name " has no order")
    printf "static const char *const sql_%s[][2] = {\n", name
    for (i = 1; i <= orders; i++) {
      if (split(by[i], part, / *\| */) != 2)
        fail("expected UP | DOWN: " by[i])
      printf "    {%s,\n     %s},\n", in_order(text, part[1]), in_order(text, part[2])
    }
    printf "};\n"
  }
  kind = ""
}

BEGIN {
  print "/* Made by app/store/sqlite/cut.awk. */"
  print "#pragma once"
}

/^-- @by / {
  by[++orders] = substr($0, 8)
  next
}

/^-- @/ {
  emit()
  kind = substr($2, 2)
  name = $3
  text = ""
  orders = 0
  if (kind !~ /^(fragment|statement|list|migration)$/ || (kind != "migration" && name !~ /^[a-z][a-z_0-9]*$/))
    fail("unknown heading")
  next
}

/^ *--/ || /^ *$/ {
  next
}

{
  sub(/^ +/, "")
  sub(/ +$/, "")
  text = text (text == "" ? "" : " ") $0
}

END {
  if (failed)
    exit 1
  emit()
  if (migrations != "")
    printf "static const char *const sql_migrations[] = {\n%s    NULL,\n};\n", migrations
}
