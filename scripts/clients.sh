#!/usr/bin/env bash
# Starts a gateway with simulated vendors on ports of its own and sends real clients through it.
set -euo pipefail
erpgate=$(realpath "$1")
venv=$(realpath "$2")
folder=$(mktemp -d)
gateway=
finish() {
  [ -z "$gateway" ] || kill "$gateway" 2>/dev/null || true
  [ -z "$gateway" ] || wait "$gateway" 2>/dev/null || true
  rm -rf "$folder"
}
trap finish EXIT

cp -r policies "$folder"
key=$("$erpgate" key new --client clients --scope all --format json |
  "$venv/bin/python" -c 'import json, sys; made = json.load(sys.stdin); print(made["key"], made["sha256"])')
cat >"$folder/policies/clients.toml" <<POLICY
client = "clients"
[[identity]]
issuer = "corporate"
client_id = "clients"
[[identity]]
api_key_sha256 = "${key#* }"
scopes = ["all"]
[[allow]]
route = "netsuite"
methods = ["*"]
paths = ["/services/rest/**"]
scopes = ["all"]
POLICY
sed -E 's/127\.0\.0\.1:(8080|8443|9900)/127.0.0.1:0/' gateway.toml >"$folder/gateway.toml"
"$erpgate" certificates --dir "$folder/certs" >/dev/null
"$erpgate" run --sandbox --config "$folder/gateway.toml" >"$folder/log" 2>"$folder/err" &
gateway=$!

# The log says where it listens: the plain listener, the one with TLS, the admin listener. What is printed last says
# where tokens are made.
issuer() { grep -oE 'http://127\.0\.0\.1:[0-9]+/corporate/token' "$folder/err" | head -n 1; }
for _ in $(seq 1 600); do
  [ "$(grep -c '"event":"listening"' "$folder/log" || true)" -ge 3 ] && [ -n "$(issuer)" ] && break
  kill -0 "$gateway" 2>/dev/null || { cat "$folder/err" >&2; exit 1; }
  sleep 0.1
done
port() { grep '"event":"listening"' "$folder/log" | sed -n "$1p" | sed -E 's/.*:([0-9]+)".*/\1/'; }

token=$(curl -sS --noproxy '*' "$(issuer)" -d grant_type=client_credentials -d client_id=clients \
  -d client_secret=sandbox -d scope=all |
  "$venv/bin/python" -c 'import json, sys; print(json.load(sys.stdin)["access_token"])')

KEY="${key% *}" TOKEN="$token" PLAIN_URL="http://127.0.0.1:$(port 1)" TLS_URL="https://localhost:$(port 2)" \
  CA_FILE="$folder/certs/dev/ca.pem" VENV="$venv" OUT="$folder/out" \
  tests/clients/run.sh || { tail -n 20 "$folder/log" >&2; exit 1; }
