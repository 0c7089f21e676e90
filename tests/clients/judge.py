"""Checks one client's recorded answers and prints what of them must be equal for all clients.

judge.py URL FOLDER http1|http2
"""

import json
import pathlib
import re
import sys

url, folder, version = sys.argv[1], pathlib.Path(sys.argv[2]), sys.argv[3]

# Call, status and media type of its answer.
EXPECTED = [
    ("create", 204, None),
    ("read", 200, "json"),
    ("list", 200, "json"),
    ("query", 200, "json"),
    ("refusal", 404, "application/problem+json"),
    ("forbidden", 403, "application/problem+json"),
    ("nobody", 401, "application/problem+json"),
]
CHOSEN = "client-chosen-0001"
problems = []


def demand(holds, message):
    if not holds:
        problems.append(message)


class Answer:
    def __init__(self, call):
        recorded = json.loads((folder / f"{call}.json").read_text())
        self.status, self.version = recorded["status"], recorded["version"]
        self.headers = {key.lower(): values for key, values in recorded["headers"].items()}
        self.body = (folder / f"{call}.body").read_bytes()

    def header(self, name):
        return ", ".join(self.headers.get(name, []))

    def media_type(self):
        return self.header("content-type").split(";")[0].strip().lower()

    def json(self):
        try:
            return json.loads(self.body)
        except ValueError:
            return None


def check(call, status, media_type, answer):
    """What holds for every answer."""
    got = answer.body.decode(errors="replace")[:500]
    demand(answer.status == status, f"{call}: status {answer.status}, not {status}: {got}")
    demand(
        answer.version.startswith(version.removeprefix("http")),
        f"{call}: HTTP/{answer.version} was spoken, not {version}",
    )
    demand(
        re.fullmatch(r"[A-Za-z0-9._:-]{8,128}", answer.header("x-correlation-id")),
        f"{call}: X-Correlation-ID is {answer.header('x-correlation-id')!r}",
    )
    if media_type is None:
        demand(answer.body == b"", f"{call}: a {status} with a body: {got}")
    else:
        found = answer.media_type()
        demand(found.endswith(media_type), f"{call}: Content-Type {found!r}, not {media_type}")
        demand(isinstance(answer.json(), dict), f"{call}: the body is no JSON object: {got}")


def check_script(answers):
    """What holds for single answers, and between them."""
    location = answers["create"].header("location")
    records = f"{url}/netsuite/services/rest/record/v1/salesOrder/"
    demand(
        location.startswith(records) and len(location) > len(records),
        f"create: Location {location!r} does not begin with {records}",
    )
    ids = {call: answer.header("x-correlation-id") for call, answer in answers.items()}
    demand(ids["read"] == CHOSEN, f"read: X-Correlation-ID {ids['read']!r}, not {CHOSEN}")
    demand(len(set(ids.values())) == len(ids), f"correlation ids are not unique: {ids}")
    for call in ("list", "query"):
        items = (answers[call].json() or {}).get("items")
        demand(
            isinstance(items, list) and len(items) <= 2,
            f"{call}: not a page of at most two items: {items}",
        )
    check_problem(answers["refusal"], "refusal", "route-not-found", 404)
    check_problem(answers["forbidden"], "forbidden", "not-permitted", 403)
    check_problem(answers["nobody"], "nobody", "credentials-missing", 401)
    challenge = answers["nobody"].header("www-authenticate")
    demand(challenge == 'Bearer realm="erpgate"', f"nobody: WWW-Authenticate is {challenge!r}")


def check_problem(answer, call, code, status):
    """What a refusal says."""
    problem = answer.json() or {}
    name = answer.header("x-correlation-id")
    for member, value in {
        "code": code,
        "status": status,
        "correlation_id": name,
        "instance": f"urn:erpgate:request:{name}",
    }.items():
        found = problem.get(member)
        demand(found == value, f"{call}: member {member} is {found!r}, not {value!r}")


def canonical(value, record_id):
    """The value without what differs from run to run: hosts, times, counts, the record's own id."""
    if isinstance(value, dict):
        volatile = {"correlation_id", "instance", "totalResults"}
        if value.get("rel") == "last":
            volatile.add("href")
        kept = {key: member for key, member in value.items() if key not in volatile}
        return {key: canonical(member, record_id) for key, member in kept.items()}
    if isinstance(value, list):
        return [canonical(member, record_id) for member in value]
    if isinstance(value, str):
        if re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:.]+(Z|[+-]\d\d:?\d\d)", value):
            return "{time}"
        value = re.sub(r"^https?://[^/]+", "{host}", value)
        segments = value.split("/")
        return "/".join("{id}" if segment == record_id else segment for segment in segments)
    return "{id}" if str(value) == record_id else value


answers = {call: Answer(call) for call, _, _ in EXPECTED}
for call, status, media_type in EXPECTED:
    check(call, status, media_type, answers[call])
check_script(answers)
if problems:
    sys.exit("\n".join(problems))

record_id = answers["create"].header("location").rsplit("/", 1)[-1]
summary = []
for call, answer in answers.items():
    # Only the created record holds its id; elsewhere an equal number is a coincidence.
    own_id = record_id if call in ("create", "read") else None
    body = canonical(answer.json(), own_id)
    location = canonical(answer.header("location"), own_id)
    told = {"status": answer.status, "type": answer.media_type(), "location": location}
    summary.append({"call": call, **told, "body": body})
print(json.dumps(summary, indent=2, sort_keys=True))
