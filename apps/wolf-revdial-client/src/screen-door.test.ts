/** Screens behind real sockets in real folders, and what a sandbox may put in their place. */
import { once } from "node:events";
import { mkdirSync, mkdtempSync, renameSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:http";
import os from "node:os";
import path from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "@jest/globals";
import { openDoor } from "./screen-door.ts";
import { askUpstream } from "./upstream.ts";

const [own, other] = ["ses_00000000000000000000000001", "ses_00000000000000000000000002"];
let folder: string;
let servers: Server[];

beforeEach(() => {
  folder = mkdtempSync(path.join(os.tmpdir(), "sd-"));
  servers = [];
  for (const id of [own, other]) mkdirSync(path.join(folder, id));
});

afterEach(async () => {
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
  rmSync(folder, { recursive: true, force: true });
});

async function screenAt(...where: string[]): Promise<void> {
  const server = createServer((_request, response) => response.end(where[0]));
  servers.push(server.listen(path.join(folder, ...where)));
  await once(server, "listening");
}

/** Whose screen answers. */
async function shown(...where: string[]): Promise<string> {
  const door = await openDoor({ socketPath: path.join(folder, ...where) }, own);
  const asked = { method: "GET", path: "/", timeoutMs: 5000, replyBytesMax: 100 } as const;
  return String((await askUpstream({ ...asked, target: door.target }).finally(door.close)).body);
}

describe("the way to a sandbox's screen", () => {
  it("leads to its own socket, also by a link that the host's owner made before it", async () => {
    await screenAt(own, "screen.sock");
    expect(await shown(own, "screen.sock")).toBe(own);
    symlinkSync(folder, path.join(folder, "moved"));
    expect(await shown("moved", own, "screen.sock")).toBe(own);
    expect(await openDoor({ host: "127.0.0.1", port: 1 }, own)).toMatchObject({ target: { port: 1 } });
    await screenAt(`${own}.sock`);
    expect(await shown(`${own}.sock`)).toBe(`${own}.sock`);
  });

  it.each<[string, () => void]>([
    [
      "a link to another's socket",
      () => symlinkSync(`../${other}/screen.sock`, path.join(folder, own, "screen.sock")),
    ],
    ["a file", () => writeFileSync(path.join(folder, own, "screen.sock"), "")],
    ["nothing", () => undefined],
  ])("does not lead through %s in its place", async (_what, put) => {
    await screenAt(other, "screen.sock");
    put();
    await expect(shown(own, "screen.sock")).rejects.toMatchObject({ code: "upstream-unreachable" });
  });

  it("does not lead through a linked folder below its own", async () => {
    await screenAt(other, "screen.sock");
    symlinkSync(`../${other}`, path.join(folder, own, "run"));
    await expect(shown(own, "run", "screen.sock")).rejects.toMatchObject({ code: "upstream-unreachable" });
  });

  it("stays with what was looked at when something else is put there then", async () => {
    await screenAt(own, "screen.sock");
    await screenAt(other, "screen.sock");
    const at = path.join(folder, own, "screen.sock");
    const door = await openDoor({ socketPath: at }, own);
    renameSync(at, `${at}.old`);
    symlinkSync(`../${other}/screen.sock`, at);
    const asked = { method: "GET", path: "/", timeoutMs: 5000, replyBytesMax: 100 } as const;
    const { body } = await askUpstream({ ...asked, target: door.target }).finally(door.close);
    expect(String(body)).toBe(own);
  });
});
