/** Waiting for a peer's state without asking again and again: whoever changes it says so. */

export class Changes {
  private waiting: (() => void)[] = [];

  changed(): void {
    for (const wake of this.waiting.splice(0)) wake();
  }

  /** Resolves once it holds. A test that waits in vain ends by its own timeout. */
  async until(holds: () => boolean): Promise<void> {
    while (!holds()) await new Promise<void>((resolve) => this.waiting.push(resolve));
  }
}
