/**
 * Stands between an agent and its Wolf, on a socket of its own: says of each request about lobbies, of its answer and of each
 * container's start that it is about to pass, and lets it pass when the listener is done with it.
 */
import { once } from "node:events";
import { connect, createServer, type Server, type Socket } from "node:net";

export const gateSteps = [
  "create asked",
  "create answered",
  "container started",
  "stop asked",
  "stop answered",
  "list asked",
  "list answered",
] as const;
export type GateStep = (typeof gateSteps)[number];

/** `sessionId`: of the lobby that it is about; undefined for a list, and for lobbies from before the gate. */
export type GateListener = (step: GateStep, sessionId: string | undefined) => Promise<void> | void;

const routes: Record<string, "create" | "stop" | "list"> = {
  "POST /api/v1/lobbies/create": "create",
  "POST /api/v1/lobbies/stop": "stop",
  "GET /api/v1/lobbies": "list",
};
const EVENTS = "GET /api/v1/events";
const CONTAINER_STARTED = /^event: \S*DockerContainerCreated\ndata: (.*)$/m;

interface Asked {
  route: string;
  body: string;
}

export class WolfGate {
  /** Hears of everything in its order; what it returns is waited for. */
  listener: GateListener = () => undefined;
  private server: Server | undefined;
  private readonly sockets = new Set<Socket>();
  /** Sessions by lobby. */
  private readonly sessions = new Map<string, string>();

  /** For a host's plan. */
  readonly between = async (wolfSocket: string): Promise<string> => {
    const socketPath = wolfSocket.replace(/\.sock$/, ".gate");
    this.server = createServer({ allowHalfOpen: true }, (agent) => {
      void this.pass(this.kept(agent), wolfSocket).catch(() => agent.destroy());
    }).listen({ path: socketPath });
    await once(this.server, "listening");
    return socketPath;
  };

  async close(): Promise<void> {
    const { server } = this;
    if (server === undefined) return;
    const closed = new Promise((resolve) => server.close(resolve));
    for (const socket of this.sockets) socket.destroy();
    await closed;
  }

  private kept(socket: Socket): Socket {
    this.sockets.add(socket);
    socket.on("error", () => socket.destroy());
    socket.on("close", () => this.sockets.delete(socket));
    return socket;
  }

  private async pass(agent: Socket, wolfSocket: string): Promise<void> {
    const { bytes, route, body } = await requestOf(agent);
    const kind = routes[route];
    const sessionId = kind === undefined ? undefined : this.sessionAsked(kind, body);
    if (kind !== undefined) await this.listener(`${kind} asked`, sessionId);
    const wolf = this.kept(connect({ path: wolfSocket }));
    agent.on("close", () => wolf.destroy());
    wolf.write(bytes);
    if (route === EVENTS) return this.passEvents(wolf, agent);
    const answer: Buffer[] = [];
    for await (const chunk of wolf) answer.push(chunk as Buffer);
    const whole = Buffer.concat(answer);
    // Wolf died: an answer that is none passes as it is.
    if (kind === "create") this.remember(whole, sessionId);
    if (kind !== undefined && whole.length > 0) await this.listener(`${kind} answered`, sessionId);
    agent.end(whole);
  }

  private async passEvents(wolf: Socket, agent: Socket): Promise<void> {
    let text = "";
    let isHeadPassed = false;
    for await (const chunk of wolf.setEncoding("utf8")) {
      text += chunk as string;
      const headEnd = isHeadPassed ? -1 : text.indexOf("\r\n\r\n") + 4;
      // At once: with its head the agent knows that it hears everything from here on, long before the first event.
      if (headEnd > 3) {
        isHeadPassed = true;
        agent.write(text.slice(0, headEnd));
        text = text.slice(headEnd);
      }
      const blocks = text.split("\n\n");
      text = blocks.pop() ?? "";
      for (const block of blocks) {
        const [, data] = CONTAINER_STARTED.exec(block) ?? [];
        if (data !== undefined) await this.listener("container started", this.sessionOf(data));
        agent.write(`${block}\n\n`);
      }
    }
    agent.end();
  }

  private sessionAsked(kind: "create" | "stop" | "list", body: string): string | undefined {
    if (kind === "list") return undefined;
    const asked = JSON.parse(body) as { name?: string; lobby_id?: string };
    return kind === "create" ? asked.name : this.sessions.get(asked.lobby_id ?? "");
  }

  private sessionOf(data: string): string | undefined {
    return this.sessions.get((JSON.parse(data) as { session_id: string }).session_id);
  }

  private remember(answer: Buffer, sessionId: string | undefined): void {
    const [, lobbyId] = /"lobby_id":"([^"]+)"/.exec(answer.toString("latin1")) ?? [];
    if (lobbyId !== undefined && sessionId !== undefined) this.sessions.set(lobbyId, sessionId);
  }
}

/** One whole request; rejects when the agent goes away before. */
async function requestOf(agent: Socket): Promise<Asked & { bytes: Buffer }> {
  let bytes: Buffer = Buffer.alloc(0);
  return new Promise((resolve, reject) => {
    agent.once("close", () => reject(new Error("the agent went away")));
    agent.on("data", (chunk: Buffer) => {
      bytes = Buffer.concat([bytes, chunk]);
      const end = bytes.indexOf("\r\n\r\n");
      if (end < 0) return;
      const head = bytes.toString("latin1", 0, end);
      const length = Number(/^content-length: *(\d+)/im.exec(head)?.[1] ?? 0);
      if (bytes.length < end + 4 + length) return;
      const [method = "", target = ""] = head.split(" ");
      const body = bytes.toString("utf8", end + 4);
      resolve({ bytes, route: `${method} ${target.split("?")[0]}`, body });
    });
  });
}
