// The calls with Node's fetch: NODE_EXTRA_CA_CERTS=CA node fetch_check.mjs URL FOLDER

import { mkdirSync, writeFileSync } from "node:fs";

const [url, folder] = process.argv.slice(2);
const [field, value] = process.env.CREDENTIAL.split(": ");
const own = { [field]: value };

async function call(name, target, options = {}) {
  const response = await fetch(target, { ...options, signal: AbortSignal.timeout(30_000) });
  const body = Buffer.from(await response.arrayBuffer());
  const headers = {};
  for (const [key, value] of response.headers) {
    (headers[key] ??= []).push(value);
  }
  // fetch does not tell the HTTP version; in Node it speaks 1.1 only.
  const answer = { status: response.status, version: "1.1", headers };
  writeFileSync(`${folder}/${name}.json`, JSON.stringify(answer));
  writeFileSync(`${folder}/${name}.body`, body);
  return response;
}

function post(body, headers = {}) {
  return {
    method: "POST",
    headers: { "Content-Type": "application/json", ...own, ...headers },
    body: JSON.stringify(body),
  };
}

mkdirSync(folder, { recursive: true });
const records = `${url}/netsuite/services/rest/record/v1/salesOrder`;
const query = `${url}/netsuite/services/rest/query/v1/suiteql`;

const created = await call("create", records, post({ entity: { id: "E7" }, memo: "from a client" }));
const location = created.headers.get("location");
if (location === null) {
  throw new Error(`create: no Location in the answer (${created.status})`);
}
await call("read", location, { headers: { ...own, "X-Correlation-ID": "client-chosen-0001" } });
await call("list", `${records}?limit=2`, { headers: own });
const statement = post({ q: "SELECT id FROM salesOrder" }, { Prefer: "transient" });
await call("query", `${query}?limit=2`, statement);
await call("refusal", `${url}/nowhere`, { headers: own });
await call("forbidden", `${url}/netsuite/services/rest/record/v1/employee/7`, { headers: own });
await call("nobody", records);
