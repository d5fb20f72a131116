/** One connection to an origin: its socket, its parser, and the one exchange at a time whose connection it is. */
import type { Clock, Timer } from "../clock.ts";
import { AnswerError } from "./origin-head.ts";
import { AnswerParser, type AnswerSink } from "./origin-parser.ts";
import { connectTo, type ForwardConnection, type ForwardTarget } from "./origin-target.ts";

export interface ConnectionUser extends AnswerSink {
  /** The origin has taken the connection. */
  onConnected(): void;
  /** Another connection has become free before its own was there: it has this one from now on. */
  onGiven(connection: OriginConnection): void;
  /** It is gone, or its answer cannot be used: it is nobody's any more. */
  onLost(error: Error): void;
  /** There is room for more of the request. */
  onDrain(): void;
}

/** How one is opened. */
export interface ConnectionOptions {
  target: ForwardTarget;
  connectTimeoutMs: number;
  clock: Clock;
  /** Each direction ends by itself: for upgrades. */
  halfOpen: boolean;
}

/** Whose connections they are. */
export interface ConnectionOwner {
  /** It has been taken, or it is lost before that. */
  settled(connection: OriginConnection): void;
  /** It has been taken, and the one who wanted it has got another. */
  spare(connection: OriginConnection): void;
  /** It died while it was nobody's. */
  gone(connection: OriginConnection): void;
}

export class OriginConnection {
  readonly socket: ForwardConnection;
  readonly parser = new AnswerParser();
  /** The origin has taken it. */
  connected = false;
  /** Something has come for its user of now. */
  heard = false;
  /** Until when it may be kept unused. */
  keptUntilMs = 0;
  private user: ConnectionUser | undefined;
  /** Its socket belongs to somebody else. */
  private given = false;
  private readonly owner: ConnectionOwner;
  private readonly timer: Timer;

  constructor(options: ConnectionOptions, user: ConnectionUser, owner: ConnectionOwner) {
    const { target, connectTimeoutMs, clock, halfOpen } = options;
    this.user = user;
    this.owner = owner;
    this.socket = connectTo(target, halfOpen);
    this.timer = clock.setTimer(connectTimeoutMs, () => this.lost(new Error("connect timeout")));
    this.socket
      .on("connect", () => this.opened())
      .on("data", this.onData)
      .on("drain", () => this.user?.onDrain())
      .on("end", () => this.ended())
      .on("error", (error) => this.lost(error))
      .on("close", () => this.lost(cut()));
  }

  private opened(): void {
    this.timer.cancel();
    this.connected = true;
    this.owner.settled(this);
    if (this.user !== undefined) this.user.onConnected();
    else this.owner.spare(this);
  }

  /** Its user, who still waits for it, takes another one. */
  exchange(other: OriginConnection): void {
    const user = this.user as ConnectionUser;
    this.user = undefined;
    const { pending, connecting } = this.socket;
    // Nobody has begun to bring it: nobody needs to.
    if (pending && !connecting) this.lost(cut());
    other.use(user);
    user.onGiven(other);
  }

  /** It has a new user. */
  use(user: ConnectionUser): void {
    this.user = user;
    this.heard = false;
    this.socket.ref?.();
  }

  /** Its user is done with it, and another may have it. It keeps no process alive meanwhile. */
  release(): void {
    this.user = undefined;
    this.socket.unref?.();
  }

  /** Its user does not want it any more, nor should anybody. */
  destroy(): void {
    this.user = undefined;
    this.lost(cut());
  }

  /** Gives the socket away, paused: nothing of what happens to it concerns us from now on. */
  give(): ForwardConnection {
    this.user = undefined;
    this.given = true;
    return this.socket.off("data", this.onData).pause();
  }

  private readonly onData = (bytes: Buffer): void => {
    // Nobody has asked: whatever it says, and to whom, nobody will know.
    if (this.user === undefined) return this.lost(cut());
    this.heard = true;
    try {
      this.parser.feed(bytes);
    } catch (error) {
      this.lost(error as Error);
    }
  };

  private ended(): void {
    if (this.given) return;
    try {
      if (this.user !== undefined) this.parser.end();
      else this.lost(cut());
    } catch (error) {
      this.lost(error as Error);
    }
  }

  private lost(error: Error): void {
    if (this.given) return;
    const { user } = this;
    this.user = undefined;
    this.timer.cancel();
    this.parser.stop();
    this.socket.destroy();
    this.owner.settled(this);
    if (user !== undefined) user.onLost(error);
    else this.owner.gone(this);
  }
}

const cut = () => new AnswerError("ANSWER_CUT", "broke off its answer");
