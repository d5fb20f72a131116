import { describe, expect, it } from "@jest/globals";
import { RevdialError } from "revdial";
import { WebSocketPatience } from "./web-socket-patience.ts";

describe("the patience with a WebSocket", () => {
  const silence = new RevdialError("DIAL_TIMEOUT", "no tunnel within 10000 ms");

  it("is not longer than by default before any has come", () => {
    const patience = new WebSocketPatience();
    expect(patience.dialOptions).toEqual({});
    patience.failed(silence);
    expect(patience.dialOptions).toEqual({});
  });

  it("is a whole dial, twice, after one has come", () => {
    const patience = new WebSocketPatience();
    patience.came({ transport: "websocket" });
    expect(patience.dialOptions).toEqual({ upgradeTimeoutMs: 10_000 });
    patience.failed(silence);
    expect(patience.dialOptions).toEqual({ upgradeTimeoutMs: 10_000 });
    patience.failed(silence);
    expect(patience.dialOptions).toEqual({});
    patience.came({ transport: "websocket" });
    expect(patience.dialOptions).toEqual({ upgradeTimeoutMs: 10_000 });
  });

  it("does not end by what is no silence: refusals come from a server that is there", () => {
    const patience = new WebSocketPatience();
    patience.came({ transport: "websocket" });
    for (let tries = 0; tries < 10; tries += 1) {
      patience.failed(new RevdialError("DIAL_REFUSED", "busy", { status: 503 }));
      patience.failed(new RevdialError("DIAL_FAILED", "ECONNREFUSED"));
      patience.failed(new Error("no challenge"));
    }
    expect(patience.dialOptions).toEqual({ upgradeTimeoutMs: 10_000 });
  });

  it("is over where the tunnel came by plain HTTP", () => {
    const patience = new WebSocketPatience();
    patience.came({ transport: "websocket" });
    patience.came({ transport: "http" });
    expect(patience.dialOptions).toEqual({});
  });
});
