/** The tables of SPEC §12.8, cell by cell: each side of the HTTP transport, brought into each state. */
import { EventEmitter } from "node:events";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { Readable } from "node:stream";
import { afterEach, describe, expect, it } from "@jest/globals";
import { connectHttp } from "../src/http-dial.ts";
import { closeRecord, HTTP_CONTENT_TYPE, recordOf } from "../src/http-wire.ts";
import { createHttpAcceptor } from "../src/index.ts";
import { ManualClock } from "../src/testing/index.ts";
import type { Transport } from "../src/transport.ts";
import { hello, write } from "./cores.ts";
import { listen, stopServer } from "./gateway.ts";
import { states } from "./spec-table.ts";
import { until } from "./support.ts";

const key = "A".repeat(43);
const tooLong = Buffer.from("ffffffff", "hex");

/** Cells that say something. */
function cellsOf(table: Map<string, Map<string, string>>): [state: string, event: string, cell: string][] {
  return [...table].flatMap(([state, row]) =>
    [...row]
      .filter(([, cell]) => cell !== "")
      .map(([event, cell]) => [state, event, cell] as [string, string, string]),
  );
}

/** The response downwards, which is gone when we say so. */
class Down extends EventEmitter {
  destroyed = false;
  writableEnded = false;
  headersSent = false;
  status = 0;

  writeHead(status: number): void {
    this.headersSent = true;
    this.status = status;
  }

  flushHeaders(): void {}

  write(_bytes: Uint8Array, done: () => void): void {
    setImmediate(done);
  }

  end(): void {
    this.writableEnded = true;
  }

  destroy(): void {
    this.destroyed = true;
  }
}

describe("the acceptor's states over HTTP", () => {
  const posts = ["POST of the next number", "of the last", "of another"];
  const table = states(["close", "close record", "record too long", "response gone", ...posts], "what it is");

  class Accepting {
    readonly acceptor = createHttpAcceptor();
    readonly down = new Down();
    private readonly open = Object.assign(Readable.from([]), { headers: {} }) as unknown as IncomingMessage;
    readonly tunnel = this.acceptor.open(this.open, this.down as unknown as ServerResponse, {}, key);
    private last = 0;

    get state(): string {
      if (!this.acceptor.holds(key)) return "closed";
      return this.down.writableEnded ? "ending" : "open";
    }

    /** The status that the POST is answered with. */
    async post(body: Uint8Array, sequence = this.last + 1): Promise<number> {
      const headers = {
        "content-type": HTTP_CONTENT_TYPE,
        "revdial-tunnel": key,
        "revdial-sequence": String(sequence),
      };
      const request = Object.assign(Readable.from([body]), { method: "POST", headers });
      const answered = new Down();
      this.acceptor.receive(request as unknown as IncomingMessage, answered as unknown as ServerResponse);
      await until(() => answered.writableEnded);
      if (answered.status === 204) this.last = sequence;
      return answered.status;
    }

    /** What happens, and the status of the POST with which it does. */
    happens(event: string): Promise<number> | undefined {
      switch (event) {
        case "close":
          void this.tunnel?.close();
          return undefined;
        case "close record":
          return this.post(closeRecord(1000, ""));
        case "record too long":
          return this.post(tooLong);
        case "response gone":
          this.down.emit("close");
          return undefined;
        case "of the last":
          return this.post(recordOf([write(hello)]), this.last);
        case "of another":
          return this.post(recordOf([write(hello)]), this.last + 7);
        default:
          return this.post(recordOf([write({ type: "ping", token: 1n })]));
      }
    }
  }

  const reaches: Record<string, readonly string[]> = {
    open: [],
    ending: ["close record"],
    closed: ["response gone"],
  };

  it("are those of the table", () => {
    expect([...table.keys()]).toEqual(Object.keys(reaches));
  });

  it.each(cellsOf(table))("%s: %s leads to %s", async (state, event, cell) => {
    const accepting = new Accepting();
    expect(await accepting.post(recordOf([write(hello)]))).toBe(204);
    for (const before of reaches[state] ?? []) await accepting.happens(before);
    expect(accepting.state).toBe(state);
    const status = await accepting.happens(event);
    if (posts.includes(event)) expect([status, accepting.state]).toEqual([Number(cell), state]);
    else await until(() => accepting.state === cell);
    accepting.acceptor.close();
    await accepting.tunnel?.closed;
  });
});

describe("the dialler's states over HTTP", () => {
  const events = ["close", "answer that opens", "other answer", "204", "404", "POST fails", "close record"];
  const table = states([...events, "end of the response", "5 s more"], "what it is");
  let server: Server;

  afterEach(() => stopServer(server));

  class Dialling {
    readonly clock = new ManualClock();
    state = "opening";
    private transport: Transport | undefined;
    private openAnswer: ServerResponse | undefined;
    private readonly posts: ServerResponse[] = [];

    async begin(): Promise<void> {
      server = createServer((request, response) => {
        request.resume();
        response.on("error", () => undefined);
        if (request.headers["revdial-tunnel"] === undefined) this.openAnswer = response;
        else this.posts.push(response);
      });
      const url = new URL((await listen(server)).replace("ws:", "http:"));
      const closed = () => {
        this.state = "closed";
      };
      connectHttp(
        url,
        { clock: this.clock },
        {
          failed: closed,
          refused: (refusal) => void refusal.then(closed),
          opened: (transport) => {
            this.transport = transport;
            this.state = "open";
            const ignored = () => undefined;
            const deaf = () => {
              this.state = "deaf";
            };
            transport.start({
              closed,
              deaf,
              bytes: ignored,
              message: ignored,
              text: ignored,
              foreign: ignored,
              drain: ignored,
            });
          },
        },
      );
      await until(() => this.openAnswer !== undefined);
    }

    private async answerPost(status: number): Promise<void> {
      this.transport?.send([write({ type: "ping", token: 1n })]);
      await until(() => this.posts.length > 0);
      const taken = this.transport?.queuedBytes ?? 0;
      this.posts.shift()?.writeHead(status).end();
      if (status === 204) await until(() => (this.transport?.queuedBytes ?? 0) < taken);
    }

    private answerOpen(status: number): void {
      this.openAnswer?.writeHead(status, { "content-type": HTTP_CONTENT_TYPE, "revdial-tunnel": key });
      if (status === 200) this.openAnswer?.flushHeaders();
      else this.openAnswer?.end();
    }

    async happens(event: string): Promise<void> {
      switch (event) {
        case "answer that opens":
          return this.answerOpen(200);
        case "other answer":
          return this.answerOpen(503);
        case "204":
          return this.answerPost(204);
        case "404":
          return this.answerPost(404);
        case "POST fails":
          return this.answerPost(409);
        case "close record":
          return void this.openAnswer?.write(closeRecord(1000, ""));
        case "end of the response":
          return void (this.openAnswer?.headersSent ? this.openAnswer.end() : this.openAnswer?.destroy());
        case "5 s more":
          return this.clock.advance(5000);
        default:
          this.transport?.close(1000, "");
          if (this.state === "open") this.state = "closing";
      }
    }

    abandon(): void {
      this.transport?.terminate();
    }
  }

  const reaches: Record<string, readonly [event: string, state: string][]> = {
    opening: [],
    open: [["answer that opens", "open"]],
    closing: [
      ["answer that opens", "open"],
      ["close", "closing"],
    ],
    deaf: [
      ["answer that opens", "open"],
      ["404", "deaf"],
    ],
    closed: [],
  };

  it("are those of the table", async () => {
    server = createServer();
    await listen(server);
    expect([...table.keys()]).toEqual(Object.keys(reaches));
  });

  it.each(cellsOf(table))("%s: %s leads to %s", async (state, event, cell) => {
    const dialling = new Dialling();
    await dialling.begin();
    for (const [before, reached] of reaches[state] ?? []) {
      await dialling.happens(before);
      await until(() => dialling.state === reached);
    }
    expect(dialling.state).toBe(state);
    await dialling.happens(event);
    await until(() => dialling.state === cell);
    dialling.abandon();
  });
});
