#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Measures smpl-app beside nginx and FastAPI: one machine, one run, interleaved, medians; prints the table of
# app/README.md.
# usage: tests/bench/http.sh [SECONDS=2] [RUNS=3] [ROW...]
#   rows: health get tls put made (default: all). For the README: 4 5.
# Servers run on processor 0 with all their threads, wrk on processor 1 with 32 kept connections unless it
# says so. CPU is user and system time of the server's process, to the nanosecond. Both nginx and smpl-app
# write an access log to a file.
set -eu
cd "$(dirname "$0")/../.."
seconds=${1:-2} runs=${2:-3}
shift $(($# < 2 ? $# : 2))
rows=${*:-health get tls put made}
app=$PWD/build/release/bin/smpl-app
PATH=$PATH:/usr/sbin:/sbin
[ -x "$app" ] || {
  echo "http.sh: $app is not built; try: ./dev build" >&2
  exit 1
}
mkdir -p build/bench
T=$(mktemp -d "$PWD/build/bench/http.XXXXXX") # on a disk that really syncs
chmod 755 "$T"
pids=()
ulimit -n "$(ulimit -Hn)"

start() {
  "$@" </dev/null >"$T/log.${#pids[@]}" 2>&1 &
  pid=$!
  pids+=($!)
}
cleanup() {
  local p
  trap - EXIT INT TERM
  for p in "${pids[@]}"; do kill "$p" 2>/dev/null || true; done
  for p in "${pids[@]}"; do wait "$p" 2>/dev/null || true; done
  rm -rf "$T"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

wait_port() { # ADDRESS PORT
  local i
  for i in $(seq 200); do
    (exec 3<>"/dev/tcp/$1/$2") 2>/dev/null && return 0
    sleep 0.05
  done
  echo "http.sh: nothing listens on $1:$2" >&2
  tail -n 3 "$T"/log.* >&2
  exit 1
}
cpu_ns() { cat /proc/"$1"/task/*/schedstat | awk '{ns += $1} END {printf "%.0f", ns}'; }
median() {
  sort -g | awk '{a[NR] = $1}
    END {print NR == 0 ? "-" : NR % 2 ? a[(NR + 1) / 2] : (a[NR / 2] + a[NR / 2 + 1]) / 2}'
}

# --- the servers ---

json='{"id":"b7f1c2d4-5e6f-4a7b-8c9d-0e1f2a3b4c5d","name":"svc000123"'
json+=',"host":"svc000123.internal.smplkit.local","address":"10.0.0.123","port":8080,"protocol":"http"'
json+=',"ttl":300,"enabled":true,"tags":["alpha","beta","gamma"],"created":"2025-01-01T00:00:00Z"'
json+=',"updated":"2025-06-01T12:34:56Z","owner":"team-platform"}'
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=localhost \
  -keyout "$T/key.pem" -out "$T/cert.pem" 2>/dev/null
chmod 600 "$T/key.pem"
mkdir "$T/nginx"
cat >"$T/nginx.conf" <<C
$([ "$(id -u)" != 0 ] || echo 'user root;')
worker_processes 1; daemon off; master_process off; pid $T/nginx/pid; error_log stderr error;
events { worker_connections 4096; }
http {
  access_log $T/nginx/access.log combined buffer=64k; keepalive_requests 1000000000;
  client_body_temp_path $T/nginx/a; proxy_temp_path $T/nginx/b; fastcgi_temp_path $T/nginx/c;
  uwsgi_temp_path $T/nginx/d; scgi_temp_path $T/nginx/e;
  ssl_certificate $T/cert.pem; ssl_certificate_key $T/key.pem; ssl_protocols TLSv1.2 TLSv1.3;
  server {
    listen 127.48.0.9:8001; listen 127.48.0.9:8443 ssl; default_type application/json;
    location / { return 200 '$json'; }
  }
}
C
start taskset -c 0 nginx -p "$T/nginx" -c "$T/nginx.conf" -e stderr
nginx=$pid
cat >"$T/hello.py" <<'C'
from fastapi import FastAPI
app = FastAPI()
@app.get("/")
async def hello():
    return {"hello": "world"}
C
start taskset -c 0 /usr/bin/python3 -m uvicorn --app-dir "$T" --host 127.48.0.8 --port 8001 \
  --log-level error --no-access-log hello:app
fastapi=$pid
umask 077
"$app" internal-key >"$T/config.key" 2>/dev/null
"$app" internal-key >"$T/accounts.key" 2>/dev/null
hash_of() { printf %s "$(cat "$T/$1.key")" | sha256sum | cut -d' ' -f1; }
accounts_hash=$(hash_of accounts) config_hash=$(hash_of config)
cat >"$T/accounts.yaml" <<C
service: accounts
listeners: [{name: internal, address: "127.48.0.1:8001", rules: ["/*"], clients: [127.0.0.0/8]}]
database: accounts.db
sisters: ["http://127.48.0.2:8002"]
resolver: {servers: ["127.48.0.1:53"]}
access_log: accounts.log
internal_keys:
  - {name: config, sha256: "$config_hash", operations: [introspect]}
  - {name: bench, sha256: "$accounts_hash", operations: [provision]}
internal_key_file: accounts.key
C
cat >"$T/config.yaml" <<C
service: config
listeners:
  - {name: public, address: "127.48.0.2:8001", rules: ["/api/v1/*"]}
  - {name: tls, address: "127.48.0.2:8443", rules: ["/api/v1/*"], tls: {certificate: cert.pem, key: key.pem}}
  - {name: internal, address: "127.48.0.2:8002", rules: ["/*"], clients: [127.0.0.0/8]}
database: config.db
accounts: {url: "http://127.48.0.1:8001"}
resolver: {servers: ["127.48.0.1:53"]}
access_log: config.log
internal_keys: [{name: accounts, sha256: "$accounts_hash", operations: [provision]}]
internal_key_file: config.key
rate_limit: {requests: 1000000, burst: 10000000} # counted for each request, and never reached
C
start taskset -c 0 "$app" -c "$T/config.yaml"
ours=$pid
wait_port 127.48.0.2 8002
start taskset -c 1 "$app" -c "$T/accounts.yaml"
wait_port 127.48.0.1 8001
wait_port 127.48.0.8 8001
wait_port 127.48.0.9 8001

curl=(curl -fsS --noproxy '*' -H 'Content-Type: application/json')
key=$("${curl[@]}" -H "Authorization: Bearer $(cat "$T/accounts.key")" \
  -d '{"data":{"type":"account","attributes":{"name":"Bench"}}}' http://127.48.0.1:8001/internal/v1/accounts |
  grep -oE 'sk_api_[0-9A-Za-z]+' | head -n 1)
config() { # ID: the document of a config
  printf '{"data":{"type":"config","id":"%s","attributes":{"name":"Web","items":%s}}}' "$1" \
    '{"host":{"value":"svc000123","type":"STRING"},"port":{"value":8080,"type":"NUMBER"}}'
}
for i in $(seq 0 31); do
  "${curl[@]}" -H "Authorization: Bearer $key" -d "$(config "w$i")" -o /dev/null \
    http://127.48.0.2:8001/api/v1/configs
done
cat >"$T/put.lua" <<C
local n = 0
request = function()
  n = (n + 1) % 32
  return wrk.format("PUT", "/api/v1/configs/w" .. n,
    {["Content-Type"] = "application/json", ["Authorization"] = "Bearer $key"},
    '$(config @ | sed "s/\"id\":\"@\",//")')
end
C
cat >"$T/made.lua" <<C
local n = 0
request = function() -- no two of them ask the same: no answer is kept ready
  n = n + 1
  return wrk.format("GET", "/api/v1/configs/w1?n=" .. n, {["Authorization"] = "Bearer $key"})
end
C

# --- measuring ---

one() { # NAME PID CONNECTIONS WRK-ARGUMENT...: one line "name rate cpu p99" into $T/results
  local name=$1 server=$2 connections=$3 before after out
  shift 3
  before=$(cpu_ns "$server")
  out=$(taskset -c 1 wrk -t1 -c"$connections" -d"${seconds}s" --latency "$@" 2>&1)
  after=$(cpu_ns "$server")
  grep -q 'Non-2xx\|Socket errors' <<<"$out" && {
    echo "http.sh: $name: $out" >&2
    exit 1
  }
  awk -v name="$name" -v ns=$((after - before)) '
    /requests in/ {n = $1} /Requests\/sec/ {q = $2} $1 == "99%" {p = $2}
    END {printf "%s %.0f %.2f %s\n", name, q, n ? ns / n / 1000 : 0, p}' <<<"$out" >>"$T/results"
}

authorized=(-H "Authorization: Bearer $key")
for run in $(seq "$runs"); do
  for row in $rows; do
    case $row in
    health)
      one nginx "$nginx" 32 http://127.48.0.9:8001/
      one health "$ours" 32 http://127.48.0.2:8002/internal/v1/health
      ;;
    get)
      one fastapi "$fastapi" 32 http://127.48.0.8:8001/
      one get "$ours" 32 "${authorized[@]}" http://127.48.0.2:8001/api/v1/configs/w1
      ;;
    tls)
      one nginx-tls "$nginx" 32 https://127.48.0.9:8443/
      one get-tls "$ours" 32 "${authorized[@]}" https://127.48.0.2:8443/api/v1/configs/w1
      ;;
    put)
      one put-1 "$ours" 1 -s "$T/put.lua" http://127.48.0.2:8001
      one put-32 "$ours" 32 -s "$T/put.lua" http://127.48.0.2:8001
      ;;
    made) one made "$ours" 32 -s "$T/made.lua" http://127.48.0.2:8001 ;;
    *)
      echo "http.sh: no row '$row'; there is: health get tls put made" >&2
      exit 2
      ;;
    esac
  done
done

# --- the table ---

of() { awk -v name="$1" -v k="$2" '$1 == name {print $k}' "$T/results" | median; } # NAME COLUMN
show() {                                                                           # TEXT NAME
  [ "$(of "$2" 2)" = - ] || printf '%-44s %9.0f/s %8.2f us\n' "$1" "$(of "$2" 2)" "$(of "$2" 3)"
}
goal() { # TEXT VALUE OP LIMIT
  awk -v t="$1" -v v="$2" -v op="$3" -v l="$4" 'BEGIN {
    met = op == "<=" ? v <= l : v >= l
    printf "  %-56s %7.2f  goal %s %-7.2f %s\n", t, v, op, l, met ? "met" : "MISSED" }'
}
ratio() { awk "BEGIN {print $1}"; }
printf '%-44s %11s %11s\n' 'medians' rate 'server CPU'
show 'nginx, static reply' nginx
show '/internal/v1/health' health
show 'FastAPI, hello' fastapi
show 'GET of one config with a key' get
show 'nginx, static reply, TLS' nginx-tls
show 'GET of one config with a key, TLS' get-tls
show 'PUT of one config, 1 writer' put-1
show 'PUT of one config, 32 writers' put-32
show 'GET of one config, made anew each time' made
case " $rows " in *" health "*)
  goal "health: CPU / nginx's" "$(ratio "$(of health 3) / $(of nginx 3)")" '<=' 1.15
  ;;
esac
case " $rows " in *" get "*)
  goal 'get: CPU, us' "$(of get 3)" '<=' 12
  goal "get: rate / FastAPI's" "$(ratio "$(of get 2) / $(of fastapi 2)")" '>=' 5
  ;;
esac
case " $rows " in *" health get tls "*)
  goal 'tls: CPU, us; 1.2 of nginx-tls and the handler (get - health)' "$(of get-tls 3)" '<=' \
    "$(ratio "1.2 * $(of nginx-tls 3) + $(of get 3) - $(of health 3)")"
  ;;
esac
case " $rows " in *" put "*)
  goal 'put: commits of 32 writers / of one' "$(ratio "$(of put-32 2) / $(of put-1 2)")" '>=' 4
  ;;
esac
