/**
 * What the agent shows to its control plane: a proof by its own key, which it enrols when it has none; the token, inside a sandbox
 * and to a control plane of before agents had keys. Whoever else needs a private key asks here; none is logged, or in an error.
 */
import {
  type AgentChallenge,
  type AgentInventory,
  CONTROL_SERVICE,
  type Enrollment,
  type ProofPurpose,
  RENEW_PATH,
  Renewal,
} from "@wolfpack/api-contract";
import type { Tunnel } from "revdial";
import { type AgentConfig, ConfigError } from "../config.ts";
import { askChallenge, enroll, RegistrationFailed, register } from "../control-plane.ts";
import type { Log } from "../logger.ts";
import { describeSetting } from "../settings.ts";
import {
  emptyKeyFile,
  type KeyFile,
  type KeyFilePlace,
  readKeyFile,
  type StoredKey,
  writeKeyFile,
} from "./key-file.ts";
import { newPrivateKey, proofHeader, publicKeyOf, signProof } from "./proof.ts";

export interface CredentialOptions {
  config: AgentConfig;
  inventory: AgentInventory;
  /** Undefined without a state directory: then no key can be kept. */
  place: KeyFilePlace | undefined;
  log: Log;
  /** Milliseconds since 1970. */
  wallClock: () => number;
  /** What the key file holds. Default: it is read. */
  found?: KeyFile;
}

/** The key is enrolled and waits for an admin. */
export class EnrolmentPending extends Error {
  override readonly name = "EnrolmentPending";
  readonly keyId: string;

  constructor({ key_id: keyId, name }: Enrollment) {
    super(
      `the key ${keyId} waits for approval: ${name} has had another key. An admin approves it (POST /api/v1/agent-keys/${keyId}/approve) if this host is to be ${name}`,
    );
    this.keyId = keyId;
  }
}

/** For one dial. */
export interface DialCredential {
  /** Made anew for each way that is tried. */
  headers: () => Promise<Record<string, string>>;
  /** The dial has brought this tunnel. */
  opened(tunnel: Tunnel): void;
}

export interface Credential {
  /** What is enrolled, for people. */
  readonly enrolled: Pick<StoredKey, "id" | "expires_at" | "issued_at"> | undefined;
  /** What the control plane calls this wolf; undefined until it is enrolled. */
  readonly wolfId: string | undefined;
  /** It has a key, and shows that. */
  readonly keyed: boolean;
  /** Until a dial makes sense: enrols, or registers. Rejects with RegistrationFailed, EnrolmentPending or ConfigError. */
  prepare(signal: AbortSignal): Promise<void>;
  /** With a new key, also where there is one. Rejects as `prepare` does. */
  enrol(signal: AbortSignal): Promise<void>;
  forDial(signal: AbortSignal, purpose?: "connect" | "diagnose"): DialCredential;
  /** The control plane has refused, with this code, what opened no tunnel: whether another try can go otherwise. */
  refused(code: string | undefined): boolean;
  /** Through a tunnel that a key of ours has opened. Rejects where the key stays. */
  renew(tunnel: Tunnel, signal: AbortSignal): Promise<void>;
}

const RENEW_TIMEOUT_MS = 15_000;
const REPLY_BYTES_MAX = 64 * 1024;

/** Throws ConfigError for a key file that cannot be used. */
export function createCredential(options: CredentialOptions): Credential {
  return new KeyCredential(options);
}

class KeyCredential implements Credential {
  private readonly options: CredentialOptions;
  private file: KeyFile | undefined;
  /** The control plane knows nothing of keys. */
  private older = false;
  private olderSaid = false;
  /** It does not know ours: a new one is needed. */
  private lost = false;
  private refusals = 0;
  private readonly openedWith = new WeakMap<Tunnel, StoredKey>();

  constructor(options: CredentialOptions) {
    this.options = options;
    const { found, place } = options;
    this.file = found ?? (place === undefined ? undefined : readKeyFile(place));
  }

  get wolfId(): string | undefined {
    return this.file?.wolf_id ?? undefined;
  }

  get enrolled(): StoredKey | undefined {
    return this.file?.key ?? undefined;
  }

  get keyed(): boolean {
    const { sessionId } = this.options.config;
    return sessionId === undefined && !this.older && this.enrolled !== undefined;
  }

  async prepare(signal: AbortSignal): Promise<void> {
    const { config, place, inventory } = this.options;
    if (this.lost) this.lookAgain();
    if (config.sessionId !== undefined || (this.keyed && !this.lost)) return;
    const bearer = config.joinToken || config.token;
    if (bearer === "" && this.enrolled === undefined) throw config.tokenMissing ?? noToken();
    if (place === undefined) {
      if (config.token === "") throw noFolder();
      return register(config, inventory, signal);
    }
    const challenge = await this.challenge(signal);
    if (challenge === undefined) return register(config, inventory, signal);
    if (this.enrolled !== undefined && !this.lost) return;
    try {
      await this.enrolWith(challenge, signal);
    } catch (error) {
      // Not with this token: the key that was refused has another try, in time.
      if (error instanceof RegistrationFailed && (error.status === 401 || error.status === 403))
        this.lost = false;
      throw error;
    }
  }

  forDial(signal: AbortSignal, purpose: "connect" | "diagnose" = "connect"): DialCredential {
    let used: StoredKey | undefined;
    return {
      headers: async () => {
        used = this.keyed ? this.enrolled : undefined;
        const { config } = this.options;
        if (used === undefined) return { authorization: `Bearer ${config.token}` };
        const challenge = await this.challenge(signal);
        if (challenge === undefined)
          throw new RegistrationFailed("the control plane knows no keys of agents any more", { status: 404 });
        return { authorization: this.proof(used, purpose, challenge) };
      },
      opened: (tunnel) => {
        this.refusals = 0;
        if (used === undefined) return;
        this.openedWith.set(tunnel, used);
        if (this.file?.key?.id === used.id && this.file.previous !== null)
          this.keep({ ...this.file, previous: null });
      },
    };
  }

  refused(code: string | undefined): boolean {
    if (this.older) {
      // It may have been upgraded in this very moment: the next try asks.
      this.refusals += 1;
      return this.refusals === 1 && code !== undefined;
    }
    if (!this.keyed || this.lost || code !== "unauthenticated") return false;
    // Another agent of this host, or `enroll`, may have written another key.
    if (this.lookAgain()) return true;
    this.refusals += 1;
    // Whatever answered so once may answer otherwise.
    if (this.refusals === 1) return true;
    const { file } = this;
    if (file?.previous) {
      this.file = { ...file, key: file.previous, previous: null };
      return true;
    }
    this.refusals = 0;
    const { joinToken, token } = this.options.config;
    this.lost = joinToken !== "" || token !== "";
    return this.lost;
  }

  async renew(tunnel: Tunnel, signal: AbortSignal): Promise<void> {
    const { place, config, wallClock } = this.options;
    const { file } = this;
    const old = this.openedWith.get(tunnel);
    if (place === undefined || file?.wolf_id == null || file.key === null || old === undefined)
      throw new Error("the tunnel was not opened by a key");
    const privateKey = newPrivateKey();
    const { host } = config.apiUrl;
    const time = new Date(wallClock()).toISOString();
    const { signature, publicKey } = signProof(privateKey, {
      purpose: "renew",
      host,
      wolf: file.wolf_id,
      nonce: old.id,
      time,
    });
    const reply = await tunnel.request({
      service: CONTROL_SERVICE,
      method: "POST",
      path: RENEW_PATH,
      headers: [["content-type", "application/json"]],
      body: Buffer.from(JSON.stringify({ public_key: publicKey, host, time, signature })),
      deadlineMs: RENEW_TIMEOUT_MS,
      signal,
    });
    const text = await readBody(reply.body);
    if (reply.status !== 201)
      throw new Error(`the control plane answered with status ${reply.status}${problemIn(text)}`);
    const { key_id: id, expires_at } = Renewal.parse(JSON.parse(text));
    const key = { id, private_key: privateKey, issued_at: new Date(wallClock()).toISOString(), expires_at };
    const renewed = { ...file, key, previous: file.key };
    // Only a key that survives this process is used: the control plane ends the old one soon after.
    writeKeyFile(place, renewed);
    this.file = renewed;
  }

  /** Undefined: this control plane has none, and the RUNNER_TOKEN serves instead. */
  private async challenge(signal: AbortSignal): Promise<AgentChallenge | undefined> {
    const { config, log } = this.options;
    try {
      const challenge = await askChallenge(config, signal);
      this.older = false;
      return challenge;
    } catch (error) {
      if (!(error instanceof RegistrationFailed && error.status === 404 && error.code === "not-found"))
        throw error;
      if (config.token === "")
        throw new RegistrationFailed(
          "the control plane knows no keys of agents: it is older than this agent",
          { status: 404, cause: error },
        );
      this.older = true;
      if (!this.olderSaid)
        log.info("the control plane knows no keys of agents: goes on with the RUNNER_TOKEN");
      this.olderSaid = true;
      return undefined;
    }
  }

  private proof(key: StoredKey, purpose: ProofPurpose, { nonce }: AgentChallenge): string {
    const { config, wallClock } = this.options;
    const { host } = config.apiUrl;
    const time = new Date(wallClock()).toISOString();
    const wolf = this.file?.wolf_id ?? "";
    const { signature } = signProof(key.private_key, { purpose, host, wolf, nonce, time });
    return proofHeader({ key_id: key.id, host, nonce, time, signature });
  }

  async enrol(signal: AbortSignal): Promise<void> {
    return this.enrolWith(await askChallenge(this.options.config, signal), signal);
  }

  private async enrolWith(challenge: AgentChallenge, signal: AbortSignal): Promise<void> {
    if (this.options.place === undefined) throw noFolder();
    const { lost, enrolled } = this;
    const candidate = this.file?.candidate ?? undefined;
    if (!lost || enrolled === undefined || candidate !== undefined)
      return this.show(candidate ?? newPrivateKey(), challenge, signal);
    // A key that has expired comes back by itself, where another one of this name would wait for an admin.
    try {
      await this.show(enrolled.private_key, challenge, signal);
    } catch (error) {
      if (!isForgone(error)) throw error;
      await this.show(newPrivateKey(), await askChallenge(this.options.config, signal), signal);
    }
  }

  private async show(privateKey: string, { nonce }: AgentChallenge, signal: AbortSignal): Promise<void> {
    const { config, place, inventory, log, wallClock } = this.options;
    if (place === undefined) throw noFolder();
    const bearer = config.joinToken || config.token;
    const file = this.file ?? emptyKeyFile(place);
    const waiting = { ...file, candidate: privateKey };
    if (privateKey !== file.key?.private_key) {
      // Before it is shown: an answer that is not heard would else leave a key that nobody has.
      this.file = waiting;
      writeKeyFile(place, waiting);
    }
    const { host } = config.apiUrl;
    const name = config.wolfId;
    const time = new Date(wallClock()).toISOString();
    const { signature } = signProof(privateKey, { purpose: "enroll", host, wolf: name, nonce, time });
    const proof = { public_key: publicKeyOf(privateKey), host, nonce, time, signature };
    const body = {
      ...inventory,
      name,
      address: config.address,
      ...proof,
    };
    const enrolment = await enroll(config, { bearer, body, signal }).catch((error: unknown) => {
      if (isForgone(error)) this.keep({ ...file, candidate: null });
      throw error;
    });
    if (enrolment.status !== "active") {
      if (this.file?.candidate !== privateKey) this.keep(waiting);
      throw new EnrolmentPending(enrolment);
    }
    const { key_id: id, wolf_id, expires_at } = enrolment;
    const issued_at = new Date(wallClock()).toISOString();
    const key = { id, private_key: privateKey, issued_at, expires_at };
    this.keep({ ...emptyKeyFile(place), wolf_id, key });
    this.lost = false;
    this.refusals = 0;
    log.info({ wolf_id, key_id: id, expires_at }, "enrolled");
  }

  /** What cannot be written now holds for this process: the candidate is kept and asks again after the next start. */
  private keep(file: KeyFile): void {
    const { place, log } = this.options;
    this.file = file;
    try {
      if (place !== undefined) writeKeyFile(place, file);
    } catch (error) {
      log.warn({ reason: (error as Error).message }, "the key file cannot be written");
    }
  }

  /** Whether the file has another key now. */
  private lookAgain(): boolean {
    const { place } = this.options;
    try {
      const found = place === undefined ? undefined : readKeyFile(place);
      if (!found?.key || found.key.id === this.file?.key?.id || found.key.id === this.file?.previous?.id)
        return false;
      this.file = found;
      this.lost = false;
      this.refusals = 0;
      return true;
    } catch {
      return false;
    }
  }
}

const noFolder = () =>
  new ConfigError(
    `${describeSetting("stateDir")} has to name a directory that can be used: the agent keeps its key there.`,
  );
/** The key that was shown will never open anything. */
const isForgone = (error: unknown) =>
  error instanceof RegistrationFailed && /^agent-key-(revoked|in-use)$/.test(error.code ?? "");
const noToken = () => new ConfigError("There is neither a key nor a token.");

async function readBody(body: AsyncIterable<Uint8Array>): Promise<string> {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of body) {
    bytes += chunk.byteLength;
    if (bytes > REPLY_BYTES_MAX) throw new Error("the control plane's answer is too long");
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString("utf8");
}

function problemIn(text: string): string {
  try {
    const { code, detail } = JSON.parse(text) as Record<string, unknown>;
    return typeof detail === "string" ? ` (${code}: ${detail.slice(0, 200)})` : "";
  } catch {
    return "";
  }
}
