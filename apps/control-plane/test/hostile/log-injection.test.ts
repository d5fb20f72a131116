/** Names, ids and words of strangers with everything in them that a log or a terminal might obey. */
import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import { RUNNER_TOKEN, startControlPlane, type TestControlPlane } from "../control-plane.ts";
import { eventually } from "../host.ts";
import { rawAgent } from "./raw-agent.ts";
import { exchange } from "./wire.ts";

const FORGED = '"},{"level":60,"msg":"forged';
const evil = [
  "\u001b[31mred",
  "\u001b]0;title\u0007",
  "\u009b31m",
  "a\r\nb",
  "a\nb",
  FORGED,
  "\u2028",
  "\u202eexe.txt",
  "\u0000",
  "\u007f",
  "%1b[31m%0a",
  `%22},{%22level%22:60`,
];

let plane: TestControlPlane;
beforeAll(async () => {
  plane = await startControlPlane();
});
afterAll(() => plane.stop());

const ask = (method: string, target: string, fields: readonly string[] = [], body = "") =>
  exchange(
    Number(new URL(plane.url).port),
    Buffer.from(
      `${method} ${target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer ${plane.adminKey}\r\n${fields.map((field) => `${field}\r\n`).join("")}${body === "" ? "" : `Content-Type: application/json\r\nContent-Length: ${Buffer.byteLength(body)}\r\n`}\r\n${body}`,
    ),
  );

/** What the log has for each event: one text that is one line of JSON without a control. */
function expectPlainLines(): void {
  expect(plane.lines.length).toBeGreaterThan(0);
  for (const line of plane.lines) {
    expect(line.endsWith("\n")).toBe(true);
    expect(line.slice(0, -1)).not.toMatch(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u);
    expect((JSON.parse(line) as { msg: string }).msg).not.toBe("forged");
  }
}

describe("the log of the control plane", () => {
  it("has one plain line for each event, whatever paths, ids and fields say", async () => {
    for (const text of evil) {
      await ask("GET", `/api/v1/sessions/${text}`);
      await ask("DELETE", `/api/v1/wolf-instances/${encodeURIComponent(text)}`);
      await ask("GET", `/${encodeURIComponent(text)}?${text}`);
      await ask("GET", "/api/v1/me", [`X-Request-Id: ${text}`, `User-Agent: ${text}`, `Referer: ${text}`]);
      await ask("GET", "/api/v1/me", [`X-Request-Id: ${encodeURIComponent(text)}`]);
      await ask("POST", "/api/v1/users", [], JSON.stringify({ name: text, [text]: text }));
      await ask("POST", "/api/v1/wolf-instances/register", [], JSON.stringify({ name: text, region: text }));
      await ask("GET", `/api/v1/revdial?runnerid=wolf-${encodeURIComponent(text)}`, [
        "Upgrade: websocket",
        "Connection: Upgrade",
      ]);
    }
    expectPlainLines();
    const ids = plane.lines.map((line) => (JSON.parse(line) as { request_id?: string }).request_id);
    expect(ids.filter((id) => id !== undefined && !/^[A-Za-z0-9._-]{1,64}$/.test(id))).toEqual([]);
  });

  it("has them for what agents call themselves and say at their end, too", async () => {
    const headers = { authorization: `Bearer ${plane.adminKey}`, "content-type": "application/json" };
    const body = JSON.stringify({ name: "evil", gpu_type: "none" });
    const registered = await fetch(`${plane.url}/api/v1/wolf-instances/register`, {
      method: "POST",
      headers,
      body,
    });
    expect(registered.status).toBe(200);
    const url = `${plane.url.replace("http", "ws")}/api/v1/revdial?runnerid=wolf-evil`;
    for (const text of evil) {
      const ups = () => plane.lines.filter((line) => line.includes('"tunnel up"')).length;
      const before = ups();
      const agent = await rawAgent(url, `Bearer ${RUNNER_TOKEN}`, text);
      await eventually(ups, (count) => count > before);
      agent.goAway(text);
      await agent.closed;
    }
    expectPlainLines();
    const down = plane.lines.filter((line) => line.includes('"tunnel down"'));
    expect(down.length).toBeGreaterThan(0);
  });

  it("would have them in a log that writes down what it hears", () => {
    const naive = evil.map((text) => `{"level":30,"path":"${text}","msg":"request"}\n`).join("");
    expect(naive).toContain('"msg":"forged"');
    expect(naive.split("\n").length).toBeGreaterThan(evil.length + 1);
    // Not even JSON.stringify is enough for a terminal.
    expect(JSON.stringify("\u009b31m")).toContain("\u009b");
  });
});
