/** The doctor's checks against real sockets: a whole path, and every way in which one breaks. */

import { spawn } from "node:child_process";
import { once } from "node:events";
import { createServer as createHttp, type RequestListener } from "node:http";
import type { AddressInfo } from "node:net";
import { createServer } from "node:net";
import { text as readText } from "node:stream/consumers";
import { afterEach, describe, expect, it } from "@jest/globals";
import { type BadProxy, type BadProxyModes, badProxy, makeCertificate } from "revdial/testing";
import { cleanText } from "../src/doctor/command.ts";
import { type NetworkOptions, networkChecks } from "../src/doctor/network.ts";
import { type Result, runChecks } from "../src/doctor/run.ts";
import { type TunnelOptions, tunnelChecks } from "../src/doctor/tunnel.ts";
import { bundle } from "./agent-process.ts";
import { TOKEN } from "./control-plane.ts";
import { type DoctorPlane, doctorPlane } from "./doctor-plane.ts";

const day = 86_400_000;
const inDays = (days: number) => new Date(Date.now() + days * day);
const stops: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const stop of stops.splice(0).reverse()) await stop();
});

async function planeOf(...args: Parameters<typeof doctorPlane>): Promise<DoctorPlane> {
  const plane = await doctorPlane(...args);
  stops.push(plane.stop);
  return plane;
}
async function proxyOf(plane: DoctorPlane, modes: BadProxyModes): Promise<BadProxy> {
  const proxy = await badProxy(plane.url, modes);
  stops.push(proxy.stop);
  return proxy;
}

interface Changes extends Partial<Omit<NetworkOptions & TunnelOptions, "config">> {
  token?: string;
  joinToken?: string;
  ca?: string;
  insecure?: boolean;
  transport?: "auto" | "websocket" | "http";
  signal?: AbortSignal;
  onResult?: (result: Result) => void;
}

/** Status and detail by code. */
async function examine(url: string, changes: Changes = {}): Promise<Record<string, string>> {
  const { token = TOKEN, joinToken = "", ca, insecure = false, transport = "auto", ...others } = changes;
  const config = {
    apiUrl: new URL(url),
    token,
    joinToken,
    ca,
    insecure,
    transport,
    wolfId: "gpu-1",
    connections: 1,
  };
  const options = {
    config,
    key: { file: "none", credential: undefined, problem: undefined },
    version: "0.1.0",
    timeoutMs: 10_000,
    quick: false,
    echoTimeoutMs: 10_000,
    idleMs: 1,
    idleFatalMs: 15_000,
    now: () => performance.now(),
    lookup: async () => [{ address: "127.0.0.1", family: 4 }],
    wallClock: Date.now,
    ...others,
  };
  const results = await runChecks([...networkChecks(options), ...tunnelChecks(options)], {
    signal: changes.signal ?? new AbortController().signal,
    now: options.now,
    clean: (text) => cleanText(text, [token, joinToken]),
    onResult: changes.onResult ?? (() => undefined),
  });
  return Object.fromEntries(results.map(({ code, status, detail }) => [code, `${status}: ${detail}`]));
}

describe("a whole path", () => {
  it("passes every check, over tunnels that belong to no wolf and are gone afterwards", async () => {
    const plane = await planeOf();
    const found = await examine(plane.url);
    const bad = Object.entries(found).filter(([, text]) => !/^ok|--api-url is plain http/.test(text));
    expect(bad).toEqual([]);
    expect(new Set(plane.runnerIds)).toEqual(new Set(["doctor-gpu-1"]));
    expect(found.D13).toBe("ok: messages from 1 byte to 1 MiB come back");
  });

  it("passes over TLS with a certificate that is trusted by --ca-file", async () => {
    const made = makeCertificate({ from: inDays(-1), to: inDays(100), ip: "127.0.0.1" });
    const plane = await planeOf(made);
    const found = await examine(plane.url, { ca: made.cert });
    expect(Object.values(found).filter((text) => !text.startsWith("ok"))).toEqual([]);
    expect(found.D06).toMatch(/valid for \d+ more days/);
  });
});

describe("the network", () => {
  it("fails at a name that DNS does not know, and skips what needs it with the reason", async () => {
    const found = await examine("https://control-plane.test", {
      lookup: async () => Promise.reject(new Error("getaddrinfo ENOTFOUND control-plane.test")),
    });
    expect(found.D01).toBe("failed: getaddrinfo ENOTFOUND control-plane.test");
    expect(found.D02).toBe("skipped: it needs D01 (Name resolution)");
    expect(Object.values(found).filter((text) => !/^(failed|skipped)/.test(text))).toEqual([]);
  });

  it("fails at a port where nobody listens", async () => {
    const server = createServer().listen(0, "127.0.0.1");
    await once(server, "listening");
    const { port } = server.address() as AddressInfo;
    server.close();
    await once(server, "close");
    expect((await examine(`http://127.0.0.1:${port}`)).D02).toMatch(/^failed: .*ECONNREFUSED/);
  });

  it("fails the handshake with a port that does not speak TLS", async () => {
    const plane = await planeOf();
    const found = await examine(plane.url.replace("http", "https"));
    expect(found.D02).toMatch(/^ok/);
    expect(found.D03).toMatch(/^failed: (Error: )?TLS: wrong version number$/);
  });

  it.each([
    ["an unknown authority", 100, "127.0.0.1", false, "D04", /^failed: DEPTH_ZERO_SELF_SIGNED_CERT/],
    ["another host", 100, "127.0.0.2", true, "D05", /^failed: .*127\.0\.0\.1/],
    ["the past", -1, "127.0.0.1", true, "D06", /^failed: expired at /],
    ["few days", 3, "127.0.0.1", true, "D06", /^warning: valid for [23] more days/],
  ])("tells a certificate of %s from other faults", async (_what, days, ip, trusted, code, text) => {
    const made = makeCertificate({ from: inDays(-10), to: inDays(days), ip });
    const plane = await planeOf(made);
    const found = await examine(plane.url, trusted ? { ca: made.cert } : {});
    expect(found[code]).toMatch(text);
    const others = ["D03", "D04", "D05", "D06"].filter((other) => other !== code);
    expect(others.map((other) => found[other]?.slice(0, 3))).toEqual(["ok:", "ok:", "ok:"]);
    expect(found.D07).toMatch(days === 3 ? /^ok/ : /^skipped: it needs D0[456]/);
  });

  it("measures the clock against the server's, and compares versions", async () => {
    const plane = await planeOf();
    plane.version = "1.0.0";
    const found = await examine(plane.url, { wallClock: () => Date.now() - 3_600_000 });
    expect(found.D08).toMatch(/^failed: 3(599|600|601) s behind/);
    expect(found.D09).toBe("failed: agent 0.1.0, control plane 1.0.0");
  });

  it.each([
    ["was issued for a time to come", inDays(1), inDays(100), -2 * day, "D06"],
    ["expired", inDays(-100), inDays(-1), 3_600_000, "D06"],
  ])(
    "measures the clock also where a certificate %s, which a wrong clock explains",
    async (_what, from, to, offMs, bad) => {
      const made = makeCertificate({ from, to, ip: "127.0.0.1" });
      const found = await examine((await planeOf(made)).url, {
        ca: made.cert,
        wallClock: () => Date.now() + offMs,
      });
      expect([found[bad], found.D07]).toEqual([
        expect.stringMatching(/^failed/),
        expect.stringMatching(/^skipped: it needs D06/),
      ]);
      expect(found.D08).toMatch(offMs < 0 ? /^failed: 17\d{4} s behind/ : /^failed: 36\d\d s ahead of/);
    },
  );

  it.each<[string, RequestListener]>([
    ["another server answers", (_request, response) => response.end("<html>Please log in</html>")],
    ["nobody answers in HTTP", (request) => request.socket.destroy()],
  ])("blames neither versions nor the token, which goes nowhere, where %s", async (_what, answer) => {
    const told: unknown[] = [];
    const server = createHttp((request, response) => {
      told.push(request.headers.authorization);
      answer(request, response);
    }).listen(0, "127.0.0.1");
    await once(server, "listening");
    const found = await examine(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
    expect(found.D07).toMatch(/^failed: /);
    expect(found.D08).toMatch(/^(ok: within 1 s of|skipped: no answer that has the time \(.*socket hang up)/);
    expect([found.D09, found.D10]).toEqual(Array(2).fill("skipped: it needs D07 (HTTP readiness)"));
    expect(new Set(told)).toEqual(new Set([undefined]));
  });

  it("fails a control plane that is not ready, without repeating secrets or steering the terminal", async () => {
    const plane = await planeOf();
    plane.ready = false;
    expect((await examine(plane.url)).D07).toBe(
      "failed: /readyz was answered with status 503:  [31mnot here [token]",
    );
  });

  it.each([
    ["wrong", "the token is refused"],
    ["key-of-ann", "this is a user's API key, not the runner token"],
    ["", "this host has no key, and no token was given"],
  ])("fails the credential %j and opens no tunnel with it", async (token, why) => {
    const plane = await planeOf();
    const found = await examine(plane.url, { token });
    expect(found.D10).toBe(`failed: ${why}`);
    expect(found.D11).toBe(
      token === "" ? "skipped: this host has not enrolled yet" : "skipped: it needs D10 (Credential)",
    );
    expect(plane.runnerIds).toEqual([]);
  });
});

describe("the tunnel through a proxy", () => {
  it.each<[string, BadProxyModes, string, RegExp]>([
    ["refuses the upgrade", { upgrade: { status: 403 } }, "D11", /^failed: answered with status 403/],
    ["never answers the upgrade", { upgrade: "hang" }, "D11", /^failed: no result within 1 s/],
    ["cuts the upgrade", { upgrade: "cut" }, "D11", /^failed: .*socket hang up/],
    ["strips the upgrade", { upgrade: "strip" }, "D11", /^failed: answered with status 503/],
    ["swallows frames", { upgrade: "swallow" }, "D12", /^failed: .*DIAL_TIMEOUT|^failed: no result/],
    ["passes frames upwards only", { upgrade: "up-only" }, "D12", /^failed: /],
  ])("that %s is named, and the fallback still found to work", async (_what, modes, code, text) => {
    const proxy = await proxyOf(await planeOf(), modes);
    const found = await examine(proxy.url, { timeoutMs: 1000, echoTimeoutMs: 10_000 });
    expect(found[code]).toMatch(text);
    expect(found.D14).toBe("ok: the tunnel works over plain HTTP too");
    expect(found.D13).toMatch(/^skipped: it needs D12/);
  });

  it("that cuts at large messages is found with the first size that fails", async () => {
    const proxy = await proxyOf(await planeOf(), { messageBytesMax: 8192 });
    expect((await examine(proxy.url)).D13).toMatch(
      /^failed: a message of 16 KiB did not come back \(TRANSPORT_LOST.*; 4 KiB came back$/,
    );
  });

  it("that refuses the tunnel over HTTP is a warning, and a failure where only HTTP is to be used", async () => {
    const proxy = await proxyOf(await planeOf(), { open: { status: 403 } });
    expect((await examine(proxy.url)).D14).toMatch(/^warning: DIAL_REFUSED/);
    const found = await examine(proxy.url, { transport: "http" });
    expect(found.D14).toMatch(/^failed: DIAL_REFUSED/);
    expect(found.D11).toBe("skipped: --transport is http");
  });

  it("that cuts idle connections fails when agents would meet it, and else is a warning", async () => {
    const proxy = await proxyOf(await planeOf(), { idleCutMs: 300 });
    const patient = { idleMs: 60_000, timeoutMs: 10_000 };
    expect((await examine(proxy.url, patient)).D19).toMatch(/^failed: cut after [\d.]+ s of silence$/);
    expect((await examine(proxy.url, { ...patient, idleFatalMs: 0 })).D19).toMatch(/^warning: cut after/);
  });
});

describe("an examination that is stopped", () => {
  it("ends at once, with what it knows, and leaves no connection open", async () => {
    const plane = await planeOf();
    const proxy = await proxyOf(plane, { upgrade: "hang" });
    const stop = new AbortController();
    const found = await examine(proxy.url, {
      timeoutMs: 600_000,
      signal: stop.signal,
      onResult: ({ code }) => code === "D10" && setImmediate(() => stop.abort()),
    });
    expect(Object.keys(found).at(-1)).toBe("D10");
    expect(plane.tunnels).toBe(0);
  });
});

describe("wolf-revdial-client doctor", () => {
  const run = async (args: readonly string[], env: Record<string, string> = {}) => {
    const child = spawn(process.execPath, [bundle, "doctor", ...args], { env: { PATH: "", ...env } });
    const [out, err, [code]] = await Promise.all([
      readText(child.stdout),
      readText(child.stderr),
      once(child, "close"),
    ]);
    return { out, err, code };
  };

  it.each([[["--no-such-flag"]], [[]], [["--api-url", "ftp://x"]]])("exits 2 for %j", async (args) => {
    const { code, err, out } = await run(args);
    expect([code, out]).toEqual([2, ""]);
    expect(err).toMatch(/no-such-flag'\n|^--api-url .*\nusage: wolf-revdial-client doctor --api-url/);
  });

  it("goes on to its exit code when nobody reads on", async () => {
    const args = ["--api-url", "http://127.0.0.1:9", "--quick"];
    const child = spawn(process.execPath, [bundle, "doctor", ...args], { env: { PATH: "" } });
    child.stdout.destroy();
    const [err, [code]] = await Promise.all([readText(child.stderr), once(child, "close")]);
    expect([err, code]).toEqual(["", 1]);
  });

  it("prints JSON in the documented shape and exits 1 when a check failed", async () => {
    const plane = await planeOf();
    const flags = ["--api-url", plane.url, "--local", "unix:///no/wolf.sock", "--quick", "--json"];
    const { code, out } = await run(flags, { RUNNER_TOKEN: TOKEN });
    expect(code).toBe(1);
    expect(out).not.toContain(TOKEN);
    const report = JSON.parse(out);
    expect(report).toMatchObject({ format: 1, control_plane: plane.url, verdict: "failed" });
    const by = (wanted: string) => report.checks.find((check: { code: string }) => check.code === wanted);
    expect(by("D13")).toEqual({
      code: "D13",
      name: "Echo of messages",
      status: "ok",
      detail: expect.any(String),
      duration_ms: expect.any(Number),
    });
    expect(by("D15")).toMatchObject({
      status: "failed",
      cause: expect.any(String),
      cure: expect.any(String),
    });
    expect(by("D19")).toMatchObject({ status: "skipped", detail: "--quick" });
  });

  it("exits 130 at once when it is interrupted", async () => {
    const proxy = await proxyOf(await planeOf(), { upgrade: "hang" });
    const child = spawn(process.execPath, [bundle, "doctor", "--api-url", proxy.url], {
      env: { PATH: "", RUNNER_TOKEN: TOKEN },
    });
    let out = "";
    child.stdout.setEncoding("utf8").on("data", (text: string) => {
      out += text;
      if (text.includes("D10")) child.kill("SIGINT");
    });
    const [code] = await once(child, "close");
    expect([code, out]).toEqual([130, expect.stringMatching(/interrupted: \d+ ok/)]);
  });
});
