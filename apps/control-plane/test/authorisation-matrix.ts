/** Asks every route as everybody for every object, and says what is not as the table has it. */
import { readFileSync } from "node:fs";
import { request as httpRequest } from "node:http";
import { text } from "node:stream/consumers";
import { aTarget, type Caller, everyCaller, missingTarget, type Target } from "./authorisation-callers.ts";
import {
  type Column,
  columns,
  machineColumns,
  type Outcome,
  type Row,
  table,
  type Whose,
} from "./authorisation-table.ts";
import type { TestControlPlane } from "./control-plane.ts";

interface Route {
  id: string;
  method: string;
  path: string;
  action: string;
}

/** Every operation of the OpenAPI document as it is committed. */
export function routesOf(document: {
  paths: Record<string, Record<string, { operationId: string; "x-action": string }>>;
}): Route[] {
  return Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, { operationId, ...more }]) => ({
      id: operationId,
      method: method.toUpperCase(),
      path,
      action: more["x-action"],
    })),
  );
}

export const committedRoutes = (): Route[] =>
  routesOf(
    JSON.parse(readFileSync(new URL("../../../packages/api-contract/openapi.json", import.meta.url), "utf8")),
  );

/** Routes without a row, and rows without a route. */
export function uncovered(
  routes: readonly Route[],
  rows: Readonly<Record<string, unknown>> = table,
): string[] {
  const known = new Set(routes.map(({ id }) => id));
  return [
    ...routes.filter(({ id }) => rows[id] === undefined).map(({ id }) => `${id} has no row`),
    ...Object.keys(rows)
      .filter((id) => !known.has(id))
      .map((id) => `${id} has no route`),
  ];
}

interface Cell {
  route: Route;
  row: Row;
  caller: Caller;
  whose: Whose;
}

export interface Report {
  cells: number;
  /** Each begins with `<operationId> as <caller>, <own, foreign or missing>: `. */
  findings: string[];
}

/** Requests at the same time. */
const WORKERS = 8;

export async function runMatrix(
  api: TestControlPlane,
  operations: readonly string[] = Object.keys(table),
): Promise<Report> {
  const callers = await everyCaller(api);
  const cells = committedRoutes()
    .filter(({ id }) => operations.includes(id))
    .flatMap((route) =>
      [table[route.id] ?? []]
        .flat()
        .flatMap((row) => callers.flatMap((caller) => cellsOf(route, row, caller))),
    );
  const findings: string[] = [];
  const answers = new Map<string, Answer>();
  const left = cells.values();
  await Promise.all(
    Array.from({ length: WORKERS }, async () => {
      for (const cell of left) {
        const { answer, wrong } = await ask(api, cell);
        answers.set(nameOf(cell), answer);
        findings.push(...wrong.map((what) => finding(cell, what)));
      }
    }),
  );
  const events = await api.database.prisma.auditEvent.findMany();
  for (const cell of cells) {
    const answer = answers.get(nameOf(cell)) as Answer;
    const seen = events
      .filter(({ request_id, object }) => request_id === answer.requestId || object?.endsWith(answer.opened))
      .map(({ action, result }) => `${action} ${result}`)
      .join(", ");
    const wanted = eventOf(cell);
    if (seen !== wanted) findings.push(finding(cell, `events: ${seen || "none"}, not ${wanted || "none"}`));
    findings.push(...comparedWithMissing(cell, answer, answers));
  }
  return { cells: cells.length, findings };
}

const finding = ({ route, caller, whose }: Cell, what: string): string =>
  `${route.id} as ${caller.name}, ${whose}: ${what}`;
const nameOf = ({ route, row, caller, whose }: Cell): string =>
  [route.id, row.action, row.object, caller.name, whose].join("|");

function cellsOf(route: Route, row: Row, caller: Caller): Cell[] {
  const ways: Whose[] = ["foreign"];
  const ownsOne =
    caller.machine === "agent" ? row.tunnel && row.object === "wolf" : caller.userId !== undefined;
  if (row.own !== undefined && ownsOne) ways.push("own");
  if (row.object !== undefined && !row.list) ways.push("missing");
  return ways.map((whose) => ({ route, row, caller, whose }));
}

function read(line: string, column: Column): Outcome {
  const outcomes = line.replace("|", " ").trim().split(/\s+/);
  if (outcomes.length !== columns.length) throw new Error(`a row of ${outcomes.length} columns: ${line}`);
  return outcomes[columns.indexOf(column)] as Outcome;
}

/** What the table says. What does not exist is asked for like what belongs to the caller, or to nobody. */
function outcomeOf({ row, caller, whose }: Cell): Outcome {
  if (caller.column === undefined) {
    const machine = caller.machine ?? "runner";
    const [own, foreign = own, missing = own] = (row.machines?.[machine] ?? machineColumns[machine]).split(
      " ",
    );
    return { own, foreign, missing }[whose] as Outcome;
  }
  const line = whose === "foreign" ? row.foreign : (row.own ?? row.foreign);
  const outcome = read(line, caller.column);
  const ofScope = caller.scope === undefined ? "ok" : read(line, caller.scope);
  return ofScope === "ok" ? outcome : ofScope;
}

const expectedAnswer = (cell: Cell): string => {
  const { row, whose } = cell;
  const outcome = outcomeOf(cell);
  if (outcome === "401") return "401 unauthenticated";
  if (outcome === "403") return "403 forbidden";
  if (row.list) return row.allowed;
  return outcome === "404" || whose === "missing" ? String(row.missing) : row.allowed;
};

/** The one event that the call has to leave, or none. */
function eventOf(cell: Cell): string {
  const { route, row, whose } = cell;
  if (route.action === "public") return "";
  const action = row.action ?? route.action;
  const outcome = outcomeOf(cell);
  const isHidden = outcome === "404" && !row.list;
  const asForeign =
    whose === "missing" && row.missingIsForeign && outcomeOf({ ...cell, whose: "foreign" }) === "404";
  if (outcome === "401" || outcome === "403" || isHidden || asForeign) return `${action} denied`;
  if (row.audited !== "changes") return "";
  return `${action} ${whose === "missing" || / /.test(row.allowed) ? "failed" : "allowed"}`;
}

/** An object of somebody else has to read like one that does not exist, to the letter. */
function comparedWithMissing(cell: Cell, answer: Answer, answers: Map<string, Answer>): string[] {
  if (cell.whose !== "foreign" || cell.row.list || outcomeOf(cell) !== "404") return [];
  const missing = answers.get(nameOf({ ...cell, whose: "missing" }));
  const shown = (one: Answer | undefined) => one?.body.replaceAll(one.requestId, "");
  if (shown(answer) === shown(missing)) return [];
  return [finding(cell, `reads unlike one that does not exist: ${shown(answer)} and ${shown(missing)}`)];
}

interface Answer {
  /** A WebSocket's answer bears no request id: its event is known by what it is about, which nothing else is. */
  opened: string;
  status: number;
  code: string | undefined;
  requestId: string;
  body: string;
}

async function ask(api: TestControlPlane, cell: Cell): Promise<{ answer: Answer; wrong: string[] }> {
  const { row, route, caller, whose } = cell;
  const target = await targetOf(api, cell);
  const before = await target?.state();
  const path = route.path.replace(/\{\w+\}/, target?.id ?? "") + (row.query?.(target?.id ?? "") ?? "");
  const headers = await caller.headers({
    ownWolf: whose === "own" ? target?.id : undefined,
    purpose: row.action === "agent.diagnose" ? "diagnose" : "connect",
  });
  const answer = await (row.tunnel ? askForTunnel : send)(api.url + path, route.method, headers, row, target);
  const wrong: string[] = [];
  const got = [answer.status, answer.code].filter((part) => part !== undefined).join(" ");
  const wanted = expectedAnswer(cell);
  if (got !== wanted) wrong.push(`${got}, not ${wanted}`);
  const outcome = outcomeOf(cell);
  if (row.list && (outcome === "ok" || outcome === "404")) {
    const isShown = target !== undefined && answer.body.includes(target.id);
    if (isShown !== (outcome === "ok")) wrong.push(isShown ? "is in the list" : "is not in the list");
  }
  if (outcome !== "ok" && whose !== "missing" && (await target?.state()) !== before)
    wrong.push("was denied and has changed something");
  await target?.remove();
  return { answer, wrong };
}

function targetOf({ database }: TestControlPlane, { row, caller, whose }: Cell): Promise<Target> | undefined {
  if (row.object === undefined) return undefined;
  if (whose === "missing") return Promise.resolve(missingTarget(row.object));
  return aTarget(database.prisma, row.object, whose === "own" ? caller.userId : undefined);
}

type Send = (
  url: string,
  method: string,
  headers: Record<string, string>,
  row: Row,
  target: Target | undefined,
) => Promise<Answer>;

const answerOf = (
  status: number,
  requestId: unknown,
  type: unknown,
  body: string,
  opened = "no object ends like this",
): Answer => ({
  opened,
  status,
  code: String(type).includes("problem+json") ? (JSON.parse(body) as { code: string }).code : undefined,
  requestId: String(requestId),
  body,
});

const send: Send = async (url, method, headers, { body }, target) => {
  const json = body && { "content-type": "application/json" };
  const init = { method, headers: { ...headers, ...json } };
  const response = await fetch(url, body ? { ...init, body: JSON.stringify(body(target?.id ?? "")) } : init);
  const id = response.headers.get("x-request-id");
  return answerOf(response.status, id, response.headers.get("content-type"), await response.text());
};

const upgrade = {
  connection: "Upgrade",
  upgrade: "websocket",
  "sec-websocket-version": "13",
  "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
  "sec-websocket-protocol": "revdial.v3",
};

/** A tunnel that is opened is let go at once. */
const askForTunnel: Send = (url, method, headers, { tunnel }, target) =>
  new Promise((resolve, reject) => {
    const how = tunnel === "upgrade" ? upgrade : { "content-type": "application/vnd.revdial.v3" };
    const request = httpRequest(url, { method, headers: { ...headers, ...how }, agent: false });
    request.on("error", reject);
    request.on("upgrade", (response, socket) => {
      socket.destroy();
      resolve(answerOf(101, response.headers["x-request-id"], "", "", target?.id));
    });
    request.on("response", (response) => {
      const { statusCode = 0, headers: fields } = response;
      const got = (body: string) =>
        resolve(answerOf(statusCode, fields["x-request-id"], fields["content-type"], body));
      if (statusCode !== 200) return void text(response).then(got, reject);
      response.on("error", () => undefined);
      response.destroy();
      got("");
    });
    request.end();
  });
