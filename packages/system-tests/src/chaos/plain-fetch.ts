/** fetch with a connection for each request: a pool would give out connections that a middle box has forgotten, one after the other. */
import { Agent, fetch as undiciFetch } from "undici";

export interface PlainFetch {
  fetch: typeof fetch;
  /** Ends what is open. */
  close(): Promise<void>;
}

export function plainFetch(): PlainFetch {
  const dispatcher = new Agent({ pipelining: 0 });
  return {
    // The same function as the built-in one, of another version of the same library.
    fetch: ((input: string | URL, init?: object) =>
      undiciFetch(input, { ...init, dispatcher })) as unknown as typeof fetch,
    close: () => dispatcher.destroy(),
  };
}
