#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Measures smpl-resolver against Debian's knot and nsd, and against an echo: server on CPU 0, generator on CPU
# 1, runs interleaved, medians.
# Then 2 views against 10,000, asked from so many networks, and whether refusals take the same time for every
# name. usage: tests/bench/dns.sh [NAMES=100000] [SECONDS=3] [RUNS=3]
# Columns: queries a second and server CPU in us a query over UDP with 192 under way, over TCP with 4
# connections of 50, and one at a time; time from start to the first answer; memory (Pss).
set -eu
cd "$(dirname "$0")/../.."
names=${1:-100000} seconds=${2:-3} runs=${3:-3}
bin=build/release/bin tools=build/bench
mkdir -p $tools
T=$(mktemp -d /tmp/smpl-bench.XXXXXX)
chmod 755 "$T"
pids=()
cleanup() {
  [ ${#pids[@]} = 0 ] || kill "${pids[@]}" 2>/dev/null || true
  wait 2>/dev/null || true
  rm -rf "$T"
}
trap cleanup EXIT
trap 'exit 130' INT TERM
for c in dnsblast dnsecho dnstiming; do
  [ $tools/$c -nt tests/bench/$c.c ] || cc -O2 -D_GNU_SOURCE -o $tools/$c tests/bench/$c.c -lm
done
[ -x $bin/smpl-resolver ] || {
  echo "dns.sh: $bin/smpl-resolver is not built; try: ./dev build" >&2
  exit 1
}
PATH=$PATH:/usr/sbin:/sbin

zone=internal.smplkit.local
awk -v n="$names" -v z=$zone 'BEGIN { print "$ORIGIN " z ".\n$TTL 300\n@ SOA ns admin 1 3600 600 86400 300"
  print "@ NS ns\nns A 127.0.0.1\n*.wild A 10.9.9.9"
  for (i = 0; i < n; i++) { printf "svc%07d A 10.%d.%d.%d\n", i, i / 65536 % 256, i / 256 % 256, i % 256
    if (i % 10 == 0) printf "_http._tcp.svc%07d SRV 0 0 8080 svc%07d\n", i, i } }' >"$T/zone"
awk -v n="$names" -v z=$zone 'BEGIN { srand(7)
  for (k = 0; k < 200000; k++) { u = rand(); i = int(rand() * n)
    if (u < .10) printf "nx%07d.%s A\n", i, z; else if (u < .15) printf "h%07d.wild.%s A\n", i, z
    else if (u < .235) printf "_http._tcp.svc%07d.%s SRV\n", i - i % 10, z
    else printf "svc%07d.%s A\n", i, z } }' >"$T/queries"
printf 'svc%07d.%s A\n' $((names - 1)) $zone >"$T/last"

descendants() { # the pid and all below it
  local p
  echo "$1"
  for p in $(cat /proc/"$1"/task/*/children 2>/dev/null); do descendants "$p"; done
}
cpu_ms() { # user and system time of a server, its processes together
  local s=0 p l
  for p in $(descendants "$1"); do
    l=$(cat /proc/"$p"/stat) || continue
    l=${l##*) }
    set -- $l
    s=$((s + (${12} + ${13}) * 10))
  done
  echo $s
}
pss_mb() {
  local s=0 p k
  for p in $(descendants "$1"); do
    k=$(awk '/^Pss:/ {print $2; exit}' /proc/"$p"/smaps_rollup)
    s=$((s + ${k:-0}))
  done
  awk "BEGIN {printf \"%.1f\", $s / 1024}"
}
median() { sort -g | awk '{a[NR] = $1} END {print NR ? a[int((NR + 1) / 2)] : "-"}'; }

port_of() {
  case $1 in echo) echo 21801 ;; knot) echo 21802 ;; nsd) echo 21803 ;; smpl-resolver) echo 21804 ;; esac
}
configure() { # NAME: writes its configuration, prints its command line
  local d=$T/$1 p
  p=$(port_of "$1")
  mkdir -p "$d"
  if [ "$1" != smpl-resolver ]; then chmod 777 "$d"; fi
  case $1 in
  echo) echo "$tools/dnsecho $p" ;;
  knot)
    cat >"$d/conf" <<E
server:
  rundir: "$d"
  listen: 127.0.0.1@$p
  udp-workers: 1
  tcp-workers: 1
  background-workers: 1
  tcp-max-clients: 1000
  tcp-reuseport: off
database:
  storage: "$d"
log:
  - target: stderr
    any: warning
zone:
  - domain: $zone
    file: "$T/zone"
    journal-content: none
    zonefile-sync: -1
    zonefile-load: whole
    semantic-checks: off
E
    echo "knotd -c $d/conf"
    ;;
  nsd)
    cat >"$d/conf" <<E
server:
  server-count: 1
  ip-address: 127.0.0.1@$p
  reuseport: yes
  username: ""
  zonesdir: "$d"
  pidfile: "$d/pid"
  xfrdfile: "$d/xfrd"
  xfrdir: "$d"
  zonelistfile: "$d/list"
  database: ""
  rrl-ratelimit: 0
  rrl-whitelist-ratelimit: 0
  minimal-responses: yes
  tcp-count: 500
  tcp-query-count: 0
  verbosity: 0
remote-control:
  control-enable: no
zone:
  name: $zone
  zonefile: "$T/zone"
E
    echo "nsd -d -c $d/conf"
    ;;
  smpl-resolver)
    cat >"$d/conf" <<E
listeners:
  - {address: 127.0.0.1, port: $p, views: [all]}
views:
  - {name: all, clients: ["0.0.0.0/0", "::/0"], zones: [$zone]}
zones:
  - {name: $zone, file: $T/zone}
control: $d/sock
workers: 1
E
    echo "$bin/smpl-resolver -c $d/conf"
    ;;
  esac
}

servers=(echo)
for s in knot nsd; do
  case $s in knot) b=knotd ;; *) b=$s ;; esac
  if command -v $b >/dev/null; then servers+=($s); else echo "# SKIP $s: not installed"; fi
done
servers+=(smpl-resolver)
declare -A pid ready memory
for s in "${servers[@]}"; do
  line=$(configure $s)
  taskset -c 0 $line >"$T/$s.log" 2>&1 &
  pid[$s]=$!
  pids+=($!)
  if [ $s = echo ]; then
    ready[$s]=-
    sleep 0.2
  else ready[$s]=$($tools/dnsblast -w -p "$(port_of $s)" -d "$T/last") || {
    cat "$T/$s.log"
    exit 1
  }; fi
  memory[$s]=$(pss_mb ${pid[$s]})
done
measure() { # SERVER KIND OPTIONS: one run, a row "qps us lost"
  local s=$1 kind=$2 a b o
  shift 2
  a=$(cpu_ms ${pid[$s]})
  o=$(taskset -c 1 $tools/dnsblast -p "$(port_of $s)" -d "$T/queries" -l "$seconds" "$@")
  b=$(cpu_ms ${pid[$s]})
  echo "$o" | awk -v c=$((b - a)) '{printf "%s %.2f %s\n", $3, $1 ? c * 1000 / $1 : 0, $2}' >>"$T/$s.$kind"
}
for _ in $(seq "$runs"); do
  for s in "${servers[@]}"; do measure $s udp -q 192 -b 32; done
  for s in "${servers[@]}"; do [ $s = echo ] || measure $s tcp -t 4 -q 50; done
  for s in "${servers[@]}"; do measure $s one -q 1 -b 1; done
done
processor=$(awk -F': ' '/^model name/ {print $2; exit}' /proc/cpuinfo)
echo "# $names names, $runs runs of $seconds s, $(uname -r), $processor"
printf '%-14s %9s %7s %6s %9s %7s %9s %9s %8s\n' server udp/s us lost tcp/s us one/s start_ms MB
for s in "${servers[@]}"; do
  row=$s
  printf '%-14s' $s
  for f in udp:1:9 udp:2:7 udp:3:6 tcp:1:9 tcp:2:7 one:1:9; do
    IFS=: read -r kind column width <<<$f
    v=-
    [ ! -f "$T/$s.$kind" ] || v=$(awk -v c=$column '{print $c}' "$T/$s.$kind" | median)
    printf " %${width}s" "$v"
  done
  printf ' %9s %8s\n' ${ready[$s]} ${memory[$s]}
done

# --- many views: the same zone in each, every query from another network ---
many=10000
views_config() { # COUNT PORT: networks 127.64.0.0/24 and up in as many views as there are
  echo "listeners:"
  printf '  - {address: 127.0.0.1, port: %d, views: [' "$2"
  seq -s, -f 'v%g' 0 $(($1 - 1)) | tr -d '\n'
  echo "]}"
  echo "views:"
  awk -v n="$1" -v m=$many -v z=$zone '
    function view(i, nets) { printf "  - {name: v%d, clients: [%s], zones: [%s]}\n", i, nets, z }
    BEGIN { if (n == 2) { view(0, "127.64.0.0/10"); view(1, "127.0.0.0/16"); exit }
      for (i = 0; i < n; i++)
        view(i, "127." (64 + int(i / 256)) "." (i % 256) ".0/24" (i ? "" : ", 127.0.0.0/16")) }'
  printf 'zones:\n  - {name: %s, file: %s}\ncontrol: %s\nworkers: 1\n' $zone "$T/zone" "$T/views$1.sock"
}
for v in 2 $many; do
  p=$((21810 + (v > 2)))
  views_config $v $p >"$T/views$v.yaml"
  taskset -c 0 $bin/smpl-resolver -c "$T/views$v.yaml" >"$T/views$v.log" 2>&1 &
  pid[views$v]=$!
  pids+=($!)
  $tools/dnsblast -w -p $p -d "$T/last" >/dev/null || {
    cat "$T/views$v.log"
    exit 1
  }
done
port_of() { case $1 in views2) echo 21810 ;; *) echo 21811 ;; esac }
for _ in $(seq $((runs * 2))); do for v in 2 $many; do measure views$v udp -q 192 -b 32 -S $many; done; done
printf '\n%-14s %9s %7s\n' views udp/s us
for v in 2 $many; do
  printf '%-14s %9s %7s\n' $v "$(awk '{print $1}' "$T/views$v.udp" | median)" \
    "$(awk '{print $2}' "$T/views$v.udp" | median)"
done

# --- refusals: a name that exists for others (twice), one that does not, one of a zone that nobody has ---
cat >"$T/timing.yaml" <<C
listeners:
  - {address: 127.0.0.1, port: 21812, views: [in, out]}
views:
  - {name: in, clients: [127.10.0.0/16, 127.0.0.1/32], zones: [$zone]} # dnsblast -w: 127.0.0.1
  - {name: out, clients: ["0.0.0.0/0"]}
zones:
  - {name: $zone, file: $T/zone}
control: $T/timing.sock
workers: 1
C
taskset -c 0 $bin/smpl-resolver -c "$T/timing.yaml" >"$T/timing.log" 2>&1 &
pids+=($!)
$tools/dnsblast -w -p 21812 -d "$T/last" >/dev/null || {
  cat "$T/timing.log"
  exit 1
}
last=$(awk '{print $1}' "$T/last")
printf '\nrefusals\n'
taskset -c 1 $tools/dnstiming -p 21812 -s 127.20.0.9 "$last" "$last" "x${last#?}" "${last%local}locaz"
