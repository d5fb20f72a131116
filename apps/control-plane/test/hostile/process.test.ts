/** The corpus against the built program, without the property that prototypes are polluted through. */
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { describe, expect, it } from "@jest/globals";
import { contractCases } from "./contract-cases.ts";
import { httpCases } from "./http-cases.ts";
import { startProcess } from "./process.ts";
import { runCorpus } from "./run.ts";
import { exchange } from "./wire.ts";

const protoField = Buffer.from("GET / HTTP/1.1\r\nHost: x\r\n__proto__: x\r\nConnection: close\r\n\r\n");

/** Node's own server with nothing in it. */
async function bareServer(flag: string) {
  const source =
    "require('http').createServer((q, s) => s.end()).listen(0, '127.0.0.1', function () { console.log(this.address().port) })";
  const child = spawn(process.execPath, [flag, "-e", source], { stdio: ["ignore", "pipe", "ignore"] });
  const ended = once(child, "close").then(([code]) => code as number | null);
  const [port] = await once(child.stdout, "data");
  return { child, ended, port: Number(port) };
}

describe("the control plane under --disable-proto=delete", () => {
  it("refuses the corpus as ever, says nothing on stderr, and ends in order", async () => {
    const plane = await startProcess(["--disable-proto=delete"]);
    const keys = { admin: plane.adminKey, runner: plane.runnerToken };
    let faults: string[];
    try {
      faults = await runCorpus(plane.port, [
        ...httpCases(keys.admin),
        ...contractCases(keys).filter(({ kind }) => kind === "documents"),
      ]);
    } finally {
      const code = await plane.stop();
      expect({ code, stderr: plane.stderr() }).toEqual({ code: 0, stderr: "" });
    }
    expect(faults).toEqual([]);
    const errors = plane.lines.filter((line) => (JSON.parse(line) as { level: number }).level >= 50);
    expect(errors).toEqual([]);
  }, 120_000);

  it("has nothing to write through: the same program without the flag takes another prototype", () => {
    const write =
      "const o = JSON.parse('{}'); o.__proto__ = { role: 1 }; console.log('role' in Object.getPrototypeOf(o))";
    const run = (...flags: string[]) =>
      execFileSync(process.execPath, [...flags, "-e", write], { encoding: "utf8" });
    expect([run(), run("--disable-proto=delete")]).toEqual(["true\n", "false\n"]);
  });

  it("is not run under --disable-proto=throw, with which one request ends any Node server", async () => {
    const throwing = await bareServer("--disable-proto=throw");
    expect((await exchange(throwing.port, protoField)).answers).toEqual([]);
    expect(await throwing.ended).not.toBe(0);
    const deleting = await bareServer("--disable-proto=delete");
    expect((await exchange(deleting.port, protoField)).answers).toMatchObject([{ status: 200 }]);
    deleting.child.kill("SIGKILL");
    await deleting.ended;
  });
});
