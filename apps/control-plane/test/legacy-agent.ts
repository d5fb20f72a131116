/**
 * An agent of Helix for tests, as its Go clients behave: a control connection that is told to bring data connections, each of them
 * joined to a connection of its own to the target. It looks at no byte of what it passes on, and closes without a close frame.
 */
import { once } from "node:events";
import { connect, type NetConnectOpts, type Socket } from "node:net";
import type { Duplex } from "node:stream";
import { WebSocket } from "ws";
import { TUNNEL_PATH } from "./tunnel-requests.ts";

export interface LegacyAgentOptions {
  /** Of the control plane. */
  url: string;
  runnerId: string;
  token: string;
  target: NetConnectOpts;
  /** What it makes of the path it is told: nothing, or the API's, by its version. Default "literal". */
  paths?: "literal" | "rewritten";
  /** Default "websocket". */
  control?: "websocket" | "stream";
}

export interface ControlLine {
  command: string;
  connPath?: string;
}

export interface LegacyAgent {
  /** What it was told, keep-alives included. */
  readonly lines: ControlLine[];
  /** Data connections it has brought. */
  readonly pickUps: number;
  /** Data connections that are open. */
  readonly connections: number;
  /** Resolves to the close code of the control connection (0 for a stream) and its reason. */
  readonly closed: Promise<{ code: number; reason: string }>;
  /** In place of bringing the connection. */
  onDial: ((connPath: string) => void) | undefined;
  /** Brings one. Resolves once it is open; rejects with a Refused. */
  pickUp(connPath: string, token?: string | null): Promise<WebSocket>;
  /** Resolves with the next path it is told to bring a connection for. */
  nextDial(): Promise<string>;
  /** Says this on control, as one binary message. */
  say(text: string): void;
  /** The bare WebSocket, if it is one. */
  readonly webSocket: WebSocket | undefined;
  /** Cuts everything, as a host that is switched off. */
  drop(): void;
}

/** How a server answered that did not switch protocols. */
export class Refused extends Error {
  readonly status: number;
  readonly body: string;
  constructor(status: number, body: string) {
    super(`${status} ${body}`);
    this.status = status;
    this.body = body;
  }
}

/** Open so far; a test file ends them. */
export const legacyAgents: LegacyAgent[] = [];

/** A Go sender makes frames of so many bytes, and messages of several. */
const FRAME_BYTES = 4096;

/** Resolves once the first line has come. Rejects with a Refused. */
export async function dialLegacy(options: LegacyAgentOptions): Promise<LegacyAgent> {
  const agent = new Agent(options);
  await agent.start();
  legacyAgents.push(agent);
  return agent;
}

class Agent implements LegacyAgent {
  readonly lines: ControlLine[] = [];
  pickUps = 0;
  onDial: ((connPath: string) => void) | undefined;
  webSocket: WebSocket | undefined;
  private readonly end = Promise.withResolvers<{ code: number; reason: string }>();
  readonly closed = this.end.promise;
  private readonly options: LegacyAgentOptions;
  private stream: Socket | undefined;
  private text = "";
  private readonly data = new Set<WebSocket>();
  private readonly targets = new Set<Socket>();
  private readonly firstLine = Promise.withResolvers<void>();
  private dialled: ((connPath: string) => void) | undefined;

  constructor(options: LegacyAgentOptions) {
    this.options = options;
  }

  get connections(): number {
    return this.data.size;
  }

  async start(): Promise<void> {
    // As the original: the name is not escaped.
    const path = `${TUNNEL_PATH}?runnerid=${this.options.runnerId}`;
    if (this.options.control === "stream") await this.openStream(path);
    else {
      const webSocket = await open(this.options.url, path, this.options.token, (early) => {
        early.on("message", (bytes: Buffer) => this.read(bytes.toString()));
      });
      this.webSocket = webSocket;
      webSocket.on("close", (code, reason) => this.end.resolve({ code, reason: reason.toString() }));
    }
    await this.firstLine.promise;
  }

  private async openStream(path: string): Promise<void> {
    const { host, hostname, port } = new URL(this.options.url);
    const socket = connect(Number(port), hostname);
    this.stream = socket;
    socket.on("error", () => undefined);
    socket.on("close", () => this.end.resolve({ code: 0, reason: "" }));
    const authorization = `Authorization: Bearer ${this.options.token}`;
    socket.write(`GET ${path} HTTP/1.1\r\nHost: ${host}\r\n${authorization}\r\nConnection: Upgrade\r\n\r\n`);
    const answered = Promise.withResolvers<void>();
    let head: string | undefined = "";
    socket.on("data", (bytes: Buffer) => {
      if (head === undefined) return this.read(bytes.toString());
      head += bytes.toString();
      const [start = "", ...rest] = head.split("\r\n\r\n");
      if (rest.length === 0) return;
      const status = Number(start.split(" ")[1]);
      if (status !== 200) return answered.reject(new Refused(status, rest.join("\r\n\r\n")));
      head = undefined;
      answered.resolve();
      this.read(rest.join("\r\n\r\n"));
    });
    await answered.promise;
  }

  private read(text: string): void {
    this.text += text;
    const lines = this.text.split("\n");
    this.text = lines.pop() ?? "";
    for (const line of lines) this.told(JSON.parse(line) as ControlLine);
    this.firstLine.resolve();
  }

  private told(line: ControlLine): void {
    this.lines.push(line);
    const { command, connPath } = line;
    if (command !== "conn-ready" || connPath === undefined) return;
    this.dialled?.(connPath);
    if (this.onDial !== undefined) return this.onDial(connPath);
    this.pickUp(connPath).catch(({ message }: Error) =>
      this.say(`${JSON.stringify({ command: "pickup-failed", connPath, err: message })}\n`),
    );
  }

  nextDial(): Promise<string> {
    return new Promise((resolve) => {
      this.dialled = resolve;
    });
  }

  async pickUp(connPath: string, token: string | null = this.options.token): Promise<WebSocket> {
    const rewritten = this.options.paths === "rewritten" && connPath.startsWith("/revdial");
    const path = rewritten ? connPath.replace("/revdial", TUNNEL_PATH) : connPath;
    const early: Buffer[] = [];
    const keep = (bytes: Buffer) => void early.push(bytes);
    const data = await open(this.options.url, path, token, (webSocket) => webSocket.on("message", keep));
    this.pickUps += 1;
    this.data.add(data);
    data.off("message", keep);
    this.join(data, early);
    return data;
  }

  /** The target is connected to only now, as in the original; what ends on one side ends the other. */
  private join(data: WebSocket, early: readonly Buffer[]): void {
    const target = connect(this.options.target);
    this.targets.add(target);
    for (const bytes of early) target.write(bytes);
    data.on("message", (bytes: Buffer) => void target.write(bytes));
    data.on("close", () => {
      this.data.delete(data);
      target.destroy();
    });
    target.on("data", (bytes: Buffer) => sendInFrames(data, bytes));
    target.on("error", () => undefined);
    const closeRaw = () => rawOf(data)?.end();
    target.on("end", closeRaw).on("close", () => {
      this.targets.delete(target);
      closeRaw();
    });
  }

  say(text: string): void {
    if (this.stream !== undefined) this.stream.write(text);
    else if (this.webSocket?.readyState === WebSocket.OPEN) this.webSocket.send(Buffer.from(text));
  }

  drop(): void {
    this.webSocket?.terminate();
    this.stream?.destroy();
    for (const data of this.data) data.terminate();
    for (const target of this.targets) target.destroy();
  }
}

async function open(
  url: string,
  path: string,
  token: string | null,
  prepare: (webSocket: WebSocket) => void,
): Promise<WebSocket> {
  const headers: Record<string, string> = { "user-agent": "Go-http-client/1.1" };
  if (token !== null) headers.authorization = `Bearer ${token}`;
  const webSocket = new WebSocket(`${url.replace("http", "ws")}${path}`, {
    headers,
    perMessageDeflate: false,
  });
  prepare(webSocket);
  const refused = new Promise<never>((_resolve, reject) => {
    webSocket.on("unexpected-response", (_request, response) => {
      const chunks: Buffer[] = [];
      response.on("data", (chunk: Buffer) => chunks.push(chunk));
      response.on("end", () =>
        reject(new Refused(response.statusCode ?? 0, Buffer.concat(chunks).toString())),
      );
    });
    webSocket.on("error", reject);
  });
  await Promise.race([once(webSocket, "open"), refused]);
  return webSocket;
}

function sendInFrames(webSocket: WebSocket, bytes: Buffer): void {
  for (let at = 0; at < bytes.length; at += FRAME_BYTES) {
    const fin = at + FRAME_BYTES >= bytes.length;
    if (webSocket.readyState === WebSocket.OPEN)
      webSocket.send(bytes.subarray(at, at + FRAME_BYTES), { binary: true, fin });
  }
}

function rawOf(webSocket: WebSocket): Duplex | undefined {
  return (webSocket as unknown as { _socket?: Duplex })._socket;
}
