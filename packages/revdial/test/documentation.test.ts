/** What the comments of the public types say, against the code: defaults, units, codes. */
import { existsSync, readFileSync } from "node:fs";
import { describe, expect, it } from "@jest/globals";
import { neverHandled, revdialErrorCodes, wireCodes } from "../src/errors.ts";
import type { Frame } from "../src/frame.ts";
import type { RevdialErrorCode, TunnelRequest } from "../src/index.ts";
import { defaults } from "../src/numbers.ts";
import { write } from "./cores.ts";
import { Feed } from "./process/feed.ts";
import { failure, get } from "./support.ts";

const read = (path: string) => readFileSync(new URL(`../src/${path}`, import.meta.url), "utf8");
const oneLine = (comment: string) => comment.replaceAll(/\s*\n\s*\*?\s*/g, " ").trim();

interface Field {
  where: string;
  name: string;
  optional: boolean;
  type: string;
  comment: string;
}

/** The fields of an interface in a file, each with the comment before it. */
function fieldsOf(file: string, name: string): Field[] {
  const body = new RegExp(`interface ${name}\\b[^{]*\\{\\n([\\s\\S]*?)\\n\\}`).exec(read(file))?.[1];
  if (body === undefined) throw new Error(`${file} has no interface ${name}`);
  const fields = body.matchAll(
    /(?:^ {2}\/\*\*((?:(?!\*\/)[\s\S])*)\*\/\n)?^ {2}(?:readonly )?(\w+)(\??): ?([^\n]*)/gm,
  );
  return [...fields].map(([, comment = "", field = "", optional, type = ""]) => ({
    where: `${name}.${field}`,
    name: field,
    optional: optional === "?",
    type,
    comment: oneLine(comment),
  }));
}

/** Where programs set something, and the defaults of the numbers among them. */
const options: [file: string, name: string, defaults?: Readonly<Record<string, number>>][] = [
  ["tunnel.ts", "TunnelRequest"],
  ["tunnel.ts", "ConnectOptions"],
  ["tunnel.ts", "CloseOptions", defaults.close],
  ["tunnel.ts", "TunnelOptions", defaults.tunnel],
  ["dialling.ts", "DialOptions", defaults.dial],
  ["dial-set.ts", "DialSetOptions", { moveBackEveryMs: defaults.moveBack.everyMs }],
  ["tunnel-set.ts", "TunnelSetOptions", defaults.set],
  ["http-accept.ts", "HttpAcceptorOptions", defaults.acceptor],
  ["move-back.ts", "MoveBackOptions", defaults.moveBack],
  ["dispatching.ts", "DispatchOptions"],
  ["fetch.ts", "TunnelFetchInit"],
  ["http/front.ts", "HttpFrontOptions"],
  ["http/forward.ts", "ForwardOptions"],
  ["http/dispatching.ts", "DispatchingOptions"],
  ["helix/accept.ts", "HelixExchangeOptions"],
  ["helix/accept.ts", "HelixAcceptOptions"],
  ["helix/dial.ts", "HelixDialOptions"],
];

describe("the documentation of options", () => {
  it("is looked at for every type of options that an entry exports", () => {
    const entries = ["index.ts", "http/index.ts", "helix/index.ts"].map(read).join("\n");
    const exported = entries.match(/\b\w+(?:Options|Init)\b/g)?.filter((name) => /^[A-Z]/.test(name));
    expect(options.map(([, name]) => name)).toEqual(expect.arrayContaining(exported ?? ["none"]));
  });

  it.each(options.flatMap(([file, name]) => fieldsOf(file, name)).filter(({ optional }) => optional))(
    "says the default of $where",
    ({ comment }) => {
      expect(comment).toMatch(/\bDefault:? \S|\bDefault "/);
    },
  );

  it.each(
    options
      .flatMap(([file, name]) => fieldsOf(file, name))
      .filter(({ name, type }) => name.endsWith("Ms") || /^number\b/.test(type)),
  )("says the unit of $where", ({ name, comment }) => {
    // Everything else is counted; two of these names are undici's.
    if (/(Ms|Timeout)$/.test(name)) expect(comment).toMatch(/\bms\b|\bmilliseconds\b/i);
    else expect(name).toMatch(/(Max|connections|incarnation)$/);
  });

  it.each(
    [...options, ["backoff.ts", "BackoffLimits", defaults.backoff] as const].flatMap(
      ([file, name, numbers = {}]) =>
        Object.entries(numbers).map(
          ([field, value]) => [`${name}.${field}`, file, name, field, value] as const,
        ),
    ),
  )("says the number that is meant: %s", (_where, file, name, field, value) => {
    const comment = fieldsOf(file, name).find((one) => one.name === field)?.comment;
    expect(comment).toMatch(new RegExp(`\\bDefault ${value.toLocaleString("en")}\\b(?!,\\d)`));
  });
});

describe("the documentation of codes", () => {
  it("has one line for each", () => {
    const list = /\/\*\*((?:(?!\*\/)[\s\S])*)\*\/\nexport type RevdialErrorCode /.exec(
      read("errors.ts"),
    )?.[1];
    const lines = [...(list ?? "").matchAll(/^ \* - `([A-Z_]+)`: (\S.*)$/gm)];
    expect(lines.map(([, code]) => code)).toEqual([...revdialErrorCodes]);
    // And says of those that a peer resets a channel with whether its handler can have seen the request.
    for (const [, code = "", meaning = ""] of lines) {
      const number = (wireCodes as Partial<Record<string, number>>)[code];
      const reset = number !== undefined && number > 0 && number < wireCodes.DRAINING;
      if (reset) expect([code, meaning.endsWith("; not sent")]).toEqual([code, neverHandled.has(number)]);
    }
  });

  /** The codes that the comment on `request` names, but for those of the tunnel's end. */
  const named = (): Set<RevdialErrorCode> => {
    const comment = /\/\*\*((?:(?!\*\/)[\s\S])*)\*\/\n {2}request\(/.exec(read("tunnel.ts"))?.[1] ?? "";
    return new Set(
      comment.slice(comment.indexOf("Codes:")).match(/\b[A-Z]+(?:_[A-Z]+)*\b/g) as RevdialErrorCode[],
    );
  };
  const wrong: [string, Partial<TunnelRequest>][] = [
    ["a deadline that is no number", { deadlineMs: Number.NaN }],
    ["a path without a slash", { path: "no" }],
    ["a header of 40,000 bytes", { headers: [["a", "x".repeat(40_000)]] }],
    ["a deadline that has passed", { deadlineMs: 0 }],
    ["a signal that has aborted", { signal: AbortSignal.abort() }],
  ];

  it("names the codes with which a request can be rejected, and no others", async () => {
    const met = new Set<RevdialErrorCode>();
    const meet = async (outcome: Promise<unknown>) => met.add((await failure(outcome)).code);
    const reset = (channel: number, code: number): Frame => ({ type: "reset", channel, code, reason: "" });
    const feed = new Feed(
      { stallTimeoutMs: 1000, grantTimeoutMs: 1000 },
      { windowBytes: 1, channelsMax: 100 },
    );
    for (const [, request] of wrong) await meet(new Feed().tunnel.request({ ...get("/"), ...request }));
    let channel = 0;
    const sent = async (more: Partial<TunnelRequest> = {}) => {
      channel += 2;
      const asked = meet(feed.tunnel.request({ ...get("/"), ...more }));
      await new Promise<void>((resolve) => setImmediate(resolve));
      return { asked, channel };
    };
    // Whatever the peer's reset says, known or not.
    for (const number of [...Object.values(wireCodes).filter((code) => code > 0 && code <= 32), 31]) {
      const one = await sent();
      feed.hear(write(reset(one.channel, number)));
      await one.asked;
    }
    const stalled = await sent({ method: "POST", body: new Uint8Array(10) });
    for (let second = 0; second < 10; second += 1) {
      feed.hear(write({ type: "pong", token: 0n }));
      await feed.clock.advance(1000);
    }
    await stalled.asked;
    void feed.tunnel.close();
    await meet(feed.tunnel.request(get("/")));
    feed.tunnel.destroy();
    await meet(feed.tunnel.request(get("/")));
    expect([...met].toSorted()).toEqual([...named()].toSorted());
  });
});

describe("the package on its own", () => {
  const root = new URL("../", import.meta.url);
  const { files, license } = JSON.parse(readFileSync(new URL("package.json", root), "utf8")) as {
    files: string[];
    license: string;
  };

  it.each(["README.md", "SPEC.md", "examples/README.md"])("has whatever %s links to", (file) => {
    const links = [...readFileSync(new URL(file, root), "utf8").matchAll(/\]\((?!https?:|#)([^)#]+)/g)];
    for (const [, to = ""] of links) {
      const target = new URL(to, new URL(file, root)).pathname.replace(root.pathname, "");
      // A package always has its README and its licence.
      expect([...files, "README.md", "LICENSE"]).toContain(target.split("/")[0]);
      expect(existsSync(new URL(target, root))).toBe(true);
    }
  });

  it("has the licence that it names", () => {
    expect(readFileSync(new URL("LICENSE", root), "utf8").split("\n")[0]).toBe(`${license} License`);
  });
});
