"""The calls with httpx: httpx_check.py URL FOLDER http1|http2"""

import json
import os
import pathlib
import ssl
import sys

import httpx

url, folder, version = sys.argv[1], pathlib.Path(sys.argv[2]), sys.argv[3]
http2 = version == "http2"
client = httpx.Client(
    # Without http1, httpx speaks HTTP/2 on plain connections too.
    http1=not http2,
    http2=http2,
    verify=ssl.create_default_context(cafile=os.environ["CA_FILE"]),
    trust_env=False,
    timeout=30,
)


def call(name, method, target, **options):
    response = client.request(method, target, **options)
    answer = {
        "status": response.status_code,
        "version": response.http_version.removeprefix("HTTP/"),
        "headers": {key: response.headers.get_list(key) for key in response.headers},
    }
    (folder / f"{name}.json").write_text(json.dumps(answer))
    (folder / f"{name}.body").write_bytes(response.content)
    return response


field, value = os.environ["CREDENTIAL"].split(": ")
own = {field: value}

folder.mkdir(parents=True, exist_ok=True)
records = f"{url}/netsuite/services/rest/record/v1/salesOrder"
query = f"{url}/netsuite/services/rest/query/v1/suiteql"

with client:
    order = {"entity": {"id":"E7"}, "memo": "from a client"}
    created = call("create", "POST", records, json=order, headers=own)
    if "location" not in created.headers:
        sys.exit(f"create: no Location in the answer ({created.status_code}: {created.text})")
    chosen = {**own, "X-Correlation-ID": "client-chosen-0001"}
    call("read", "GET", created.headers["location"], headers=chosen)
    call("list", "GET", records, params={"limit": 2}, headers=own)
    statement = {"q": "SELECT id FROM salesOrder"}
    transient = {**own, "Prefer": "transient"}
    call("query", "POST", query, params={"limit": 2}, json=statement, headers=transient)
    call("refusal", "GET", f"{url}/nowhere", headers=own)
    call("forbidden", "GET", f"{url}/netsuite/services/rest/record/v1/employee/7", headers=own)
    call("nobody", "GET", records)
