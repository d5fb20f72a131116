import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { brotliCompressSync, gzipSync } from "node:zlib";
import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import express, { type Express } from "express";
import request from "supertest";
import { dashboardFiles } from "../src/http/dashboard-files.ts";
import { notFound, problemHandler } from "../src/http/problem.ts";
import { requestLog } from "../src/http/request-log.ts";
import { apiHeaders } from "../src/http/security-headers.ts";
import { createLogger } from "../src/logger.ts";

const script = "console.log('the dashboard');\n".repeat(50);
let root: string;
let app: Express;

function served(folder: string): Express {
  const log = createLogger("silent");
  const made = express();
  made.use(requestLog(log), apiHeaders, dashboardFiles(folder), notFound, problemHandler(log));
  return made;
}

beforeAll(() => {
  root = mkdtempSync(path.join(os.tmpdir(), "wolfpack-dashboard-"));
  const folder = path.join(root, "dist");
  mkdirSync(path.join(folder, "assets"), { recursive: true });
  writeFileSync(path.join(root, "secret.js"), "a secret beside it");
  writeFileSync(
    path.join(folder, "index.html"),
    '<meta name="csp-nonce" content="%%NONCE%%"><div id="root">',
  );
  writeFileSync(path.join(folder, "theme.js"), "1");
  writeFileSync(path.join(folder, "manifest.json"), "{}");
  const file = path.join(folder, "assets", "index-1a2B.js");
  writeFileSync(file, script);
  writeFileSync(`${file}.gz`, gzipSync(script));
  writeFileSync(`${file}.br`, brotliCompressSync(script));
  app = served(folder);
});
afterAll(() => rmSync(root, { recursive: true, force: true }));

const page = (address: string) => request(app).get(address).set("accept", "text/html,*/*;q=0.8");

describe("the dashboard's page", () => {
  it("answers the root and every deep link, never from a cache", async () => {
    for (const address of ["/", "/wolves/wlf_1?tab=events", "/sessions/new", "/a/b/c.d"]) {
      const { status, text, headers } = await page(address);
      expect({ address, status }).toEqual({ address, status: 200 });
      expect(headers["content-type"]).toBe("text/html; charset=utf-8");
      expect(headers["cache-control"]).toBe("no-cache");
      expect(text).toContain('<div id="root">');
    }
    await request(app).get("/").expect(200);
  });

  it("allows scripts and styles of its own only, and a nonce that is another each time", async () => {
    const nonces = new Set<string>();
    for (let time = 0; time < 3; time += 1) {
      const { text, headers } = await page("/");
      const policy = String(headers["content-security-policy"]);
      const nonce = /content="([^"]+)"/.exec(text)?.[1] ?? "";
      expect(Buffer.from(nonce, "base64")).toHaveLength(16);
      expect(policy).toBe(
        `default-src 'self';style-src 'self' 'nonce-${nonce}';img-src 'self' blob:;object-src 'none';base-uri 'none';form-action 'none';frame-ancestors 'none'`,
      );
      expect(headers["x-content-type-options"]).toBe("nosniff");
      nonces.add(nonce);
    }
    expect(nonces.size).toBe(3);
  });

  it("is no answer to a caller of the API, nor to whoever asks for JSON", async () => {
    for (const address of ["/api/v2/x", "/api", "/swagger/nothing", "/metrics/x", "/revdial"])
      expect({ address, status: (await page(address)).status }).toEqual({ address, status: 404 });
    const { headers } = await request(app).get("/wolves").set("accept", "application/json").expect(404);
    expect(headers["content-type"]).toContain("application/problem+json");
    await request(app).post("/").expect(404);
  });

  it("says how to build it where it is not built", async () => {
    const { body } = await request(served(path.join(root, "nothing")))
      .get("/")
      .expect(404);
    expect(body).toMatchObject({ code: "not-found", detail: "The dashboard is not built: npm run build." });
  });
});

describe("its files", () => {
  it("are kept for ever, in the best form that their reader takes", async () => {
    const ask = (encoding: string) =>
      request(app).get("/assets/index-1a2B.js").set("accept-encoding", encoding).expect(200);
    const forms = [
      ["br, gzip", "br"],
      ["gzip", "gzip"],
      ["br;q=0, gzip", "gzip"],
      ["identity", undefined],
    ] as const;
    for (const [encoding, form] of forms) {
      const { headers, text } = await ask(encoding);
      expect({ encoding, form: headers["content-encoding"] }).toEqual({ encoding, form });
      expect(headers["cache-control"]).toBe("public, max-age=31536000, immutable");
      expect(headers["content-type"]).toBe("text/javascript; charset=utf-8");
      expect(headers.vary).toBe("accept-encoding");
      if (form !== "br") expect(text).toBe(script);
    }
  });

  it("may change at the next build where their name has no hash", async () => {
    const { headers } = await request(app).get("/theme.js").set("accept-encoding", "identity").expect(200);
    expect(headers["cache-control"]).toBe("no-cache");
  });

  it("are those of the build and nothing beside or above it", async () => {
    const addresses = [
      "/assets/../../secret.js",
      "/assets/..%2f..%2fsecret.js",
      "/assets/%2e%2e%2f%2e%2e%2fsecret.js",
      "/assets/..%5csecret.js",
      "/assets/index-1a2B.js.gz",
      "/assets/.hidden.js",
      "/assets/no-such.js",
      "/assets/%00.js",
      "/manifest.json",
      "/assets/",
    ];
    for (const address of addresses) {
      const { status, text, headers } = await request(app).get(address);
      expect({ address, status }).toEqual({ address, status: 404 });
      expect(headers["content-type"]).toContain("application/problem+json");
      expect(headers["cache-control"] ?? "").not.toContain("immutable");
      expect(text).not.toContain("secret beside");
    }
  });
});
