#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Discharges the contracts of the functions in `targets` with Frama-C's WP and RTE, then shows that each of
# `mutants` makes a proof fail. Usage: run.sh WORK-FOLDER, from the top of the tree. Exit status 0 if all
# holds.
set -u
work=$1
mkdir -p "$work"
export WHY3CONFIG=$work/why3.conf
# Why3 of this age does not know cvc5, which reads what it writes for cvc4 once the logic is named anew.
cat >"$WHY3CONFIG" <<C
[main]
magic = 14
memlimit = 2000
running_provers_max = 2
timelimit = 20

[partial_prover]
name = "Z3"
path = "$(command -v z3)"
version = "$(z3 --version | grep -oE '[0-9]+\.[0-9]+\.[0-9]+')"

[prover]
command = "cvc5 --force-logic=ALL --tlimit-per=%t000 --lang=smt2 %f"
driver = "cvc4_17"
name = "CVC5"
version = "$(cvc5 --version | grep -oE '[0-9]+\.[0-9]+\.[0-9]+' | head -n 1)"
C

prove() { # prove FILE FUNCTIONS SECONDS: prints "Proved goals: N / M"
  frama-c -no-autoload-plugins -load-module wp,rtegen -cpp-extra-args="-I. -D_GNU_SOURCE" -wp -wp-rte \
    -wp-prover CVC5,z3 \
    -wp-timeout "$3" -wp-fct "$2" "$1" 2>&1 | tee "$work/last.log" | grep -oE 'Proved goals: +[0-9]+ / [0-9]+'
}

failed=0 proved=0 caught=0
while read -r file functions; do
  case $file in '' | '#'*) continue ;; esac
  goals=$(prove "$file" "$functions" 60)
  read -r _ _ done_ _ all <<<"$goals"
  if [ -n "${all:-}" ] && [ "$all" -gt 0 ] && [ "$done_" = "$all" ]; then
    printf 'proved  %s: %s goals (%s)\n' "$file" "$all" "$functions"
    proved=$((proved + 1))
  else
    cp "$work/last.log" "$work/failed-$(basename "$file").log"
    printf 'FAILED  %s: %s\n        %s\n' "$file" "${goals:-no goals}" "$work/failed-$(basename "$file").log"
    failed=$((failed + 1))
  fi
done <tests/prove/targets

while read -r file function change; do
  case $file in '' | '#'*) continue ;; esac
  mutant=$work/mutant/$file
  mkdir -p "$(dirname "$mutant")"
  sed "$change" "$file" >"$mutant"
  if cmp -s "$file" "$mutant"; then
    printf 'FAILED  %s: the change %s finds nothing to change\n' "$file" "$change"
    failed=$((failed + 1))
    continue
  fi
  goals=$(prove "$mutant" "$function" 5)
  read -r _ _ done_ _ all <<<"$goals"
  if [ -n "${all:-}" ] && [ "$all" -gt 0 ] && [ "$done_" -lt "$all" ]; then
    printf 'caught  %s: %s\n' "$file" "$change"
    caught=$((caught + 1))
  else
    printf 'FAILED  %s: still proved after %s (%s)\n' "$file" "$change" "${goals:-no goals}"
    failed=$((failed + 1))
  fi
done <tests/prove/mutants
printf '%d passed, %d failed\n' $((proved + caught)) "$failed"
[ "$failed" = 0 ]
