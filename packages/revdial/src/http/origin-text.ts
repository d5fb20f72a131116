/** Text that ends with a mark, from bytes that may be cut anywhere, also within the mark: copied only when it was cut. */
import { AnswerError, malformed } from "./origin-head.ts";

const CR = 0x0d;
const LF = 0x0a;
/** Where the room for a text that was cut begins; it doubles as needed. */
const FIRST_BYTES = 512;
const empty = Buffer.alloc(0);

export class HeldText {
  /** Where the mark ends in the bytes that were given last. */
  next = 0;
  private held = empty;
  private heldBytes = 0;

  get isHeld(): boolean {
    return this.heldBytes > 0;
  }

  clear(): void {
    this.held = empty;
    this.heldBytes = 0;
  }

  /**
   * The text from `at` on, together with what is held, up to the mark; undefined when that has not come yet, and then all is
   * held. The mark begins with CR and LF. Errors: ANSWER_TOO_LARGE for more than `bytesMax`, ANSWER_MALFORMED for a line that
   * ends with LF alone, as soon as it is here.
   */
  until(bytes: Buffer, at: number, mark: Buffer, bytesMax: number): string | undefined {
    if (this.heldBytes > 0) return this.joined(bytes, at, mark, bytesMax);
    const end = bytes.indexOf(mark, at);
    if (end >= 0) {
      if (end - at > bytesMax) throw tooLarge(bytesMax);
      this.next = end + mark.length;
      return bytes.toString("latin1", at, end);
    }
    this.append(bytes, at, mark, bytesMax);
    this.checkLines(0);
    return undefined;
  }

  private joined(bytes: Buffer, at: number, mark: Buffer, bytesMax: number): string | undefined {
    const before = this.heldBytes;
    this.append(bytes, at, mark, bytesMax);
    const end = this.held.subarray(0, this.heldBytes).indexOf(mark, Math.max(0, before - mark.length + 1));
    if (end < 0) {
      this.checkLines(before);
      if (this.heldBytes === bytesMax + mark.length) throw tooLarge(bytesMax);
      return undefined;
    }
    const text = this.held.toString("latin1", 0, end);
    this.next = at + end + mark.length - before;
    this.clear();
    return text;
  }

  /** As much as can still be text and mark. */
  private append(bytes: Buffer, at: number, mark: Buffer, bytesMax: number): void {
    const before = this.heldBytes;
    const end = Math.min(bytes.length, at + bytesMax + mark.length - before);
    if (before === 0 && end < bytes.length) throw tooLarge(bytesMax);
    this.hold(bytes.subarray(at, end));
  }

  /** Of what is held from `from` on: who never sends CR would be waited for in vain. Error: ANSWER_MALFORMED. */
  private checkLines(from: number): void {
    const { held, heldBytes } = this;
    for (let lf = held.indexOf(LF, from); lf >= 0 && lf < heldBytes; lf = held.indexOf(LF, lf + 1))
      if (held[lf - 1] !== CR) throw malformed("ended a line with LF alone");
  }

  hold(bytes: Uint8Array): void {
    const total = this.heldBytes + bytes.length;
    if (total > this.held.length) {
      const larger = Buffer.allocUnsafe(Math.max(FIRST_BYTES, 2 * this.held.length, total));
      larger.set(this.held.subarray(0, this.heldBytes));
      this.held = larger;
    }
    this.held.set(bytes, this.heldBytes);
    this.heldBytes = total;
  }

  /** Whether what is held is the beginning of this, or this the beginning of what is held. */
  beginsAs(text: string): boolean {
    const bytes = Math.min(text.length, this.heldBytes);
    return this.held.toString("latin1", 0, bytes) === text.slice(0, bytes);
  }
}

function tooLarge(bytesMax: number): AnswerError {
  return new AnswerError("ANSWER_TOO_LARGE", `sent a head or a line of more than ${bytesMax} bytes`);
}
