/** The end of an exchange that asks: makes the request, reads the answer as planned, and says how it ended. */
import { createHash } from "node:crypto";
import { RevdialError, type TunnelRequest, type TunnelResponse } from "../../src/index.ts";
import { content, type Direction } from "./content.ts";
import { trailersOf } from "./handler.ts";
import type { Outcome } from "./plan.ts";
import { talk } from "./talk.ts";
import { type Exchange, Planned, type World } from "./world.ts";

/** Whose bytes come back. */
function answeredBy({ plan }: Exchange): Direction | undefined {
  if (plan.kind === "echo") return "up";
  return ["digest", "early", "illegal", "stillborn"].includes(plan.kind) ? undefined : "down";
}

function requestOf(world: World, exchange: Exchange, signal: AbortSignal): TunnelRequest {
  const { plan } = exchange;
  const request: TunnelRequest = {
    service: "sim",
    method: "POST",
    path: plan.kind === "illegal" ? `no slash ${plan.id}` : `/${plan.id}`,
    headers: [["x-id", String(plan.id)]],
    signal,
    deadlineMs: plan.deadlineMs,
    onInterim(status, headers) {
      if (status !== 103 || String(headers) !== `x-interim,${exchange.interimsHeard}`)
        world.fault(`exchange ${plan.id} (${plan.kind}): interim head ${status} ${headers}`);
      exchange.interimsHeard += 1;
    },
  };
  if (plan.kind === "stillborn" && plan.detail === "DEADLINE") request.deadlineMs = 0;
  if (plan.upload === undefined || plan.kind.startsWith("socket")) return request;
  if (plan.whole && Number.isFinite(plan.upload.bytes)) {
    request.body = content(plan.id, "up", 0, plan.upload.bytes);
    Object.assign(exchange.up, { givenBytes: plan.upload.bytes, ended: true, stopped: true, left: true });
  } else request.body = world.produce(exchange, "up", plan.upload);
  return request;
}

async function read(world: World, exchange: Exchange, reply: TunnelResponse): Promise<Outcome> {
  const { reading } = exchange.plan;
  if (reading.unreadMs !== undefined) {
    await world.sleep(reading.unreadMs);
    exchange.down.left = true;
    await reply.body[Symbol.asyncIterator]().return?.();
    return "left";
  }
  const as = answeredBy(exchange);
  for await (const chunk of reply.body) {
    if (as === undefined) world.fault(`exchange ${exchange.plan.id}: a body where none was sent`);
    else world.took(exchange, "down", chunk, as);
    if (reading.everyMs > 0) await world.sleep(reading.everyMs);
    if (exchange.down.takenBytes < (reading.leaveAtBytes ?? Number.POSITIVE_INFINITY)) continue;
    exchange.down.left = true;
    return "left";
  }
  exchange.down.complete = true;
  return "answered";
}

/** Whether a complete answer is the one to this question. */
async function compare(world: World, exchange: Exchange, reply: TunnelResponse): Promise<void> {
  const { plan, up, down } = exchange;
  const wrong = (what: string) => world.fault(`exchange ${plan.id} (${plan.kind}): ${what} at the caller`);
  const uploadBytes = plan.upload?.bytes ?? 0;
  if (plan.kind === "digest") {
    const sum = createHash("sha256")
      .update(content(plan.id, "up", 0, uploadBytes))
      .digest("hex");
    if (reply.headers[1]?.[1] !== sum) wrong("another sum of the upload");
    if (up.takenBytes !== uploadBytes) wrong(`${up.takenBytes} of ${uploadBytes} upload bytes`);
  }
  const expected = { up: uploadBytes, down: plan.download.bytes, none: 0 }[answeredBy(exchange) ?? "none"];
  if (down.takenBytes !== expected) wrong(`${down.takenBytes} of ${expected} bytes`);
  const interims = plan.kind === "pieces" ? Math.min(plan.interims, world.interimHeadsMax[plan.from]) : 0;
  if (exchange.interimsHeard !== interims) wrong(`${exchange.interimsHeard} interim heads`);
  const trailers = await reply.trailers;
  if (String(trailers) !== (plan.trailers ? String(trailersOf(plan.id)) : "")) wrong(`trailers ${trailers}`);
}

async function exchangeBytes(world: World, exchange: Exchange, reply: TunnelResponse): Promise<Outcome> {
  const { plan } = exchange;
  if (String(reply.headers[0]) !== `x-id,${plan.id}`)
    world.fault(`exchange ${plan.id} (${plan.kind}): the answer to ${reply.headers[0]}`);
  if (reply.socket) {
    const breaks = plan.kind === "socket-broken" && plan.detail === "caller";
    const flow = plan.upload ?? { bytes: 0, chunkBytes: 1, everyMs: 0 };
    const leaveAtBytes = breaks ? plan.reading.leaveAtBytes : undefined;
    return talk(world, exchange, reply.socket, { flow, leaveAtBytes }, "up");
  }
  // Asked for before the body is read: they settle whatever becomes of it.
  const trailers = plan.id % 2 === 0 ? reply.trailers.catch(() => undefined) : undefined;
  const outcome = await read(world, exchange, reply);
  if (outcome === "answered") await compare(world, exchange, reply);
  await trailers;
  return outcome;
}

async function make(world: World, exchange: Exchange, signal: AbortSignal): Promise<Outcome> {
  const { plan } = exchange;
  const tunnel = world.tunnels?.[plan.from];
  if (tunnel === undefined) throw new Error("nobody has a tunnel yet");
  const request = requestOf(world, exchange, signal);
  const answer = async () => {
    if (plan.kind !== "socket-refused") {
      if (plan.kind.startsWith("socket"))
        return tunnel.request({ ...request, method: "GET", body: undefined, upgrade: "sim" });
      return tunnel.request(request);
    }
    const { path, headers = [] } = request;
    const limits = plan.deadlineMs === undefined ? {} : { deadlineMs: plan.deadlineMs };
    await tunnel.connect("sim", { path, headers, protocol: "sim", signal, ...limits });
    throw new Error("a socket that was to be refused");
  };
  const reply = await answer().finally(() => {
    exchange.headAtMs = world.clock.now();
  });
  return exchangeBytes(world, exchange, reply);
}

/** Resolves when everything that the tunnel handed out for the exchange has settled. */
export async function ask(world: World, exchange: Exchange): Promise<void> {
  const { plan } = exchange;
  const cancel = new AbortController();
  const cancelAtMs = plan.kind === "stillborn" && plan.detail === "CANCELLED" ? 0 : plan.cancelAtMs;
  const timer =
    cancelAtMs === undefined || cancelAtMs === 0
      ? undefined
      : world.clock.setTimer(cancelAtMs, () => cancel.abort(new Planned("the caller gives up")));
  if (cancelAtMs === 0) cancel.abort(new Planned("the caller gives up"));
  try {
    exchange.outcome = await make(world, exchange, cancel.signal);
  } catch (error) {
    if (!(error instanceof RevdialError)) {
      exchange.outcome = "?";
      world.fault(`exchange ${plan.id} (${plan.kind}): ${error instanceof Error ? error.stack : error}`);
      return;
    }
    exchange.outcome = error.code;
    exchange.sent = error.sent;
    // The detail, too, may be cut short by a deadline.
    const told = error.status === 403 && `not you, ${plan.id}`.startsWith(error.detail ?? "-");
    if (error.code === "SOCKET_REFUSED" && !told)
      world.fault(`exchange ${plan.id} (${plan.kind}): refused with ${error.status} ${error.detail}`);
  } finally {
    timer?.cancel();
    world.note(
      `exchange ${plan.id} (${plan.kind}, ${plan.from}): ${exchange.outcome} ${exchange.sent ?? ""}`,
    );
  }
}
