/** Process: a load generator on bare sockets, so that it costs little beside what it measures. */
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { serveCalls } from "./process.ts";

export interface SmallResult {
  requests: number;
  seconds: number;
  perSecond: number;
  p50Ms: number;
  p99Ms: number;
}

export interface DownloadResult {
  bytes: number;
  seconds: number;
  megabytesPerSecond: number;
}

const ask = (path: string) => `GET ${path} HTTP/1.1\r\nHost: bench\r\n\r\n`;
const smallQuestion = Buffer.from(ask("/small"));

async function open(port: number): Promise<Socket> {
  const socket = connect({ port, host: "127.0.0.1", noDelay: true });
  await once(socket, "connect");
  return socket;
}

/** All answers are read into it, one after the other: a buffer for each would be a tenth of what a request costs here. */
const shared = Buffer.allocUnsafeSlow(64 * 1024);

/** Bytes of the response at the start of `bytes`, or undefined while it is not whole. Error for what is not 200. */
function responseBytes(bytes: Buffer): number | undefined {
  const headEnd = bytes.indexOf("\r\n\r\n");
  if (headEnd < 0) return undefined;
  const head = bytes.toString("latin1", 0, headEnd).toLowerCase();
  if (!head.startsWith("http/1.1 200"))
    throw new Error(`unexpected answer: ${bytes.toString("latin1").slice(0, 400)}`);
  const length = /content-length: (\d+)/.exec(head)?.[1];
  if (length !== undefined) {
    const end = headEnd + 4 + Number(length);
    return bytes.length >= end ? end : undefined;
  }
  const last = bytes.indexOf("\r\n0\r\n\r\n", headEnd);
  return last < 0 ? undefined : last + 7;
}

/** One connection that asks again as soon as it is answered. */
class Asker {
  readonly socket: Socket;
  private readonly latencies: number[];
  private readonly failed: (error: Error) => void;
  private readonly done: () => void;
  private rest: Buffer | undefined;
  /** Bytes of the last answer: they are all alike, and looking into each would cost more than the answer. */
  private usualBytes = 0;
  private askedAt = 0;
  asking = true;

  private constructor(port: number, latencies: number[], failed: (error: Error) => void, done: () => void) {
    this.latencies = latencies;
    this.failed = failed;
    this.done = done;
    const callback = (bytes: number) => {
      this.take(shared.subarray(0, bytes));
      return true;
    };
    this.socket = connect({ port, host: "127.0.0.1", noDelay: true, onread: { buffer: shared, callback } });
    this.socket.on("error", failed);
    this.socket.on("close", () => {
      if (this.asking) failed(new Error("the connection was closed"));
    });
  }

  /** `done` is told of each answer. */
  static async open(
    port: number,
    latencies: number[],
    failed: (error: Error) => void,
    done: () => void = () => undefined,
  ): Promise<Asker> {
    const asker = new Asker(port, latencies, failed, done);
    await once(asker.socket, "connect");
    return asker;
  }

  ask(): void {
    this.askedAt = performance.now();
    this.socket.write(smallQuestion);
  }

  private take(chunk: Buffer): void {
    const bytes = this.rest === undefined ? chunk : Buffer.concat([this.rest, chunk]);
    if (bytes.length === this.usualBytes && bytes[9] === 0x32) return this.answered();
    let end: number | undefined;
    try {
      end = responseBytes(bytes);
    } catch (error) {
      return this.failed(error as Error);
    }
    if (end === undefined) {
      this.rest = Buffer.from(bytes);
      return;
    }
    this.usualBytes = bytes.length;
    this.answered();
  }

  private answered(): void {
    this.rest = undefined;
    this.latencies.push(performance.now() - this.askedAt);
    if (this.asking) this.ask();
    this.done();
  }
}

function quantile(sorted: readonly number[], share: number): number {
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN;
}

async function small(argument: { port: number; connections: number; seconds: number }): Promise<SmallResult> {
  const { port, connections, seconds } = argument;
  const latencies: number[] = [];
  const broken = Promise.withResolvers<never>();
  broken.promise.catch(() => undefined);
  const askers = await Promise.all(
    Array.from({ length: connections }, () => Asker.open(port, latencies, broken.reject)),
  );
  const run = async (ms: number) => {
    latencies.length = 0;
    const startedAt = performance.now();
    await Promise.race([new Promise((resolve) => setTimeout(resolve, ms)), broken.promise]);
    return (performance.now() - startedAt) / 1000;
  };
  for (const asker of askers) asker.ask();
  await run(Math.min(500, seconds * 250));
  const spent = await run(seconds * 1000);
  const requests = latencies.length;
  for (const asker of askers) {
    asker.asking = false;
    asker.socket.destroy();
  }
  const sorted = latencies.toSorted((a, b) => a - b);
  return {
    requests,
    seconds: spent,
    perSecond: requests / spent,
    p50Ms: quantile(sorted, 0.5),
    p99Ms: quantile(sorted, 0.99),
  };
}

const lastChunk = Buffer.from("0\r\n\r\n");

/** One file, counted to its last byte. */
async function download({ port, mib }: { port: number; mib: number }): Promise<DownloadResult> {
  const socket = await open(port);
  const startedAt = performance.now();
  const bytes = mib * 1024 * 1024;
  await new Promise<void>((resolve, reject) => {
    let head: string | undefined = "";
    let chunked = false;
    let came = 0;
    let tail: Buffer = Buffer.alloc(0);
    socket.on("data", (chunk: Buffer) => {
      came += chunk.length;
      if (head !== undefined) {
        head += chunk.toString("latin1");
        const end = head.indexOf("\r\n\r\n");
        if (end < 0) return;
        if (!head.startsWith("HTTP/1.1 200"))
          return reject(new Error(`unexpected answer: ${head.slice(0, 400)}`));
        chunked = /\r\ntransfer-encoding: chunked\r/i.test(head.slice(0, end + 2));
        came -= end + 4;
        head = undefined;
      }
      if (came < bytes) return;
      tail = chunk.length >= 5 ? chunk.subarray(-5) : Buffer.concat([tail, chunk]).subarray(-5);
      if (!chunked || tail.equals(lastChunk)) resolve();
    });
    socket.on("error", reject);
    socket.on("close", () => reject(new Error(`only ${came} of ${bytes} bytes came`)));
    socket.write(ask(`/file?mib=${mib}`));
  });
  const seconds = (performance.now() - startedAt) / 1000;
  socket.destroy();
  return { bytes, seconds, megabytesPerSecond: bytes / seconds / 1e6 };
}

const background: Socket[] = [];

/** Downloads that go on until `stopBackground`: at full speed, at a rate, or never read. */
async function startBackground(argument: { port: number; count: number; bytesPerSecond?: number }) {
  const { port, count, bytesPerSecond } = argument;
  for (let i = 0; i < count; i += 1) {
    const socket = await open(port);
    background.push(socket);
    socket.on("error", () => undefined);
    socket.write(ask("/file?mib=1000000"));
    if (bytesPerSecond === undefined) socket.resume();
    else if (bytesPerSecond > 0) readSlowly(socket, bytesPerSecond);
    else socket.pause();
  }
  await new Promise((resolve) => setTimeout(resolve, 300));
}

function readSlowly(socket: Socket, bytesPerSecond: number): void {
  const share = Math.round(bytesPerSecond / 100);
  socket.pause();
  const timer = setInterval(() => socket.read(share) ?? socket.read(), 10);
  socket.on("close", () => clearInterval(timer));
}

function stopBackground(): void {
  for (const socket of background.splice(0)) socket.destroy();
}

/** Milliseconds of the first call on a tunnel that has been idle; the connection to the gateway is there already. */
async function first({ port }: { port: number }): Promise<number> {
  const latencies: number[] = [];
  const answered = Promise.withResolvers<void>();
  const asker = await Asker.open(port, latencies, answered.reject, answered.resolve);
  asker.asking = false;
  await new Promise((resolve) => setTimeout(resolve, 500));
  asker.ask();
  await answered.promise;
  asker.socket.destroy();
  return latencies[0] ?? Number.NaN;
}

serveCalls({ small, download, first, startBackground, stopBackground });
