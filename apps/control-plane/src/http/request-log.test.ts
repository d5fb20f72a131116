import { once } from "node:events";
import { createServer, request as httpRequest, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, describe, expect, it } from "@jest/globals";
import express, { type Express } from "express";
import { z } from "zod";
import { createLogger } from "../logger.ts";
import { ApiError, notFound, problemHandler } from "./problem.ts";
import { aboutOf } from "./request-about.ts";
import { requestLog } from "./request-log.ts";
import { parseBody } from "./validate.ts";

let server: Server;
afterEach(async () => {
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
});

/** Closed fields: a line has no others. */
const FIELDS = [
  "level",
  "time",
  "request_id",
  "req",
  "res",
  "duration_ms",
  "operation",
  "user_id",
  "wolf_id",
  "code",
  "detail",
  "cut",
  "trace_id",
  "msg",
];

async function serving(routes: (app: Express) => void, level = "info") {
  const lines: Record<string, unknown>[] = [];
  const waiting: (() => void)[] = [];
  const log = createLogger(level, {
    write(line) {
      lines.push(JSON.parse(line) as Record<string, unknown>);
      for (const look of waiting) look();
    },
  });
  const app = express();
  app.use(requestLog(log));
  routes(app);
  app.use(notFound);
  app.use(problemHandler(log));
  server = createServer(app).listen(0, "127.0.0.1");
  await once(server, "listening");
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const written = (count: number) =>
    new Promise<void>((resolve) => {
      const look = () => {
        if (lines.length >= count) resolve();
      };
      waiting.push(look);
      look();
    });
  return { url, lines, written };
}

describe("a request's line of the log", () => {
  it("is one, with the id of its answer and closed fields, without query, header or body", async () => {
    const { url, lines, written } = await serving((app) => {
      app.post("/things", (_request, response) => {
        const about = aboutOf(response);
        about.operation = "createSession";
        about.principal = {
          kind: "user",
          userId: "usr_1",
          role: "user",
          scopes: null,
          credentialId: "key_1",
        };
        response.status(201).json({ secret: "in the answer" });
      });
    });
    const reply = await fetch(`${url}/things?secret=in-the-query`, {
      method: "POST",
      headers: { authorization: "Bearer secret-in-a-header", "x-request-id": "mine-1" },
      body: "secret in the body",
    });
    await reply.text();
    await written(1);
    expect(lines).toEqual([
      {
        level: 30,
        time: expect.any(Number),
        request_id: "mine-1",
        req: { method: "POST", path: "/things" },
        res: { status: 201 },
        duration_ms: expect.any(Number),
        operation: "createSession",
        user_id: "usr_1",
        msg: "request",
      },
    ]);
    expect(reply.headers.get("x-request-id")).toBe("mine-1");
    expect(JSON.stringify(lines)).not.toMatch(/secret|key_1/);
  });

  it("tells a caller's own mistake with its code, and no second line does", async () => {
    const { url, lines, written } = await serving((app) => {
      app.get("/full", () => {
        throw new ApiError("no-capacity", "No wolf has room.", { cause: new Error("details") });
      });
    });
    await (await fetch(`${url}/full`)).text();
    await (await fetch(`${url}/nowhere`)).text();
    await written(2);
    expect(lines.map(({ level, code, detail, msg }) => [level, code, detail, msg])).toEqual([
      [30, "no-capacity", "No wolf has room.", "request"],
      [30, "not-found", "There is no such route.", "request"],
    ]);
  });

  it("is joined by one with the chain of causes where the fault is ours", async () => {
    const { url, lines, written } = await serving((app) => {
      app.get("/broken", () => {
        throw new Error("a bug");
      });
    });
    const reply = await fetch(`${url}/broken`);
    expect(await reply.text()).not.toContain("a bug");
    await written(2);
    const [fault, line] = lines;
    expect(fault).toMatchObject({ level: 50, code: "internal", msg: "request refused" });
    expect(JSON.stringify(fault)).toContain("a bug");
    expect(line).toMatchObject({ level: 30, code: "internal", res: { status: 500 }, msg: "request" });
    expect(fault?.request_id).toBe(line?.request_id);
  });

  it("is not there for probes and scrapes in health, and is when they are refused", async () => {
    let healthy = true;
    const { url, lines, written } = await serving((app) => {
      app.get(["/healthz", "/readyz", "/metrics"], (_request, response) => {
        if (!healthy) throw new ApiError("draining", "This replica is shutting down.");
        response.json({});
      });
    });
    for (let n = 0; n < 20; n += 1)
      for (const path of ["/healthz", "/readyz", "/metrics?x=y"]) await (await fetch(url + path)).text();
    healthy = false;
    await (await fetch(`${url}/readyz`)).text();
    await written(1);
    expect(lines).toMatchObject([{ res: { status: 503 }, code: "draining" }]);
  });

  it("says that its caller left before the answer was whole", async () => {
    let began = () => {};
    const beginning = new Promise<void>((resolve) => {
      began = resolve;
    });
    const { url, lines, written } = await serving((app) => {
      app.get("/slow", (_request, response) => {
        response.write("first");
        began();
      });
    });
    const request = httpRequest(`${url}/slow`).on("error", () => undefined);
    request.end();
    await beginning;
    request.destroy();
    await written(1);
    expect(lines).toMatchObject([{ cut: true, req: { path: "/slow" } }]);
  });

  it("names no field that its caller made up, nor what is in one, and the answer does", async () => {
    const Body = z.strictObject({
      labels: z.record(z.string().max(3), z.string()).optional(),
      size: z.int(),
    });
    const { url, lines, written } = await serving((app) => {
      app.post("/things", express.json(), (request) => {
        parseBody(Body, request);
      });
    });
    const bodies = [
      { size: 1, "made-up": true },
      { size: 1, labels: { "made-up": "x" } },
      { size: 1, labels: { a: { "made-up": 1 } } },
      { size: "made-up" },
    ];
    for (const body of bodies) {
      const headers = { "content-type": "application/json" };
      const reply = await fetch(`${url}/things`, { method: "POST", headers, body: JSON.stringify(body) });
      expect(((await reply.json()) as { code: string }).code).toBe("invalid-request");
      if (body === bodies[0]) expect(reply.status).toBe(400);
    }
    await written(bodies.length);
    expect(JSON.stringify(lines)).not.toContain("made-up");
    const details = lines.map(({ detail }) => detail);
    const words = "The request does not fit its schema:";
    expect(details).toEqual([
      `${words} body (unrecognized_keys).`,
      `${words} body.labels (invalid_key).`,
      `${words} body.labels (invalid_type).`,
      `${words} body.size (invalid_type).`,
    ]);
  });

  it("has its fields and no others, whatever was asked", async () => {
    const { url, lines, written } = await serving((app) => {
      app.get("/broken", () => {
        throw new Error("a bug");
      });
    }, "trace");
    const key = `wpk_${"a".repeat(43)}`;
    const paths = ["/", `/${key}`, `/${"x".repeat(5000)}`, "/%00%1b[31m", "/broken", "/__proto__"];
    for (const path of paths) await (await fetch(url + path)).text();
    await written(paths.length + 1);
    const own = lines.filter(({ msg }) => msg === "request");
    expect(own.flatMap((line) => Object.keys(line)).filter((field) => !FIELDS.includes(field))).toEqual([]);
    expect(JSON.stringify(lines)).not.toContain(key);
    for (const { req } of own) expect((req as { path: string }).path.length).toBeLessThanOrEqual(256);
  });
});
