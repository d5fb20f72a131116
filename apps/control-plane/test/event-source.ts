/** A reader of server-sent events over a real connection, which can stop reading. */
import { once } from "node:events";
import { get, type IncomingMessage } from "node:http";
import { FleetEvent } from "@wolfpack/api-contract";

export interface Said {
  event: string;
  id: string | undefined;
  data: string;
}

export interface EventReader {
  status: number;
  headers: IncomingMessage["headers"];
  /** All so far, in order; comments are events named ":". */
  said: readonly Said[];
  /** The body of a refusal. */
  body: () => string;
  /** The events of the fleet among them. */
  events: () => FleetEvent[];
  /** Rejects after 5 s, with what was said. */
  until: (what: (said: readonly Said[]) => boolean) => Promise<void>;
  kinds: (count: number) => Promise<string[]>;
  /** The server has ended it. */
  ended: Promise<unknown>;
  stopReading: () => void;
  goOn: () => void;
  close: () => void;
}

const WAIT_MS = 5000;

export async function readEvents(
  url: string,
  headers: Record<string, string>,
  query = "",
  method = "GET",
): Promise<EventReader> {
  const asked = get(`${url}/api/v1/events${query}`, {
    agent: false,
    method,
    headers: { accept: "text/event-stream", ...headers },
  });
  const [answer] = (await once(asked, "response")) as [IncomingMessage];
  const said: Said[] = [];
  let text = "";
  let wake = Promise.withResolvers<void>();
  answer.setEncoding("utf8");
  answer.on("data", (chunk: string) => {
    text += chunk;
    let end = text.indexOf("\n\n");
    for (; end >= 0 && answer.statusCode === 200; end = text.indexOf("\n\n")) {
      said.push(parse(text.slice(0, end)));
      text = text.slice(end + 2);
    }
    wake.resolve();
    wake = Promise.withResolvers();
  });
  // Hung up: that it ended is all that is asked for.
  const ended = new Promise((resolve) => answer.once("close", resolve));
  answer.on("error", () => undefined);
  asked.on("error", () => undefined);

  async function until(what: (said: readonly Said[]) => boolean): Promise<void> {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => reject(new Error(`never said: ${JSON.stringify(said)}`)), WAIT_MS);
    });
    try {
      while (!what(said)) await Promise.race([wake.promise, late]);
    } finally {
      clearTimeout(timer);
    }
  }
  const events = () =>
    said.flatMap(({ event, data }) => (event === "message" ? [FleetEvent.parse(JSON.parse(data))] : []));
  return {
    status: answer.statusCode ?? 0,
    headers: answer.headers,
    said,
    body: () => text,
    events,
    until,
    async kinds(count) {
      await until(() => events().length >= count);
      return events().map(({ kind }) => kind);
    },
    ended,
    stopReading: () => void answer.pause(),
    goOn: () => void answer.resume(),
    close: () => void asked.destroy(),
  };
}

/** As the HTML standard has it, for what we send: no field comes twice. */
function parse(block: string): Said {
  const fields = new Map(
    block.split("\n").map((line) => {
      const colon = line.indexOf(": ");
      return [line.slice(0, colon), line.slice(colon + 2)] as const;
    }),
  );
  const event = block.startsWith(":") ? ":" : (fields.get("event") ?? (fields.has("data") ? "message" : ""));
  return { event, id: fields.get("id"), data: fields.get("data") ?? block };
}
