import { describe, expect, it } from "@jest/globals";
import type { TunnelRequest, TunnelResponse } from "revdial";
import type { TunnelLink } from "./helix/grace.ts";
import { type LinkOutcome, watchedLinks } from "./watched-links.ts";

const answer = (headers: [string, string][] = []) => ({ status: 200, headers }) as unknown as TunnelResponse;

function links(reply: () => Promise<TunnelResponse>, traceparent?: string) {
  const sent: TunnelRequest[] = [];
  const seen: (LinkOutcome | "failed")[] = [];
  const link: TunnelLink = {
    request(request) {
      sent.push(request);
      return reply();
    },
  };
  const known = (id: string) => (id === "known" ? link : undefined);
  const watched = watchedLinks(
    { wolf: known, sandbox: known },
    {
      async asking(_asked, ask, outcomeOf) {
        try {
          const response = await ask(traceparent);
          seen.push(outcomeOf(response));
          return response;
        } catch (error) {
          seen.push("failed");
          throw error;
        }
      },
    },
  );
  return { watched, sent, seen };
}

const request: TunnelRequest = { service: "wolf", method: "GET", path: "/x" };

describe("watched links", () => {
  it("lead where the others lead, and nowhere where those do", async () => {
    const { watched } = links(async () => answer());
    for (const find of [watched.wolf, watched.sandbox]) {
      expect(await find("known")).toBeDefined();
      expect(await find("unknown")).toBeUndefined();
    }
  });

  it("pass on what was asked and answered, unchanged while nothing is traced", async () => {
    const response = answer();
    const { watched, sent, seen } = links(async () => response);
    expect(await watched.wolf("known")?.request(request)).toBe(response);
    expect(sent[0]).toBe(request);
    expect(seen).toEqual([{ outcome: "answered" }]);
  });

  it("add the trace context to what is asked, and change nothing of the caller's", async () => {
    const { watched, sent } = links(async () => answer(), "00-a-b-01");
    await (await watched.sandbox("known"))?.request(request);
    expect(sent).toEqual([{ ...request, traceparent: "00-a-b-01" }]);
    expect(request).not.toHaveProperty("traceparent");
  });

  it("know a refusal by its header, however it is written", async () => {
    const { watched, seen } = links(async () => answer([["X-Wolfpack-Refused", "image-refused"]]));
    await watched.wolf("known")?.request(request);
    expect(seen).toEqual([{ outcome: "refused", code: "image-refused" }]);
  });

  it("fail with the tunnel's own error", async () => {
    const gone = new Error("gone");
    const { watched, seen } = links(() => Promise.reject(gone));
    await expect(watched.wolf("known")?.request(request)).rejects.toBe(gone);
    expect(seen).toEqual(["failed"]);
  });
});
