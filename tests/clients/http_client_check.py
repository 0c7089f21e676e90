"""The calls with http.client on one kept connection: http_client_check.py URL FOLDER"""

import http.client
import json
import os
import pathlib
import ssl
import sys
from urllib.parse import urlsplit

url, folder = sys.argv[1], pathlib.Path(sys.argv[2])
parts = urlsplit(url)
if parts.scheme == "https":
    context = ssl.create_default_context(cafile=os.environ["CA_FILE"])
    connection = http.client.HTTPSConnection(parts.netloc, timeout=30, context=context)
else:
    connection = http.client.HTTPConnection(parts.netloc, timeout=30)


def call(name, method, target, headers={}, body=None):
    if body is not None:
        headers = {**headers, "Content-Type": "application/json"}
        body = json.dumps(body)
    connection.request(method, target, body, headers)
    response = connection.getresponse()
    content = response.read()
    names = {key.lower() for key in response.headers}
    answer = {
        "status": response.status,
        "version": {10: "1.0", 11: "1.1"}[response.version],
        "headers": {key: response.headers.get_all(key) for key in names},
    }
    (folder / f"{name}.json").write_text(json.dumps(answer))
    (folder / f"{name}.body").write_bytes(content)
    return response


field, value = os.environ["CREDENTIAL"].split(": ")
own = {field: value}

folder.mkdir(parents=True, exist_ok=True)
records = "/netsuite/services/rest/record/v1/salesOrder"
query = "/netsuite/services/rest/query/v1/suiteql"

order = {"entity": {"id":"E7"}, "memo": "from a client"}
location = call("create", "POST", records, own, order).getheader("Location")
if location is None or not location.startswith(url + "/"):
    sys.exit(f"create: Location {location!r} does not lead to {url}")
chosen = {**own, "X-Correlation-ID": "client-chosen-0001"}
call("read", "GET", location.removeprefix(url), chosen)
call("list", "GET", f"{records}?limit=2", own)
statement = {"q": "SELECT id FROM salesOrder"}
call("query", "POST", f"{query}?limit=2", {**own, "Prefer": "transient"}, statement)
call("refusal", "GET", "/nowhere", own)
call("forbidden", "GET", "/netsuite/services/rest/record/v1/employee/7", own)
call("nobody", "GET", records)
connection.close()
