/** Creating requests that have a key, as the rest of the program sees them. */

/** A request under a key. */
export interface Asked {
  owner: string;
  /** Never the key as it was sent. */
  key: string;
  operation: string;
  requestHash: Uint8Array<ArrayBuffer>;
}

/** That this process serves it: a lease. */
export interface Claim extends Asked {
  /** With owner and key it tells this claim from later ones. */
  createdAt: Date;
  /** Until then, and then until what `renew` says, nobody else may make the request; afterwards its process counts as lost. */
  expiresAt: Date;
}

/** What the first request left. */
export interface Earlier {
  operation: string;
  requestHash: Uint8Array;
  /** Undefined while it runs. */
  answer: Uint8Array | undefined;
}

export interface IdempotencyStore {
  /** Undefined: it is the caller's now. One guarded statement: of many at once, one gets it. */
  claim(claim: Claim): Promise<Earlier | undefined>;
  /** False: somebody else has it, or it was answered or released. */
  renew(claim: Claim, until: Date): Promise<boolean>;
  /** Of a claim that was lost meanwhile nothing is kept. */
  keep(claim: Claim, status: number, answer: Uint8Array<ArrayBuffer>, expiresAt: Date): Promise<void>;
  /** The same request may be made again. */
  release(claim: Claim): Promise<void>;
}
