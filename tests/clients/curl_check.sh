#!/usr/bin/env bash
# The calls with curl: curl_check.sh URL FOLDER http1|http2
set -euo pipefail

url=$1 folder=$2
case "$url $3" in
*\ http1) version=--http1.1 ;;
https:*\ http2) version=--http2 ;;
http:*\ http2) version=--http2-prior-knowledge ;;
*) echo "curl_check.sh: no HTTP version $3" >&2 && exit 2 ;;
esac
mkdir -p "$folder"

# call NAME ARGUMENT..: makes the call and records the answer.
call() {
    local name=$1
    shift
    curl --disable --silent --show-error --noproxy '*' --max-time 30 \
        --cacert "$CA_FILE" "$version" \
        --dump-header "$folder/$name.head" --output "$folder/$name.body" \
        --write-out '{"status":%{response_code},"version":"%{http_version}","headers":%{header_json}}' \
        "$@" >"$folder/$name.json"
    touch "$folder/$name.body"
}

records=$url/netsuite/services/rest/record/v1/salesOrder
query=$url/netsuite/services/rest/query/v1/suiteql
json='Content-Type: application/json'

own=(--header "$CREDENTIAL")
call create "${own[@]}" --header "$json" --data '{"entity":{"id":"E7"},"memo":"from a client"}' "$records"
location=$(sed -n 's/^[Ll]ocation: *//p' "$folder/create.head" | tr -d '\r')
[[ -n $location ]] || { echo "create: no Location in the answer" >&2 && exit 1; }
call read "${own[@]}" --header 'X-Correlation-ID: client-chosen-0001' "$location"
call list "${own[@]}" "$records?limit=2"
call query "${own[@]}" --header "$json" --header 'Prefer: transient' \
    --data '{"q":"SELECT id FROM salesOrder"}' "$query?limit=2"
call refusal "${own[@]}" "$url/nowhere"
call forbidden "${own[@]}" "${records%/*}/employee/7"
call nobody "$records"
