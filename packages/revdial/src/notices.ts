/** Who listens to the peer's notices. A listener that throws does not keep the next from hearing. */
import { RevdialError } from "./errors.ts";

export type NoticeListener = (type: string, payload: Uint8Array) => void;

/** Error: ARGUMENT. */
export function checkNotice(type: string, payload: Uint8Array): void {
  if (typeof type !== "string" || !(payload instanceof Uint8Array))
    throw new RevdialError("ARGUMENT", "a notice is a text and a Uint8Array");
}

/** Error: ARGUMENT. */
export function checkListener(listener: NoticeListener): void {
  if (typeof listener !== "function") throw new RevdialError("ARGUMENT", "a listener is a function");
}

export class NoticeListeners {
  private readonly listeners = new Set<NoticeListener>();
  private readonly report: (error: unknown) => void;

  constructor(report: (error: unknown) => void) {
    this.report = report;
  }

  /** Returns the way to stop listening. */
  add(listener: NoticeListener): () => void {
    checkListener(listener);
    this.listeners.add(listener);
    return () => {
      this.listeners.delete(listener);
    };
  }

  deliver(type: string, payload: Uint8Array): void {
    for (const listener of [...this.listeners]) {
      try {
        listener(type, payload);
      } catch (error) {
        this.report(error);
      }
    }
  }

  clear(): void {
    this.listeners.clear();
  }
}
