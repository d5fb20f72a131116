/**
 * The numbers besides `limits.ts`: what options are that a program leaves out, and what nobody sets. SPEC §8.1 and the comments on the
 * options repeat them; tests compare.
 */

/** By the options they stand in for. */
export const defaults = {
  tunnel: { pingIntervalMs: 5000, deadAfterMs: 14_500 },
  close: { retryAfterMs: 0, drainMs: 30_000 },
  dial: { handshakeTimeoutMs: 10_000, upgradeTimeoutMs: 5000 },
  set: { attemptsMax: 3, waitersMax: 64 },
  backoff: { backoffMinMs: 250, backoffMaxMs: 30_000 },
  acceptor: { tunnelsMax: 1024 },
  moveBack: { everyMs: 60_000, handoverMs: 10_000, drainMs: 600_000 },
} as const;

export const fixed = {
  /** Without answer, of a peer that is dead when it is silent as well. */
  pingsUnansweredMax: 3,
  /** The last of them leaves this long before its peer is dead, where this process is in time, and after the one before it. */
  pingAnswerMs: 2000,
  /** Of one peer: each may fail channels, so each looks at all of them (SPEC §11.2). */
  goawaysMax: 16,
  /** Left of ours when the tunnel asks to be replaced (SPEC §6.1). */
  channelNumbersKept: 4096,
  /** A peer that does not answer our WebSocket close in this time is cut off. */
  closeTimeoutMs: 1000,
  /** Of one message, and pieces in which the network brings what cannot be read yet (SPEC §2.2). */
  fragmentsMax: 16_384,
  piecesMax: 262_144,
  /** Answers to WebSocket pings that have not been written (SPEC §2.1). */
  pongsQueuedMax: 60,
  /** What a dialler is asked to wait when there is no room for its tunnel over HTTP. */
  fullRetryAfterMs: 5000,
  /** Body of one POST upwards that an acceptor takes. */
  postBytesMax: 1024 * 1024,
  /** And that we send: a slow path must carry it within the time for a try. */
  ownPostBytesMax: 256 * 1024,
  postTriesMax: 4,
  postTimeoutMs: 10_000,
  /** More each time, and none before the second try. */
  postRetryPauseMs: 100,
  /** What an acceptor that has ended a tunnel said last may be this much behind on its way downwards. */
  hearOutMs: 5000,
} as const;
