#!/bin/sh
# What the benchmarks need beyond the tests' own services: wrk, from Debian's packages. Running it again changes nothing.
set -eu
sh "$(dirname "$0")/../services.sh"
command -v wrk >/dev/null 2>&1 && exit 0
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null 2>&1; then
    echo "wrk is not installed; without it there is nothing to measure" >&2
    exit 1
fi
export DEBIAN_FRONTEND=noninteractive
log=$(mktemp)
if ! { apt-get update -qq && apt-get install -y -qq --no-install-recommends wrk; } >"$log" 2>&1; then
    tail -n 20 "$log" >&2
    rm -f "$log"
    exit 1
fi
rm -f "$log"
