/** One forwarded exchange: a request from the tunnel goes to the origin, and what the origin says goes back as it comes. */
import type { IncomingRequest, Reply } from "../tunnel.ts";
import { joinSockets } from "./join.ts";
import type { ConnectionUser, OriginConnection } from "./origin-connection.ts";
import type { AnswerHead, FieldList } from "./origin-head.ts";
import type { OriginPool } from "./origin-pool.ts";
import { isRepeatable, type RequestHead, requestHead, Upload } from "./origin-request.ts";
import { unreachable } from "./origin-target.ts";

/** Resolves when the answer has been given to `reply`, and an upgraded connection is over; rejects with what prevented it. */
export function forwardExchange(pool: OriginPool, request: IncomingRequest, reply: Reply): Promise<void> {
  return new OriginExchange(pool, request, reply).done;
}

class OriginExchange implements ConnectionUser {
  readonly done: Promise<void>;
  private readonly pool: OriginPool;
  private readonly request: IncomingRequest;
  private readonly reply: Reply;
  private head!: RequestHead;
  private connection: OriginConnection | undefined;
  /** The connection had other users before. */
  private kept = false;
  /** The request has left this host before. */
  private again = false;
  private paused = false;
  private upload: Upload | undefined;
  private resolve!: () => void;
  private reject!: (error: unknown) => void;

  constructor(pool: OriginPool, request: IncomingRequest, reply: Reply) {
    this.pool = pool;
    this.request = request;
    this.reply = reply;
    this.done = new Promise((resolve, reject) => {
      this.resolve = resolve;
      this.reject = reject;
      this.start();
    });
  }

  private start(): void {
    const { pool, request, reply } = this;
    if (reply.over) return this.resolve();
    this.head = requestHead(pool.host, request);
    const upgrade = request.upgrade !== undefined;
    this.connection = upgrade ? undefined : pool.take(this);
    this.kept = this.connection !== undefined;
    this.connection ??= pool.open(this, upgrade);
    if (this.kept && !this.connection.resting) this.send(this.connection);
    reply.onClose((error) => {
      if (error) this.fail(error);
    });
  }

  onConnected(): void {
    if (this.connection) this.send(this.connection);
  }

  onGiven(connection: OriginConnection): void {
    this.connection = connection;
    this.kept = true;
    if (!connection.resting) this.send(connection);
  }

  private send(connection: OriginConnection): void {
    const { request, head } = this;
    connection.ask(head.text, request.method, request.upgrade !== undefined, request.hasBody);
    if (!request.hasBody) return;
    const upload = new Upload(connection.socket, request, head.length);
    this.upload = upload;
    upload.run().catch((error: unknown) => {
      if (this.upload === upload) this.fail(error);
    });
  }

  onDrain(): void {
    this.upload?.resume();
  }

  onInterim(status: number, fields: FieldList): void {
    this.reply.interim(status, fields);
  }

  onHead({ status, fields }: AnswerHead): void {
    this.reply.head(status, fields);
  }

  onData(bytes: Buffer): void {
    const { reply, connection } = this;
    if (reply.write(bytes) || connection === undefined) return;
    this.paused = true;
    connection.socket.pause();
    reply.onDrain(() => {
      if (this.connection === connection) this.unpause(connection);
    });
  }

  private unpause(connection: OriginConnection): void {
    if (!this.paused) return;
    this.paused = false;
    connection.socket.resume();
  }

  onEnd(trailers: FieldList, keepMs: number): void {
    const { connection, request, reply, upload } = this;
    const uploaded = upload === undefined || upload.done;
    this.leave();
    if (connection !== undefined) {
      // What still waits to be written, its origin may never read: another request would wait behind it.
      const asked = uploaded && connection.socket.writableLength === 0;
      if (keepMs > 0 && asked && request.upgrade === undefined) {
        this.unpause(connection);
        this.pool.keep(connection, keepMs);
      } else connection.destroy();
    }
    try {
      // A byte stream that was refused has no trailers (SPEC §6.5).
      reply.end(undefined, request.upgrade === undefined ? trailers : undefined);
      this.resolve();
    } catch (error) {
      this.reject(error);
    }
  }

  onSwitch(fields: FieldList, rest: Buffer): void {
    const accepted = this.reply.accept(fields);
    const socket = this.connection?.give();
    this.leave();
    if (socket === undefined) return;
    if (rest.length > 0) socket.unshift(rest);
    joinSockets(accepted, socket).then(this.resolve, this.reject);
  }

  onLost(error: Error): void {
    const { connection, reply, request } = this;
    const asked = connection?.asked === true;
    const unheard = this.kept && connection?.heard === false && (!asked || isRepeatable(request));
    this.leave();
    if (unheard && !reply.over) {
      this.kept = false;
      this.again ||= asked;
      this.connection = this.pool.open(this, false);
    } else if (asked || this.again) this.reject(error);
    // Of a connection that fails at once nobody has heard yet.
    else this.reject(unreachable(error));
  }

  private fail(error: unknown): void {
    this.connection?.destroy();
    this.leave();
    this.reject(error);
  }

  /** The connection is not ours any more. */
  private leave(): void {
    this.connection = undefined;
    this.upload?.stop();
    this.upload = undefined;
  }
}
