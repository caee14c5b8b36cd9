#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Measures smpl-bastion and smpl-tunnel beside OpenSSH and dropbear: one machine, one run, interleaved,
# medians; prints the two tables of their READMEs.
# usage: tests/bench/tunnel.sh [SECONDS=1] [RUNS=3] [SESSIONS=200] [PART...]
#   parts: bulk requests first stalled sessions memory (default: all).
# The tables in the READMEs are of: 3 5 1000.
# Nothing is pinned: load, client, server and target share the processors, as they do for their users. CPU is
# user and system time of the server's processes (of the client's where it says so). GB = 10^9 bytes. Up is
# from the client to the server.
set -eu
cd "$(dirname "$0")/../.."
seconds=${1:-1} runs=${2:-3} sessions=${3:-200}
shift $(($# < 3 ? $# : 3))
parts=${*:-bulk requests first stalled sessions memory}
bin=$PWD/build/release/bin tools=$PWD/build/bench
PATH=$PATH:/usr/sbin:/sbin
mkdir -p "$tools"
[ -x "$bin/smpl-bastion" ] || {
  echo "tunnel.sh: $bin/smpl-bastion is not built; try: ./dev build" >&2
  exit 1
}
blast=$tools/tunnelblast
[ "$blast" -nt tests/bench/tunnelblast.c ] ||
  cc -std=gnu17 -O2 -D_GNU_SOURCE -o "$blast" tests/bench/tunnelblast.c
T=$(mktemp -d /tmp/smpl-bench.XXXXXX)
chmod 755 "$T"
M=$(mktemp -d /dev/shm/smpl-bench.XXXXXX) # a disk that syncs at once
pids=()
ulimit -n "$(ulimit -Hn)"
me=$(id -un)
# What the clients find of a user; here and not by env(1) before them, whose own start would count as theirs.
unset SMPL_BASTION SSH_AUTH_SOCK
export HOME=$T/home SMPL_TUNNEL_CONFIG= XDG_CONFIG_HOME=$T/home XDG_CACHE_HOME=$T/home
mkdir -p "$T/home/.ssh"
chmod 700 "$T/home" "$T/home/.ssh"

# --- processes ---

tree() { # the pids given and all below them, from one pass over /proc
  cat /proc/[0-9]*/stat 2>/dev/null | awk -v roots="$*" '
    BEGIN { n = split(roots, r, " "); for (i = 1; i <= n; i++) want[r[i]] = 1 }
    { p = $1; sub(/^[0-9]+ \(.*\) /, ""); split($0, a, " "); parent[p] = a[2]; all[++m] = p }
    END {
      do { more = 0
        for (i = 1; i <= m; i++)
          if (!(all[i] in want) && parent[all[i]] in want) { want[all[i]] = 1; more = 1 }
      } while (more)
      for (i = 1; i <= m; i++) if (all[i] in want) printf "%s ", all[i] }'
}
cpu_ms() { # user and system time: to the nanosecond of what lives, in clock ticks of children that have ended
  local p l files=() ticks=0
  for p in $(tree "$@"); do
    files+=(/proc/"$p"/task/*/schedstat)
    l=$(cat "/proc/$p/stat" 2>/dev/null) || continue
    l=${l##*) }
    set -- $l
    ticks=$((ticks + ${14} + ${15}))
  done
  cat "${files[@]}" 2>/dev/null | awk -v t=$ticks '{ns += $1} END {printf "%.0f", ns / 1e6 + t * 10}'
}
pss_kb() {
  local p files=()
  for p in $(tree "$@"); do files+=("/proc/$p/smaps_rollup"); done
  cat "${files[@]}" 2>/dev/null | awk '/^Pss:/ {s += $2} END {print s + 0}'
}
start() {
  "$@" </dev/null >"$T/log.$((${#pids[@]} + 1))" 2>&1 &
  pid=$!
  pids+=($!)
}
living() { # of the pids given, those that run and are no zombies
  local p files=()
  for p in "$@"; do files+=("/proc/$p/stat"); done
  cat "${files[@]}" 2>/dev/null | sed -n 's/^\([0-9]*\) (.*) [^ZX] .*/\1/p'
}
stop() { # PID...: with all below them
  local all left=
  all=$(tree "$@")
  kill $all 2>/dev/null || true
  for _ in $(seq 100); do
    left=$(living $all)
    [ -n "$left" ] || break
    sleep 0.05
  done
  [ -z "$left" ] || kill -9 $left 2>/dev/null || true
  wait "$@" 2>/dev/null || true
}
cleanup() {
  trap - EXIT
  [ ${#pids[@]} = 0 ] || stop "${pids[@]}"
  rm -rf "$T" "$M"
}
trap cleanup EXIT
trap 'exit 130' INT TERM
wait_port() {
  for _ in $(seq 400); do
    (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null && return 0
    sleep 0.025
  done
  echo "tunnel.sh: port $1 never opened" >&2
  cat "$T"/log.* >&2
  exit 1
}

# --- servers ---

target=21700 sshd_port=21701 dropbear_port=21702 bastion_port=21703 unsynced_port=21704
declare -A server
ssh-keygen -q -t ed25519 -N '' -f "$T/host"
ssh-keygen -q -t ed25519 -N '' -f "$T/id"
printf '[127.0.0.1]:%s %s\n' $bastion_port "$(cut -d' ' -f1,2 "$T/host.pub")" >"$T/known_hosts"
start "$blast" serve $target
wait_port $target

start_sshd() {
  [ "$(id -u)" != 0 ] || mkdir -p /run/sshd
  cat >"$T/sshd" <<C
ListenAddress 127.0.0.1:$sshd_port
HostKey $T/host
AuthorizedKeysFile $T/id.pub
PidFile none
StrictModes no
UsePAM no
PermitRootLogin yes
MaxStartups 3000
UseDNS no
LogLevel ERROR
C
  start "$(command -v sshd)" -D -e -f "$T/sshd"
  server[sshd]=$pid
  wait_port $sshd_port
}
start_bastion() { # NAME PORT AUDIT-FOLDER
  mkdir -m 700 -p "$3/$1"
  cp "$T/host" "$T/id.pub" "$3/$1"
  cat >"$3/$1/bastion.yaml" <<C
listen: ["127.0.0.1:$2"]
host_keys: [host]
resolver: {servers: ["127.0.0.1:9"]}
users:
  - {name: dev, keys: id.pub}
grants:
  - {users: [dev], targets: ["127.0.0.1:$target"], networks: [127.0.0.0/8]}
limits: {startups: "1000:30:1000", startups_per_source: 1000, connections: 4096, sessions_per_user: 4096,
  channels: 1024,
  connection_rate: {connections: 0}}
audit: audit.jsonl
control: control.sock
C
  (cd "$3/$1" && exec "$bin/smpl-bastion" -c bastion.yaml) </dev/null >"$T/log.$1" 2>&1 &
  pid=$!
  pids+=($!)
  server[$1]=$pid
  wait_port "$2"
}
start_dropbear() { # its keys are looked for at the user's home: root gets another for it alone
  dropbearkey -t ed25519 -f "$T/db_host" >/dev/null 2>&1
  dropbearkey -t ed25519 -f "$T/db_id" 2>/dev/null | grep ^ssh-ed25519 >"$T/home/.ssh/authorized_keys"
  chmod 600 "$T/home/.ssh/authorized_keys"
  local command="dropbear -F -E -s -p 127.0.0.1:$dropbear_port -r $T/db_host -P ''"
  start unshare -m bash -c "mount --bind $T/home /root && exec $command"
  server[dropbear]=$pid
  wait_port $dropbear_port
}

# --- clients: each prints a command line; -L or its like is put behind it ---

ssh_options="-F none -i $T/id -o IdentitiesOnly=yes -o IdentityAgent=none -o StrictHostKeyChecking=no"
ssh_options+=" -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR -o BatchMode=yes"
gcm="-c aes128-gcm@openssh.com" curve="-o KexAlgorithms=curve25519-sha256"
client() { # VARIANT PORT: forwards PORT to the target
  local L="-L 127.0.0.1:$2:127.0.0.1:$target" N="-N -o ExitOnForwardFailure=yes"
  case $1 in
  ssh-sshd) echo "ssh $ssh_options $N $L -p $sshd_port $me@127.0.0.1" ;;
  ssh-sshd-curve) echo "ssh $ssh_options $N $gcm $curve $L -p $sshd_port $me@127.0.0.1" ;;
  ssh-sshd-gcm) echo "ssh $ssh_options $N $gcm $L -p $sshd_port $me@127.0.0.1" ;;
  ssh-bastion-gcm) echo "ssh $ssh_options $N $gcm $L -p $bastion_port dev@127.0.0.1" ;;
  dbclient-dropbear) echo "dbclient -N -y -y -i $T/db_id $L -p $dropbear_port $me@127.0.0.1" ;;
  tunnel-bastion)
    echo "$bin/smpl-tunnel -q -i $T/id --known-hosts $T/known_hosts --bastion dev@127.0.0.1:$bastion_port" \
      "127.0.0.1:$2:127.0.0.1:$target"
    ;;
  esac
}
server_of() { case $1 in *bastion*) echo bastion ;; *dropbear) echo dropbear ;; *) echo sshd ;; esac }

variants="ssh-sshd ssh-sshd-gcm ssh-bastion-gcm tunnel-bastion"
start_sshd
start_bastion bastion $bastion_port "$T"
if ! command -v dropbear >/dev/null; then
  echo "# SKIP dropbear: not installed"
elif [ "$(id -u)" != 0 ]; then
  echo "# SKIP dropbear: needs root"
else
  start_dropbear
  variants+=" dbclient-dropbear"
fi

declare -A port running
next_port=21710
open_forwards() {
  local v
  for v in $variants; do
    [ -z "${running[$v]:-}" ] || continue
    port[$v]=$((next_port++))
    start $(client "$v" "${port[$v]}")
    running[$v]=$pid
    wait_port "${port[$v]}"
  done
  sleep 0.3
}

# --- measuring ---

result() { printf '%s\n' "$3" >>"$T/$1.$2"; } # VARIANT WHAT VALUE
median() {
  [ -s "$T/$1.$2" ] || {
    echo -
    return
  }
  sort -g "$T/$1.$2" | awk '{a[NR] = $1} END {print a[int((NR + 1) / 2)]}'
}
div() {
  awk -v a="$1" -v b="$2" -v f="${3:-%.2f}" 'BEGIN {
    if (a == "-" || b == "-" || b + 0 == 0) print "-"; else printf f, a / b }'
}

measure_bulk() {
  local direction n v a b c d rate bytes
  for _ in $(seq "$runs"); do
    for n in 1 4; do
      for direction in up down; do
        for v in $variants; do
          a=$(cpu_ms "${server[$(server_of "$v")]}") c=$(cpu_ms "${running[$v]}")
          read -r rate bytes < <("$blast" bulk "${port[$v]}" $direction $n "$seconds")
          sleep 0.2
          b=$(cpu_ms "${server[$(server_of "$v")]}") d=$(cpu_ms "${running[$v]}")
          result "$v" "bulk.$direction.$n" "$rate"
          result "$v" "bulk.$direction.$n.cpu" "$(div $(((b - a) * 1000000)) "$bytes")"
          result "$v" "bulk.$direction.$n.client" "$(div $(((d - c) * 1000000)) "$bytes")"
        done
      done
    done
  done
}

measure_requests() {
  local kind n v a b c d rate p50 p99 count errors
  for _ in $(seq "$runs"); do
    for kind in keep1 keep32 new32 end32; do
      n=${kind##*[a-z]}
      for v in $variants; do
        a=$(cpu_ms "${server[$(server_of "$v")]}") c=$(cpu_ms "${running[$v]}")
        read -r rate p50 p99 count errors < \
          <("$blast" requests "${port[$v]}" "$n" "$seconds" "${kind%%[0-9]*}")
        sleep 0.2
        b=$(cpu_ms "${server[$(server_of "$v")]}") d=$(cpu_ms "${running[$v]}")
        [ "$errors" = 0 ] || echo "# $v $kind: $errors errors"
        result "$v" "$kind" "$rate"
        result "$v" "$kind.p99" "$(div "$p99" 1000)"
        result "$v" "$kind.cpu" "$(div $(((b - a) * 1000)) "$count" %.1f)"
        result "$v" "$kind.client" "$(div $(((d - c) * 1000)) "$count" %.1f)"
      done
    done
  done
}

measure_first() { # client processes of their own
  local v ms cpu
  for _ in $(seq "$runs"); do
    for v in ssh-sshd-curve $variants; do
      read -r ms cpu < <("$blast" first 21790 5 $(client "$v" 21790))
      result "$v" first "$ms"
      result "$v" first.client "$cpu"
    done
  done
}

measure_stalled() { # 64 connections, one of them stalled, beside the 63 alone
  local v rate bytes
  for _ in $(seq "$runs"); do
    for v in ssh-sshd-gcm ssh-bastion-gcm tunnel-bastion; do
      read -r rate bytes < <("$blast" bulk "${port[$v]}" down 63 "$seconds")
      result "$v" stalled.none "$rate"
      sleep 0.3
      read -r rate bytes < <("$blast" bulk "${port[$v]}" down 64 "$seconds" 1)
      result "$v" stalled.one "$rate"
      sleep 0.3
    done
  done
}

# Sessions that are opened 8 at a time by stock ssh, which says by going to the background that it is in; then
# what they hold.
measure_sessions_of() { # NAME PORT USER
  local before after began ended a b p
  p=${server[$1]}
  before=$(pss_kb "$p")
  a=$(cpu_ms "$p")
  began=$(date +%s%N)
  seq "$sessions" | xargs -P 8 -I {} ssh $ssh_options $gcm $curve -f -N -p "$2" "$3@127.0.0.1" \
    >"$T/opening" 2>&1 ||
    {
      echo "# $1: not all sessions opened"
      tail -n 1 "$T/opening"
    }
  ended=$(date +%s%N)
  b=$(cpu_ms "$p")
  sleep 1
  after=$(pss_kb "$p")
  result "$1" sessions \
    "$(awk -v n="$sessions" -v t=$((ended - began)) 'BEGIN {printf "%.1f", n / (t / 1e9)}')"
  result "$1" sessions.cpu "$(div $((b - a)) "$sessions" %.1f)"
  result "$1" sessions.pss "$(div $((after - before)) "$sessions" %.0f)"
  result "$1" sessions.total "$(div "$after" "$sessions" %.0f)"
}
measure_sessions() {
  local v
  for v in "${running[@]}"; do stop "$v"; done
  running=()
  for _ in $(seq $(((runs + 2) / 3))); do
    measure_sessions_of sshd $sshd_port "$me"
    stop "${server[sshd]}"
    start_sshd
    measure_sessions_of bastion $bastion_port dev
    stop "${server[bastion]}"
    start_bastion bastion $bastion_port "$T"
    start_bastion unsynced $unsynced_port "$M"
    measure_sessions_of unsynced $unsynced_port dev
    stop "${server[unsynced]}"
    sleep 1
  done
}

measure_memory() { # of clients of their own: idle, then with 1,000 connections that have had an answer
  local v held p
  for v in $variants; do
    start $(client "$v" 21791)
    p=$pid
    wait_port 21791
    sleep 0.5
    result "$v" memory.idle "$(div "$(pss_kb "$p")" 1024 %.1f)"
    rm -f "$T/go"
    mkfifo "$T/go"
    "$blast" hold 21791 1000 <"$T/go" >"$T/held" &
    exec 4>"$T/go"
    for _ in $(seq 400); do
      [ -s "$T/held" ] && break
      sleep 0.05
    done
    held=$(cat "$T/held")
    [ "$held" = 1000 ] || echo "# $v holds ${held:-none} of 1,000 connections"
    result "$v" memory.held "$(div "$(pss_kb "$p")" 1024 %.1f)"
    exec 4>&-
    stop "$p"
    sleep 0.5
  done
}

for part in $parts; do
  case $part in
  bulk | requests | stalled)
    open_forwards
    measure_$part
    ;;
  first | sessions | memory) measure_$part ;;
  *)
    echo "tunnel.sh: unknown part '$part'; parts: bulk requests first stalled sessions memory" >&2
    exit 2
    ;;
  esac
done

# --- the tables ---

m() { median "$@"; }
verdict() { # VALUE at-least|at-most GOAL
  awk -v v="$1" -v how="$2" -v g="$3" 'BEGIN {
    if (v == "-") print "-"; else print (how == "at-least" ? v >= g : v <= g) ? "met" : "missed" }'
}
ratio_row() { # TEXT OURS THEIRS at-least|at-most GOAL
  local r
  [ "$2" != - ] || return 0
  r=$(div "$2" "$3")
  echo "| $1 | $3 | $2 | $r | $4 $5 | $(verdict "$r" "$4" "$5") |"
}
server_row() { # TEXT WHAT at-least|at-most GOAL: what stock ssh gets of either server
  ratio_row "$1" "$(m ssh-bastion-gcm "$2")" "$(m ssh-sshd-gcm "$2")" "$3" "$4"
}
better() { # of two, the bigger
  awk -v a="$1" -v b="$2" 'BEGIN {
    if (a == "-") print b; else if (b == "-") print a; else if (a + 0 > b + 0) print a; else print b }'
}
cpu_row() { # TEXT THEIRS OURS
  [ "$2" = - ] || echo "| $1 | $2 | $3 | $(div "$3" "$2") | | |"
}
peers() { # TEXT WHAT OURS: the row's beginning, up to the goal
  echo "| $1 | $(m ssh-sshd "$2") | $(m ssh-sshd-gcm "$2") | $(m dbclient-dropbear "$2") | $3 |"
}
absolute_row() { # TEXT WHAT HOW GOAL
  local o
  o=$(m tunnel-bastion "$2")
  [ "$o" != - ] || return 0
  echo "$(peers "$1" "$2" "$o") $3 $4 | $(verdict "$o" "$3" "$4") |"
}
relative_row() { # TEXT WHAT GOAL: of the better of both peers
  local o r
  o=$(m tunnel-bastion "$2")
  [ "$o" != - ] || return 0
  r=$(better "$(m ssh-sshd "$2")" "$(m ssh-sshd-gcm "$2")")
  r=$(div "$o" "$(better "$r" "$(m dbclient-dropbear "$2")")")
  echo "$(peers "$1" "$2" "$o") at-least $3 of the best: $r | $(verdict "$r" at-least "$3") |"
}

processor=$(awk -F': ' '/^model name/ {print $2; exit}' /proc/cpuinfo)
echo "# $(date -u +%F), $(nproc) x $processor, Linux $(uname -r), $(ssh -V 2>&1 | cut -d, -f1)," \
  "$(dropbear -V 2>&1 | head -n 1)"
echo "# $runs runs of $seconds s, interleaved, medians; $sessions sessions"
echo
echo "| stock \`ssh -L\`, aes128-gcm | sshd | smpl-bastion | ratio | goal | |"
echo "|---|---|---|---|---|---|"
for n in 1 4; do
  for d in down up; do
    w="$n stream$([ $n = 1 ] || echo s) $d"
    server_row "$w, Mbit/s" bulk.$d.$n at-least 0.95
    server_row "$w, server CPU s/GB" bulk.$d.$n.cpu at-most 1.1
  done
done
server_row "small requests/s on 32 connections" keep32 at-least 1.1
cpu_row "server CPU us a request" "$(m ssh-sshd-gcm keep32.cpu)" "$(m ssh-bastion-gcm keep32.cpu)"
server_row "a new connection a request, requests/s" new32 at-least 1.2
server_row "the same, each read to its end" end32 at-least 1.2
cpu_row "server CPU us a request" "$(m ssh-sshd-gcm new32.cpu)" "$(m ssh-bastion-gcm new32.cpu)"
if [ "$(m bastion sessions)" != - ]; then
  o=$(m bastion sessions.total)
  r=$(div "$o" "$(m sshd sessions.total)")
  echo "| an idle session, Pss in KB, all told | $(m sshd sessions.total) | $o | $r | at-most 450 KB |" \
    "$(verdict "$o" at-most 450) |"
  ratio_row "sessions opened a second, 8 at a time, audit synced" \
    "$(m bastion sessions)" "$(m sshd sessions)" at-least 2
  r=$(div "$(m unsynced sessions)" "$(m sshd sessions)")
  echo "| the same, audit on a disk of memory | | $(m unsynced sessions) | $r | | |"
  cpu_row "server CPU ms a session" "$(m sshd sessions.cpu)" "$(m bastion sessions.cpu)"
fi
if [ "$(m ssh-bastion-gcm stalled.one)" != - ]; then
  s=$(div "$(m ssh-sshd-gcm stalled.one)" "$(m ssh-sshd-gcm stalled.none)")
  o=$(div "$(m ssh-bastion-gcm stalled.one)" "$(m ssh-bastion-gcm stalled.none)")
  echo "| 63 channels down beside a stalled one: what is left of their rate | $s | $o | | at-least 0.95 |" \
    "$(verdict "$o" at-least 0.95) |"
fi
echo
printf '| %s ' 'client with server' 'ssh, sshd: default' aes128-gcm 'dbclient, dropbear' \
  'smpl-tunnel, smpl-bastion' goal
echo '| |'
echo "|---|---|---|---|---|---|---|"
absolute_row "p99 of small requests, one connection, ms" keep1.p99 at-most 0.6
absolute_row "p99 on 32 connections, ms" keep32.p99 at-most 2.5
relative_row "requests/s on 32 connections" keep32 1.1
relative_row "a new connection a request, requests/s" new32 1.2
relative_row "the same, each read to its end" end32 1.2
if [ "$(m tunnel-bastion first)" != - ]; then
  o=$(m tunnel-bastion first)
  echo "| start to first byte, ms (the second with curve25519) | $(m ssh-sshd first) |" \
    "$(m ssh-sshd-curve first) | $(m dbclient-dropbear first) | $o | at-most 12 |" \
    "$(verdict "$o" at-most 12) |"
fi
for n in 1 4; do
  for d in up down; do
    o=$(m tunnel-bastion bulk.$d.$n)
    [ "$o" != - ] || continue
    a=$(div "$o" "$(m ssh-sshd bulk.$d.$n)") b=$(div "$o" "$(m ssh-sshd-gcm bulk.$d.$n)")
    v=met
    [ "$(verdict "$a" at-least 1.4)" = met ] && [ "$(verdict "$b" at-least 0.8)" = met ] || v=missed
    echo "$(peers "$n stream$([ $n = 1 ] || echo s) $d, Mbit/s" bulk.$d.$n "$o")" \
      "at-least 1.4 of the default: $a; 0.8 of aes128-gcm: $b | $v |"
    for p in ssh-sshd ssh-sshd-gcm dbclient-dropbear tunnel-bastion; do
      printf '%s + %s | ' "$(m $p bulk.$d.$n.client)" "$(m $p bulk.$d.$n.cpu)"
    done | sed 's/^/| CPU s\/GB, client + server | /; s/$/| |\n/'
  done
done
absolute_row "idle client, Pss in MB" memory.idle at-most 4
absolute_row "client with 1,000 open connections, Pss in MB" memory.held at-most 64
if [ "$(m tunnel-bastion stalled.one)" != - ]; then
  s=$(div "$(m ssh-sshd-gcm stalled.one)" "$(m ssh-sshd-gcm stalled.none)")
  o=$(div "$(m tunnel-bastion stalled.one)" "$(m tunnel-bastion stalled.none)")
  echo "| 63 channels down beside a stalled one: what is left of their rate | | $s | | $o | | |"
fi
