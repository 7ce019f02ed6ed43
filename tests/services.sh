#!/bin/sh
# Finds the servers that tests run against, or installs them from Debian's packages. They are started by the tests themselves.
# Without them the tests that need them are skipped; in CI that is a failure.
set -eu
need=""
command -v redis-server >/dev/null 2>&1 || need="$need redis-server"
[ -n "$(ls /usr/lib/postgresql/*/bin/initdb 2>/dev/null)" ] || command -v initdb >/dev/null 2>&1 || need="$need postgresql"
command -v nginx >/dev/null 2>&1 || [ -x /usr/sbin/nginx ] || need="$need nginx"
[ -z "$need" ] && exit 0
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null 2>&1; then
    echo "not installed:$need (their tests are skipped; in CI they fail)" >&2
    exit 0
fi
export DEBIAN_FRONTEND=noninteractive
# Package scripts would start the servers as services; ours are started by the tests, on free ports.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod +x "$policy"
    trap 'rm -f "$policy"' EXIT
fi
log=$(mktemp)
if ! { apt-get update -qq && apt-get install -y -qq --no-install-recommends $need; } >"$log" 2>&1; then
    tail -n 20 "$log" >&2
    echo "could not install:$need" >&2
fi
rm -f "$log"
