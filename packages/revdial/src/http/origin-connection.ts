/** One connection to an origin: its socket, its parser, and the one exchange at a time whose connection it is. */
import type { Clock, Timer } from "../clock.ts";
import { AnswerError, malformed } from "./origin-head.ts";
import { AnswerParser, type AnswerSink } from "./origin-parser.ts";
import { connectTo, type ForwardConnection, type ForwardTarget } from "./origin-target.ts";

export interface ConnectionUser extends AnswerSink {
  /** It may ask on its connection now. */
  onConnected(): void;
  /** Another connection has become free before its own was there: it has this one from now on. While it rests, `onConnected` follows. */
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

/**
 * Turns of the event loop in which nothing may come before somebody asks, on a new connection and on one that has become free: what
 * comes with the handshake or with an answer, in the same segment, is read by then, and would else be the answer to what was not asked.
 * A new one has not been read at all.
 */
const NEW_TURNS = 2;
const FREE_TURNS = 1;

export class OriginConnection {
  readonly socket: ForwardConnection;
  readonly parser = new AnswerParser();
  /** Its user of now has asked: not before that anything may come. */
  asked = false;
  /** Nobody may ask on it yet. */
  resting = false;
  /** Something has come for its user of now. */
  heard = false;
  /** Until when it may be kept unused. */
  keptUntilMs = 0;
  private user: ConnectionUser | undefined;
  /** Its socket belongs to somebody else. */
  private given = false;
  /** The program has made it: what its peer says in one segment may come in pieces, one after the other in one turn. */
  private readonly rests: boolean;
  private readonly owner: ConnectionOwner;
  private readonly timer: Timer;

  constructor(options: ConnectionOptions, user: ConnectionUser, owner: ConnectionOwner) {
    const { target, connectTimeoutMs, clock, halfOpen } = options;
    this.user = user;
    this.owner = owner;
    this.rests = "connect" in target;
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
    this.rest(NEW_TURNS);
    this.owner.settled(this);
    if (this.user === undefined) this.owner.spare(this);
    else if (!this.resting) this.user.onConnected();
  }

  private rest(turns: number): void {
    if (!this.rests) return;
    this.resting = true;
    setImmediate(() => {
      if (turns > 1) return this.rest(turns - 1);
      this.resting = false;
      this.user?.onConnected();
    });
  }

  /** Begins the exchange of its user. `more`: there is a body. */
  ask(head: string, method: string, toUpgrade: boolean, more = false): void {
    const { socket } = this;
    this.asked = true;
    this.parser.begin(this.user as ConnectionUser, method, toUpgrade);
    // What is there of the body shares messages with the head.
    if (this.rests && more) {
      socket.cork();
      setImmediate(() => socket.uncork());
    }
    socket.write(head, "latin1");
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
    this.asked = false;
    this.heard = false;
    this.socket.ref?.();
  }

  /** Its user is done with it, and another may have it. It keeps no process alive meanwhile. */
  release(): void {
    this.user = undefined;
    if (!this.resting) this.rest(FREE_TURNS);
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
    if (this.user === undefined || !this.asked) return this.lost(early());
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

const early = () => malformed("spoke before it was asked");
const cut = () => new AnswerError("ANSWER_CUT", "broke off its answer");
