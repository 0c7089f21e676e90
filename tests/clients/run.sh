#!/usr/bin/env bash
# Calls a running gateway with real clients, and fails unless each gets the same, right answers.
#
#   PLAIN_URL=http://127.0.0.1:8080 TLS_URL=https://localhost:8443 CA_FILE=certs/ca.pem VENV=.venv \
#       TOKEN=eyJ… KEY=egk_… tests/clients/run.sh
#
# Every client makes the same calls and records each answer as $OUT/CLIENT/CALL.json and CALL.body;
# judge.py checks the answers and writes $OUT/CLIENT.summary.json; the summaries must be equal.
set -euo pipefail

: "${PLAIN_URL:?the plain address of the gateway, as http://127.0.0.1:8080}"
: "${TLS_URL:?the TLS address of the gateway, as https://localhost:8443}"
: "${CA_FILE:?the CA certificate behind TLS_URL}"
: "${VENV:?a Python venv with tests/clients/requirements.txt installed}"

: "${TOKEN:?an access token that is good for the calls}"
: "${KEY:?an API key that is good for the calls}"

here=$(cd "$(dirname "$0")" && pwd)
python=$VENV/bin/python
if [[ -z ${OUT:-} ]]; then
    OUT=$(mktemp -d)
    trap 'rm -rf "$OUT"' EXIT
fi
PLAIN_URL=${PLAIN_URL%/} TLS_URL=${TLS_URL%/}
CA_FILE=$(cd "$(dirname "$CA_FILE")" && pwd)/$(basename "$CA_FILE")
export CA_FILE NODE_EXTRA_CA_CERTS=$CA_FILE

fail() {
    echo "clients: $*" >&2
    exit 1
}

[[ -r $CA_FILE ]] || fail "can't read CA_FILE $CA_FILE"
for tool in curl node diff; do
    command -v "$tool" >/dev/null || fail "$tool is not installed"
done
"$python" -c 'import h2, httpx' ||
    fail "no httpx: python3 -m venv $VENV && $VENV/bin/pip install -r $here/requirements.txt"

# What a client shows, as NAME: VALUE; every client reads it from the environment.
by_token="Authorization: Bearer $TOKEN" by_key="X-API-Key: $KEY"
export CREDENTIAL=$by_key

# More records than a page holds, so that the first client's list looks like the last one's.
for _ in 1 2 3; do
    "$here/curl_check.sh" "$PLAIN_URL" "$OUT/warm-up" http1 ||
        fail "the calls before the first check failed at $PLAIN_URL"
done

names=()

# check NAME URL VERSION PROGRAM..: the program gets the URL, its folder and the HTTP version. On plain connections it
# shows the token, with TLS the key.
check() {
    local name=$1 url=$2 version=$3
    shift 3
    [[ $url == https:* ]] && CREDENTIAL=$by_key || CREDENTIAL=$by_token
    rm -rf "${OUT:?}/$name"
    "$@" "$url" "$OUT/$name" "$version" || fail "$name: can't make its calls to $url"
    "$python" "$here/judge.py" "$url" "$OUT/$name" "$version" >"$OUT/$name.summary.json" ||
        fail "$name: wrong answers from $url"
    names+=("$name")
    echo "clients: $name: right answers"
}

check curl-plain-h1 "$PLAIN_URL" http1 "$here/curl_check.sh"
check curl-tls-h1 "$TLS_URL" http1 "$here/curl_check.sh"
if [[ $(curl --version) == *HTTP2* ]]; then
    check curl-plain-h2 "$PLAIN_URL" http2 "$here/curl_check.sh"
    check curl-tls-h2 "$TLS_URL" http2 "$here/curl_check.sh"
else
    echo "clients: this curl has no HTTP/2: only httpx checks it"
fi
check httpx-plain-h1 "$PLAIN_URL" http1 "$python" "$here/httpx_check.py"
check httpx-tls-h1 "$TLS_URL" http1 "$python" "$here/httpx_check.py"
check httpx-plain-h2 "$PLAIN_URL" http2 "$python" "$here/httpx_check.py"
check httpx-tls-h2 "$TLS_URL" http2 "$python" "$here/httpx_check.py"
check fetch-plain "$PLAIN_URL" http1 node "$here/fetch_check.mjs"
check fetch-tls "$TLS_URL" http1 node "$here/fetch_check.mjs"
check http-client-plain "$PLAIN_URL" http1 "$python" "$here/http_client_check.py"
check http-client-tls "$TLS_URL" http1 "$python" "$here/http_client_check.py"

different=0
for name in "${names[@]:1}"; do
    diff -u --label "${names[0]}" --label "$name" \
        "$OUT/${names[0]}.summary.json" "$OUT/$name.summary.json" || different=1
done
((different == 0)) || fail "the clients did not all get the same answers"
echo "clients: ${#names[@]} clients got the same answers"
