/**
 * A scripted client of Helix's revdial: the Go programs that hosts still run, in three generations, with what they get wrong. On
 * bare sockets, so that every byte is seen as it came.
 */
import { randomBytes } from "node:crypto";
import type { Clock, Timer } from "revdial";
import { Changes } from "./changes.ts";
import { encodeFrame, type Frame, opcodes } from "./frames.ts";
import { GoControl } from "./go-control.ts";
import { GoDataConnection, type GoTarget } from "./go-data.ts";
import { type GoGeneration, goHabits, type Habits } from "./go-habits.ts";
import { ReadEnded, type ReaderKind } from "./go-reader.ts";
import { goUpgrade, HandshakeFailed } from "./go-upgrade.ts";

const PICKUP_DEADLINE_MS = 20_000;

export interface GoClientOptions extends Partial<Habits> {
  /** Of the control plane: `http://host:port`. */
  url: string;
  /** `wolf-<id>` and the like. */
  key: string;
  token: string;
  target: GoTarget;
  generation: GoGeneration;
  clock: Clock;
  /** How a data connection is read. Default: nothing is lost there. */
  dataReader?: ReaderKind;
  /** The variant without WebSocket on control. */
  hijack?: boolean;
  /** Another token for pick-ups; undefined as a value: none. */
  pickupToken?: string | undefined;
}

/** What came on control, as it came. */
export interface Heard {
  atMs: number;
  frame: Frame;
}

/** Of its first connection, as a test may call it. */
const TRIES_MAX = 50;

export class GoClient {
  private readonly options: GoClientOptions & Habits;
  private readonly changes = new Changes();
  private control: GoControl | undefined;
  private reconnecting: Timer | undefined;
  private stopped = false;
  private readonly datas = new Set<GoDataConnection>();
  /** Frames of control connections, of all so far. */
  readonly heard: Heard[] = [];
  /** Lines as the client understood them. */
  readonly lines: string[] = [];
  /** Why control connections ended, or did not begin. */
  readonly ends: string[] = [];
  /** Answers to pick-ups that were none. */
  readonly refusals: HandshakeFailed[] = [];
  /** Codes of close frames on control. */
  readonly closeCodes: number[] = [];
  /** Payloads of pongs that answered our pings. */
  readonly pongs: Buffer[] = [];
  controls = 0;
  pickups = 0;
  pickupsOpened = 0;
  /** Reads of a control socket that ended within a frame. */
  straddled = 0;
  crashed = false;
  private lostOnData = 0;
  private lostOnControl = 0;
  pickupsUnderWay = 0;

  private constructor(options: GoClientOptions) {
    this.options = { ...goHabits[options.generation], ...options };
  }

  /**
   * Resolves when the first control connection is up. Where there is no room for it yet (503) it comes again, so many times; rejects with
   * HandshakeFailed for every other refusal, after which the original would come again, too.
   */
  static async connect(options: GoClientOptions): Promise<GoClient> {
    const client = new GoClient(options);
    const { clock, reconnectMs } = client.options;
    for (let left = TRIES_MAX; ; left -= 1) {
      try {
        await client.dial();
        return client;
      } catch (error) {
        if (!(error instanceof HandshakeFailed && error.status === 503) || left === 1) throw error;
      }
      await new Promise<void>((resolve) => void clock.setTimer(reconnectMs, resolve));
    }
  }

  /** Bytes of messages that it did not see. */
  get bytesLost(): number {
    return this.lostOnData + this.lostOnControl + (this.control?.bytesLost ?? 0);
  }

  get isConnected(): boolean {
    return this.control !== undefined;
  }

  get dataConnections(): number {
    return this.datas.size;
  }

  /** Of control, not read yet. */
  get bytesQueued(): number {
    return this.control?.bytesQueued ?? 0;
  }

  until(holds: (client: this) => boolean): Promise<void> {
    return this.changes.until(() => holds(this));
  }

  /** The process gets no time to read control: what comes piles up. */
  stall(): void {
    this.control?.stall(true);
  }

  resume(): void {
    this.control?.stall(false);
  }

  /** Bytes on control as they are. */
  sendRaw(bytes: Uint8Array): void {
    this.control?.socket.write(bytes);
  }

  /** A message on control, in one frame. */
  sendMessage(text: string, opcode: number = opcodes.binary): void {
    this.sendRaw(encodeFrame({ opcode, payload: Buffer.from(text), mask: randomBytes(4) }));
  }

  /** Bytes on every data connection. */
  sendRawOnData(bytes: Uint8Array): void {
    for (const data of this.datas) data.sendRaw(bytes);
  }

  /** Closes data connections as the original does. */
  closeData(): void {
    for (const data of [...this.datas]) data.close();
  }

  /** Its connections break, as when its network does; it lives on. */
  cut(): void {
    this.control?.socket.resetAndDestroy();
    this.closeData();
  }

  /** The process is gone: every connection with it, and nothing more is dialled. */
  stop(): void {
    this.stopped = true;
    this.reconnecting?.cancel();
    this.control?.end("stopped");
    this.closeData();
    this.changes.changed();
  }

  private async dial(): Promise<void> {
    const { url, key, token, clock, handshakeTimeoutMs, hijack = false } = this.options;
    const path = `/api/v1/revdial?runnerid=${key}`;
    const upgrade = { origin: url, path, token, clock, timeoutMs: handshakeTimeoutMs, hijack };
    const upgraded = await goUpgrade(upgrade);
    if (this.stopped) return void upgraded.socket.destroy();
    this.controls += 1;
    this.control = new GoControl(upgraded, this.options, {
      onHeard: (frame) => this.heard.push({ atMs: clock.now(), frame }),
      onRead: (isWhole) => {
        if (!isWhole) this.straddled += 1;
        this.changes.changed();
      },
      onLine: (line) => this.onLine(line),
      onPong: (payload) => void this.pongs.push(payload),
      onEnd: (why, code) => this.onControlEnd(why, code),
    });
    this.control.start(upgraded.early);
    this.changes.changed();
  }

  private onControlEnd(why: string, closeCode: number | undefined): void {
    const { crashes, reconnectMs, clock } = this.options;
    this.ends.push(why);
    if (closeCode !== undefined) this.closeCodes.push(closeCode);
    this.lostOnControl += this.control?.bytesLost ?? 0;
    this.control = undefined;
    if (crashes && why.startsWith("a bad line") && this.pickupsUnderWay > 0) {
      this.crashed = true;
      this.stop();
    }
    if (!this.stopped) this.reconnecting = clock.setTimer(reconnectMs, () => void this.redial());
    this.changes.changed();
  }

  /** As often as it takes: 401 and 403 are no reason to stop. */
  private async redial(): Promise<void> {
    const { reconnectMs, clock } = this.options;
    await this.dial().catch((error: HandshakeFailed) => {
      this.ends.push(`${error.status} ${error.message}`);
      if (!this.stopped) this.reconnecting = clock.setTimer(reconnectMs, () => void this.redial());
      this.changes.changed();
    });
  }

  /** Throws for what ends the connection. */
  private onLine(line: string): void {
    this.lines.push(line);
    let message: { command?: unknown; connPath?: unknown };
    try {
      message = JSON.parse(line) as typeof message;
    } catch {
      throw new ReadEnded(`a bad line: ${line}`);
    }
    if (message.command === "conn-ready") void this.pickUp(String(message.connPath));
  }

  private async pickUp(connPath: string): Promise<void> {
    const { url, clock, pickupPath, target, dataReader = "whole" } = this.options;
    const path = pickupPath === "literal" ? connPath : connPath.replace("/revdial", "/api/v1/revdial");
    const token = "pickupToken" in this.options ? this.options.pickupToken : this.options.token;
    this.pickups += 1;
    this.pickupsUnderWay += 1;
    const timeoutMs = Math.min(PICKUP_DEADLINE_MS, this.options.handshakeTimeoutMs);
    try {
      const upgraded = await goUpgrade({ origin: url, path, token, clock, timeoutMs });
      this.pickupsOpened += 1;
      if (this.stopped) return void upgraded.socket.destroy();
      const onClosed = (lost: number) => {
        this.lostOnData += lost;
        this.datas.delete(data);
        this.changes.changed();
      };
      const data = new GoDataConnection(upgraded, { target, kind: dataReader, clock, onClosed });
      this.datas.add(data);
    } catch (error) {
      if (!(error instanceof HandshakeFailed)) throw error;
      this.refusals.push(error);
      this.control?.sendLine({ command: "pickup-failed", connPath, err: error.message });
    } finally {
      this.pickupsUnderWay -= 1;
      this.changes.changed();
    }
  }
}
