/** Follows the stream of events through a bad network, as a careful client does: what is silent is left, and taken up where it broke. */

export interface ReadEvent {
  id: string;
  kind: string;
  session_id: string | null;
  wolf_instance_id: string | null;
  detail: Record<string, unknown>;
}

export interface EventReaderOptions {
  url: string;
  apiKey: string;
  fetch: typeof fetch;
  /** Behind which it begins. */
  cursor: string;
  /** A stream that says nothing for so long is lost. */
  silentMsMax: number;
}

export interface EventReader {
  /** In the order of their coming; those that came twice are here twice. */
  readonly events: readonly ReadEvent[];
  /** How often a stream had to be taken up again. */
  readonly resumed: () => number;
  /** Words of the stream that something is missing. */
  readonly missed: readonly string[];
  stop(): Promise<void>;
}

const AGAIN_MS = 200;

export function readEvents(options: EventReaderOptions): EventReader {
  const { url, apiKey, silentMsMax, fetch } = options;
  const events: ReadEvent[] = [];
  const missed: string[] = [];
  const stopped = new AbortController();
  let last = options.cursor;
  let streams = 0;

  function take(block: string): void {
    const fields = new Map(
      block.split("\n").map((line): [string, string] => {
        const colon = line.indexOf(": ");
        return colon > 0 ? [line.slice(0, colon), line.slice(colon + 2)] : ["", line];
      }),
    );
    const data = fields.get("data");
    const name = fields.get("event");
    if (name === "missed") missed.push(data ?? "");
    if (data === undefined || name !== undefined) return;
    const event = JSON.parse(data) as ReadEvent;
    events.push(event);
    last = fields.get("id") ?? event.id;
  }

  async function follow(): Promise<void> {
    const silence = new AbortController();
    let timer = setTimeout(() => silence.abort(), silentMsMax);
    try {
      const reply = await fetch(`${url}/api/v1/events`, {
        headers: {
          accept: "text/event-stream",
          authorization: `Bearer ${apiKey}`,
          "last-event-id": last,
        },
        signal: AbortSignal.any([stopped.signal, silence.signal]),
      });
      if (reply.status !== 200 || reply.body === null) return;
      let rest = "";
      for await (const text of reply.body.pipeThrough(new TextDecoderStream())) {
        clearTimeout(timer);
        timer = setTimeout(() => silence.abort(), silentMsMax);
        const blocks = (rest + text).split("\n\n");
        rest = blocks.pop() ?? "";
        for (const block of blocks) take(block);
      }
    } finally {
      clearTimeout(timer);
    }
  }

  async function run(): Promise<void> {
    while (!stopped.signal.aborted) {
      streams += 1;
      // However it broke, the next stream goes on behind what has come.
      await follow().catch(() => undefined);
      if (!stopped.signal.aborted) await new Promise((resolve) => setTimeout(resolve, AGAIN_MS));
    }
  }

  const running = run();
  return {
    events,
    resumed: () => streams - 1,
    missed,
    async stop() {
      stopped.abort();
      await running;
    },
  };
}
