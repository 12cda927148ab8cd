// @vercel/cosmosdb-server with four things mended, each of which Cosmos DB does right:
// a missing item is 404 (there: 500), a query with a partition key is answered from that partition alone (there:
// refused), connections are kept, and the account is where it was asked for (so that a proxy stays in between).
// Usage: node cosmos.js MODULES
"use strict";

const lib = `${process.argv[2]}/@vercel/cosmosdb-server/lib`;
const server = require(lib);
const routes = require(`${lib}/routes`);
const readItems = require(`${lib}/handler/_read-items`).default;
const readJson = require(`${lib}/json`).default;

function account(account, req) {
  const here = [{ name: "here", databaseAccountEndpoint: `https://${req.headers.host}/` }];
  return { ...account.read(), writableLocations: here, readableLocations: here };
}

async function item(handler, account, req, res, params) {
  const found = account.database(params.dbId).collection(params.collId).document(params.docId, partition(req)).read();
  if (found) return handler(account, req, res, params);
  res.statusCode = 404;
  return { code: "NotFound", message: "Entity with the specified id does not exist in the system." };
}

function items(account, req, res, params) {
  return readItems(req, res, "Documents", async (page) => {
    const { documents } = account.database(params.dbId).collection(params.collId);
    const inPartition = [...documents._data].filter(([, each]) => each.read().pk === partition(req));
    const view = Object.assign(Object.create(documents), { _data: new Map(inPartition) });
    return view.query(await readJson(req), page);
  });
}

function partition(req) {
  const header = req.headers["x-ms-documentdb-partitionkey"];
  return header && JSON.parse(header)[0];
}

const find = routes.default;
routes.default = (req) => {
  const found = find(req);
  if (!found) return found;
  const [params, handler] = found;
  if (req.url === "/") return [params, account];
  if (req.method === "GET" && params.docId) return [params, (...call) => item(handler, ...call)];
  if ("x-ms-documentdb-isquery" in req.headers && partition(req)) return [params, items];
  return found;
};

const listening = server.createHttpsServer({ keepAlive: true });
listening.on("connection", (socket) => socket.setNoDelay(true));
listening.listen(0, "127.0.0.1", () => console.log(`listens on https://127.0.0.1:${listening.address().port}`));
