/** A server of the original protocol as the control plane has it, and its clients, played by hand or by script. */
import { once } from "node:events";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { type AddressInfo, connect, type Socket } from "node:net";
import { afterEach } from "@jest/globals";
import { WebSocket, WebSocketServer } from "ws";
import {
  createHelixExchange,
  type HelixAcceptOptions,
  type HelixExchange,
  type HelixExchangeOptions,
  type HelixFault,
  helixWebSocketServerOptions,
} from "../src/helix/index.ts";
import type { Tunnel } from "../src/index.ts";
import { ManualClock } from "../src/testing/index.ts";
import { stopServer } from "./gateway.ts";
import { collect, until } from "./support.ts";

const PONG = 10;
const stops: (() => unknown)[] = [];

afterEach(async () => {
  for (const stop of stops.splice(0).reverse()) await stop();
});

/** Runs when the test is over, the last first. */
export function afterwards(stop: () => unknown): void {
  stops.push(stop);
}

export interface HelixGateway {
  url: string;
  exchange: HelixExchange;
  /** In the order in which they were accepted. */
  tunnels: Tunnel[];
  faults: HelixFault[];
  /** What handlers failed with. */
  failures: unknown[];
  /** Status of each pick-up. */
  pickups: number[];
  clock: ManualClock;
}

export interface GatewayOptions extends HelixExchangeOptions {
  accept?: Partial<HelixAcceptOptions>;
  /** Time passes by itself. */
  real?: boolean;
  /** Every pick-up is handed over, whatever it is. */
  unchecked?: boolean;
}

/** Upgrades as the control plane does: pick-ups by their query, everything else is control. */
export async function helixGateway(given: GatewayOptions = {}): Promise<HelixGateway> {
  const { accept, real, unchecked, ...options } = given;
  const clock = new ManualClock();
  const exchange = createHelixExchange(real ? options : { clock, ...options });
  const gateway: HelixGateway = {
    url: "",
    exchange,
    tunnels: [],
    faults: [],
    failures: [],
    pickups: [],
    clock,
  };
  const server = createServer();
  const upgrades = new WebSocketServer({ ...helixWebSocketServerOptions, noServer: true });
  const acceptOptions: HelixAcceptOptions = {
    credential: "secret",
    onFault: (fault) => gateway.faults.push(fault),
    onHandlerError: (error) => gateway.failures.push(error),
    ...accept,
  };
  server.on("upgrade", (request: IncomingMessage, socket: Socket, head: Buffer) => {
    const { searchParams } = new URL(request.url ?? "", "http://any");
    const dialer = searchParams.get("revdial.dialer");
    const requestId = searchParams.get("revdial.req") ?? undefined;
    const refusal = dialer === null || unchecked ? 101 : statusOf(exchange, dialer, requestId);
    if (dialer !== null) gateway.pickups.push(refusal);
    if (refusal !== 101) return void socket.end(`HTTP/1.1 ${refusal} No\r\nContent-Length: 0\r\n\r\n`);
    upgrades.handleUpgrade(request, socket, head, (webSocket) => {
      if (dialer === null) gateway.tunnels.push(exchange.accept(webSocket, acceptOptions));
      else exchange.pickUp(dialer, requestId, webSocket);
    });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  gateway.url = `ws://127.0.0.1:${(server.address() as AddressInfo).port}`;
  afterwards(async () => {
    for (const tunnel of gateway.tunnels) tunnel.destroy();
    await stopServer(server);
    await Promise.all(gateway.tunnels.map((tunnel) => tunnel.closed));
  });
  return gateway;
}

function statusOf(exchange: HelixExchange, dialer: string, requestId: string | undefined): number {
  if (exchange.dialer(dialer) === undefined) return 500;
  return exchange.awaits(dialer, requestId) ? 101 : 410;
}

export interface RawFrame {
  fin: boolean;
  masked: boolean;
  opcode: number;
  payload: Buffer;
}

/** A WebSocket client on a bare socket: what comes is kept as it came, what goes is what the test says. */
export class RawPeer {
  readonly socket: Socket;
  /** As the socket gave them, behind the head of the answer. */
  readonly chunks: Buffer[] = [];
  readonly frames: RawFrame[] = [];
  status = 0;
  /** The far end has closed or cut it. */
  closed = false;
  private head: Buffer | undefined = Buffer.alloc(0);
  private rest = Buffer.alloc(0);

  /** `early`: what it says right behind its handshake, in one piece with it. */
  constructor(url: string, path: string, fields: readonly string[] = [], early: Buffer = Buffer.alloc(0)) {
    const { hostname, port } = new URL(url);
    this.socket = connect({ host: hostname, port: Number(port), noDelay: true });
    this.socket.on("error", () => undefined).on("data", (chunk: Buffer) => this.heard(chunk));
    this.socket.on("close", () => {
      this.closed = true;
    });
    const lines = [
      `GET ${path} HTTP/1.1`,
      `Host: ${hostname}:${port}`,
      "User-Agent: Go-http-client/1.1",
      "Connection: Upgrade",
      "Upgrade: websocket",
      "Sec-WebSocket-Version: 13",
      "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
      "Authorization: Bearer secret",
      ...fields,
    ];
    this.socket.write(Buffer.concat([Buffer.from(`${lines.join("\r\n")}\r\n\r\n`), early]));
    afterwards(() => this.socket.destroy());
  }

  /** Resolves when it is answered. */
  static async open(url: string, path: string, fields: readonly string[] = []): Promise<RawPeer> {
    const peer = new RawPeer(url, path, fields);
    await until(() => peer.status !== 0 || peer.closed);
    return peer;
  }

  private heard(chunk: Buffer): void {
    let bytes = chunk;
    if (this.head !== undefined) {
      this.head = Buffer.concat([this.head, chunk]);
      const end = this.head.indexOf("\r\n\r\n");
      if (end < 0) return;
      this.status = Number(this.head.toString("latin1", 9, 12));
      bytes = this.head.subarray(end + 4);
      this.head = undefined;
    }
    if (bytes.byteLength === 0) return;
    this.chunks.push(bytes);
    this.rest = Buffer.concat([this.rest, bytes]);
    for (let frame = this.take(); frame !== undefined; frame = this.take()) this.frames.push(frame);
  }

  private take(): RawFrame | undefined {
    const { rest } = this;
    const [first, second] = rest;
    if (first === undefined || second === undefined) return undefined;
    const short = second & 0x7f;
    const header = short === 126 ? 4 : short === 127 ? 10 : 2;
    if (rest.byteLength < header) return undefined;
    const length =
      short === 126 ? rest.readUInt16BE(2) : short === 127 ? Number(rest.readBigUInt64BE(2)) : short;
    if (rest.byteLength < header + length) return undefined;
    this.rest = rest.subarray(header + length);
    return {
      fin: (first & 0x80) !== 0,
      masked: (second & 0x80) !== 0,
      opcode: first & 0x0f,
      payload: rest.subarray(header, header + length),
    };
  }

  /** Lines of control, with their ends, one for each frame. */
  get lines(): string[] {
    return this.frames.filter(({ opcode }) => opcode === 2).map(({ payload }) => payload.toString());
  }

  /** What was announced, in order. */
  get connPaths(): string[] {
    return this.lines.map((line) => JSON.parse(line).connPath).filter((path) => path !== undefined);
  }

  /** What came in binary messages. */
  get bytes(): Buffer {
    return Buffer.concat(this.frames.filter(({ opcode }) => opcode < 3).map(({ payload }) => payload));
  }

  get closeCode(): number | undefined {
    return this.frames.find(({ opcode }) => opcode === 8)?.payload.readUInt16BE(0);
  }

  /** One frame, masked; its first byte as it is on the wire. */
  send(first: number, payload: Uint8Array | string = ""): void {
    this.socket.write(maskedFrame(first, Buffer.from(payload)));
  }

  /** One message in frames of at most so many bytes, as a Go client sends it. */
  sendFragmented(bytes: Buffer, frameBytes: number): void {
    for (let at = 0; at < bytes.byteLength; at += frameBytes) {
      const last = at + frameBytes >= bytes.byteLength;
      this.send((last ? 0x80 : 0) | (at === 0 ? 2 : 0), bytes.subarray(at, at + frameBytes));
    }
  }

  /** Answers all pings so far, in order. */
  pong(): void {
    for (const { payload } of this.frames.filter(({ opcode }) => opcode === 9)) this.send(0x8a, payload);
  }
}

/** Of a client, with a mask that changes something. */
export function maskedFrame(first: number, payload: Buffer): Buffer {
  const { byteLength } = payload;
  const head = Buffer.alloc(byteLength < 126 ? 2 : byteLength < 65_536 ? 4 : 10);
  head[0] = first;
  head[1] = 0x80 | (byteLength < 126 ? byteLength : byteLength < 65_536 ? 126 : 127);
  if (head.byteLength === 4) head.writeUInt16BE(byteLength, 2);
  if (head.byteLength === 10) head.writeBigUInt64BE(BigInt(byteLength), 2);
  const mask = Buffer.from([0x37, 0xfa, 0x21, 0x3d]);
  const masked = Buffer.from(payload.map((byte, index) => byte ^ (mask[index % 4] as number)));
  return Buffer.concat([head, mask, masked]);
}

export const CONTROL_PATH = "/api/v1/revdial?runnerid=wolf-1";

export interface RawControl {
  gateway: HelixGateway;
  control: RawPeer;
  tunnel: Tunnel;
}

/** A control connection on a bare socket, whose first ping is answered. */
export async function rawControl(options: GatewayOptions = {}): Promise<RawControl> {
  const gateway = await helixGateway(options);
  const control = await RawPeer.open(gateway.url, CONTROL_PATH);
  await until(() => control.frames.some(({ opcode }) => opcode === 9));
  control.pong();
  const tunnel = gateway.tunnels[0] as Tunnel;
  await tunnel.ready;
  // The tunnel's own first ping.
  await gateway.clock.advance(0);
  await tunnel.reached;
  return { gateway, control, tunnel };
}

/** The data connection for the announcement of this number, on a bare socket. */
export async function pickUp({ gateway, control }: RawControl, number = 0): Promise<RawPeer> {
  await until(() => control.connPaths.length > number);
  return await RawPeer.open(gateway.url, control.connPaths[number] as string);
}

/** Asks for it, and gives status and body. */
export async function ask(tunnel: Tunnel, path = "/", more: object = {}): Promise<string> {
  const { status, body } = await tunnel.request({ service: "wolf", method: "GET", path, ...more });
  return `${status} ${(await collect(body)).toString("latin1")}`;
}

export interface ScriptedAgent {
  control: WebSocket;
  /** Data connections it has brought, and those of now. */
  brought: number;
  open: Set<WebSocket>;
  lines: string[];
}

export interface AgentScript {
  /** Instead of bringing a data connection. */
  onConnReady?: (connPath: string, agent: ScriptedAgent) => boolean;
}

/** An agent that does as the original: a data connection and a connection to its host for each announcement; no close frames. */
export async function scriptedAgent(
  url: string,
  host: Server,
  { onConnReady = () => false }: AgentScript = {},
): Promise<ScriptedAgent> {
  const { port } = host.address() as AddressInfo;
  const headers = { authorization: "Bearer secret" };
  const options = { headers, perMessageDeflate: false };
  const control = new WebSocket(`${url}${CONTROL_PATH}`, options);
  const agent: ScriptedAgent = { control, brought: 0, open: new Set(), lines: [] };
  control.on("error", () => undefined);
  const bring = (connPath: string) => {
    const data = new WebSocket(url + connPath, options);
    data.on("unexpected-response", () => {
      control.send(
        Buffer.from(`${JSON.stringify({ command: "pickup-failed", connPath, err: "bad handshake" })}\n`),
      );
      data.terminate();
    });
    data.on("error", () => undefined);
    data.on("close", () => agent.open.delete(data));
    data.once("open", () => {
      agent.brought += 1;
      agent.open.add(data);
      const local = connect({ port, host: "127.0.0.1", noDelay: true });
      local.on("error", () => undefined);
      data.on("message", (bytes: Buffer) => void local.write(bytes));
      local.on("data", (bytes) => data.send(bytes));
      data.on("close", () => local.destroy());
      local.on("close", () => data.terminate());
    });
  };
  control.on("message", (line: Buffer) => {
    agent.lines.push(line.toString());
    const { command, connPath } = JSON.parse(line.toString());
    if (command === "conn-ready" && !onConnReady(connPath, agent)) bring(connPath);
  });
  afterwards(() => {
    control.terminate();
    for (const data of agent.open) data.terminate();
  });
  await once(control, "open");
  return agent;
}

/** An HTTP server that listens, of a host behind an agent. */
export async function host(answer: Parameters<typeof createServer>[1]): Promise<Server> {
  const server = createServer(answer);
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  afterwards(() => stopServer(server));
  return server;
}

export interface Joined {
  gateway: HelixGateway;
  agent: ScriptedAgent;
  tunnel: Tunnel;
}

/** A scripted agent before this host. */
export async function joined(
  answer: (request: IncomingMessage, response: ServerResponse) => void,
  options: GatewayOptions = {},
): Promise<Joined> {
  const gateway = await helixGateway({ real: true, ...options });
  const agent = await scriptedAgent(gateway.url, await host(answer));
  const tunnel = gateway.tunnels[0] as Tunnel;
  await tunnel.reached;
  return { gateway, agent, tunnel };
}

/** Asked for, and its data connection on a bare socket, which has heard the request. */
export async function asked(options: GatewayOptions = {}, path = "/") {
  const made = await rawControl(options);
  const answer = made.tunnel.request({ service: "wolf", method: "GET", path });
  answer.catch(() => undefined);
  const data = await pickUp(made);
  await until(() => data.bytes.includes("\r\n\r\n"));
  return { ...made, answer, data };
}

/** All that was sent before has been read and answered. */
export async function settled(peer: RawPeer): Promise<void> {
  const before = peer.frames.filter(({ opcode }) => opcode === PONG).length;
  peer.send(0x89, "?");
  await until(() => peer.closed || peer.frames.filter(({ opcode }) => opcode === PONG).length > before);
}
