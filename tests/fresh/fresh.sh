#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# This project in a Debian that has nothing but git: ./dev test fresh and ./dev test arm64. By root.
#   fresh.sh bookworm|trixie         both commands of the README
#   fresh.sh bookworm|trixie arm64   the build for arm64, and its unit tests on an emulated processor
# All that runs there has mounts, processes and a network of its own, and ends with this script, however that
# ends.
set -uo pipefail
umask 022
cd "$(dirname "${BASH_SOURCE[0]}")/../.." || exit 1
TOP=$PWD
SUITE=$1
TASK=${2:-commands}
ROOT=$TOP/build/fresh/$SUITE-$TASK
LOGS=$TOP/build/log
PIDS=()

die() {
  printf 'fresh: %s\n' "$1" >&2
  [ $# -lt 2 ] || printf '     %s\n' "${@:2}" >&2
  exit 1
}
step() { printf '%s\n' "$*"; }

# --- the end ---

end() {
  trap '' INT TERM HUP
  [ ${#PIDS[@]} -eq 0 ] || kill -9 "${PIDS[@]}" 2>/dev/null
  wait
  keep_logs
  remove_root
}

keep_logs() {
  [ -d "$ROOT/srv/smplkit/build/log" ] || return 0
  rm -rf "$LOGS/fresh-$SUITE-$TASK"
  cp -r "$ROOT/srv/smplkit/build/log" "$LOGS/fresh-$SUITE-$TASK"
}

# Nothing is ever mounted there but in namespaces that have ended; should something be all the same, it stays.
remove_root() {
  ! grep -qF " $ROOT" /proc/self/mountinfo || die "$ROOT still has something mounted, and stays"
  for _ in $(seq 50); do
    rm -rf --one-file-system "$ROOT" 2>/dev/null && return
    sleep 0.1
  done # those that end still write
  die "$ROOT cannot be removed"
}

# --- a root folder ---

# The first address in this machine's package sources that ends in the given word.
apt_uri() {
  cat /etc/apt/sources.list /etc/apt/sources.list.d/*.list /etc/apt/sources.list.d/*.sources 2>/dev/null |
    grep -v '^ *#' | grep -oE "[a-z+]+://[^ ]+/$1/?( |$)" | head -n 1 | sed 's,/* *$,,'
}

make_root() {
  local mirror
  mirror=$(apt_uri debian)
  mkdir -p "$ROOT" "$LOGS"
  step "debootstrap of $SUITE"
  alone --mount -- debootstrap --variant=minbase --include=git,ca-certificates "$SUITE" "$ROOT" \
    ${mirror:+"$mirror"} \
    >"$LOGS/debootstrap-$SUITE.log" 2>&1 ||
    {
      tail -n 3 "$LOGS/debootstrap-$SUITE.log" >&2
      die "debootstrap failed; its output: build/log/debootstrap-$SUITE.log"
    }
  sources
  git -c safe.directory="$TOP" clone -q "$TOP" "$ROOT/srv/smplkit" ||
    die "the clone failed; is everything committed?"
}

# Debian's own sources, as this machine has them, and what reaches them: proxies, certificates, npm's
# settings.
sources() {
  local base security f
  base=$(awk '{print $2; exit}' "$ROOT/etc/apt/sources.list") # written by debootstrap
  base=${base%/}
  security=$(apt_uri debian-security)
  printf 'deb %s main\n' "$base $SUITE" "$base $SUITE-updates" "${security:-$base-security} $SUITE-security" \
    >"$ROOT/etc/apt/sources.list"
  for f in $(grep -liE 'proxy' /etc/apt/apt.conf.d/* 2>/dev/null); do cp "$f" \
    "$ROOT/etc/apt/apt.conf.d/"; done
  cp /etc/ssl/certs/ca-certificates.crt "$ROOT/etc/ssl/certs/" 2>/dev/null
  echo "nameserver $NAMESERVER" >"$ROOT/etc/resolv.conf"
  # an installer would have
  [ -s "$ROOT/etc/hosts" ] || printf '127.0.0.1 localhost\n::1 localhost\n' >"$ROOT/etc/hosts"
  [ ! -e "${HOME:-/root}/.npmrc" ] || cp "${HOME:-/root}/.npmrc" "$ROOT/root/"
  [ ! -e /etc/npmrc ] || cp /etc/npmrc "$ROOT/etc/"
}

# --- running something in it ---

NAMESERVER=10.0.2.3 # slirp4netns's, which asks the one of this machine

# alone UNSHARE-OPTION... -- COMMAND...: waits for it; it ends with this script.
alone() {
  start setpriv --pdeathsig KILL unshare --fork --kill-child "$@"
  wait "$STARTED"
}

start() {
  "$@" </dev/null &
  STARTED=$!
  PIDS+=("$STARTED")
}

# The first process there: bash, which goes on so that it takes in those that lose their parents.
FIRST='root=$1 script=$2
until ip -4 address show tap0 2>/dev/null | grep -q inet; do sleep 0.1; done
ip link set lo up &&
  mount --bind "$root" "$root" && # where / is no mount, no namespace of mounts can be made below it
  mount -t proc proc "$root/proc" && mount -t sysfs sysfs "$root/sys" && mount --rbind /dev "$root/dev" &&
  mount -t tmpfs tmpfs "$root/dev/shm" &&
  mount -t devpts -o newinstance,ptmxmode=0666,mode=0620 devpts "$root/dev/pts" || exit 1
cd "$root" && exec chroot . /bin/bash -c "cd /srv/smplkit && { $script
}; exit \$?"'

there() { # there NAME SCRIPT
  local log=$LOGS/fresh-$SUITE-$1.log box network status pass
  step "$SUITE: $1 (output: build/log/fresh-$SUITE-$1.log)"
  mapfile -t pass < \
    <(env | grep -iE '^(https?_proxy|no_proxy|npm_config_registry|SMPL_PATIENCE|FUZZ_SECONDS)=')
  start setpriv --pdeathsig KILL unshare --mount --pid --net --ipc --uts --fork --kill-child env -i \
    PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8 TERM=dumb \
    NODE_EXTRA_CA_CERTS=/etc/ssl/certs/ca-certificates.crt "${pass[@]}" bash -c "$FIRST" first "$ROOT" "$2" \
    >"$log" 2>&1
  box=$STARTED
  until [ "$(readlink "/proc/$box/ns/net")" != "$(readlink /proc/self/ns/net)" ]; do
    kill -0 "$box" 2>/dev/null || break
    sleep 0.1
  done
  start setpriv --pdeathsig KILL slirp4netns --configure --mtu=65520 --disable-host-loopback "$box" tap0 \
    >"$LOGS/slirp.log" 2>&1
  network=$STARTED
  wait "$box"
  status=$?
  kill "$network" 2>/dev/null
  wait "$network" 2>/dev/null
  [ $status = 0 ] || {
    tail -n 15 "$log" >&2
    die "$1 failed in a bare Debian ($SUITE); its output: build/log/fresh-$SUITE-$1.log"
  }
}

UP='./dev up -d && eval "$(./dev env)" && ./dev status &&
  [ "$(dig +short -b 127.10.0.9 @127.0.0.1 -p 5300 config.internal.smplkit.local)" = 127.10.1.11 ] &&
  dig -b 127.20.0.9 @127.0.0.1 -p 5300 config.internal.smplkit.local | grep -q "status: REFUSED" &&
  [ "$(curl -s -o /dev/null -w "%{http_code}" http://127.20.1.11:8000/internal/v1/health)" = 404 ] &&
  { curl -s --interface 127.20.0.9 http://127.10.1.11:8000/docs; [ $? -ne 0 ]; } &&
  smpl-tunnel 0:config.internal -- sh -c "curl -fs \$SMPL_TUNNEL_URL/docs >/dev/null"
  s=$?; ./dev down; (exit $s)'

ARM64='dpkg --add-architecture arm64 && ./dev build arm64 &&
  ctest --test-dir build/arm64 -L unit --output-on-failure --no-tests=error -j"$(nproc)" \
    -E "$(grep -v "^#" tests/fresh/not-emulated | paste -sd "|")"'

trap end EXIT
trap 'exit 130' INT TERM HUP
remove_root
make_root
case $TASK in
commands)
  there up "$UP"
  there test './dev test'
  step "$SUITE: both commands work on a bare Debian"
  ;;
arm64)
  there arm64 "$ARM64"
  step "$SUITE: built for arm64, and its unit tests run"
  ;;
*) die "unknown task '$TASK'" ;;
esac
