/** What a command gets of its process: streams, time, chance, network. The process itself is known in cli.ts only. */

export interface Terminal {
  isTTY: boolean;
  /** Undefined where it is no terminal. */
  columns: number | undefined;
  rows?: number | undefined;
  /** Resolves once there is room for more. */
  write(data: string | Uint8Array): Promise<void>;
}

export interface Input extends AsyncIterable<Uint8Array> {
  isTTY: boolean;
}

export interface Edges {
  version: string;
  env: Readonly<Record<string, string | undefined>>;
  /** The folder of whoever runs it. */
  home: string;
  stdin: Input;
  stdout: Terminal;
  stderr: Terminal;
  fetch: typeof fetch;
  /** Milliseconds since 1970. */
  now: () => number;
  /** From 0 up to 1. */
  random: () => number;
  /** Resolves after so long, or as soon as the signal aborts. */
  pause: (ms: number, signal: AbortSignal) => Promise<void>;
  /** Aborts after so long. */
  limit: (ms: number) => AbortSignal;
  /** Shows a question and reads one line from the terminal, unseen if so asked. */
  ask: (question: string, options: { hidden: boolean }) => Promise<string>;
  newId: () => string;
  /** Ctrl-C, or nobody reads the output any more. */
  signal: AbortSignal;
}
