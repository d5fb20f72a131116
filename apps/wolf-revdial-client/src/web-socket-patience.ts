/**
 * How long the WebSocket of a dial may take before plain HTTP is tried. Where one has worked, silence is first that of a server to which
 * a whole fleet comes back at once: HTTP would cost it several times as much, and make it slower still.
 */
import { type DialOptions, RevdialError, type Tunnel } from "revdial";

/** As long as a whole dial: plain HTTP is not tried. */
const PATIENT_MS = 10_000;
const PATIENT_DIALS = 2;

export class WebSocketPatience {
  private left = 0;

  /** For the next dial. Nothing: as long as revdial gives it, 5 s. */
  get dialOptions(): Pick<DialOptions, "upgradeTimeoutMs"> {
    return this.left > 0 ? { upgradeTimeoutMs: PATIENT_MS } : {};
  }

  came({ transport }: Pick<Tunnel, "transport">): void {
    this.left = transport === "websocket" ? PATIENT_DIALS : 0;
  }

  failed(error: unknown): void {
    if (error instanceof RevdialError && error.code === "DIAL_TIMEOUT")
      this.left = Math.max(0, this.left - 1);
  }
}
