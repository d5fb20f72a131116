/** A baseline where it is installed: the same gateway in front of `ssh -R`, with a server and keys of this run alone. */
import { type ChildProcess, execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { connect } from "node:net";
import { tmpdir, userInfo } from "node:os";
import path from "node:path";
import { promisify } from "node:util";
import { freePort } from "@wolfpack/control-plane/free-ports";
import { WATCHDOG } from "../child.ts";
import type { Fleet, Lane } from "./lanes.ts";

const SSHD = "/usr/sbin/sshd";
const READY_ATTEMPTS = 100;
const READY_PAUSE_MS = 50;

/** Without a lane: why there is none, such as no sshd, or one that does not want to run for us. */
export async function sshLane(fleet: Fleet): Promise<Lane | { why: string }> {
  if (!existsSync(SSHD)) return { why: "no sshd here" };
  const folder = await mkdtemp(path.join(tmpdir(), "wolfpack-bench-ssh-"));
  const children: ChildProcess[] = [];
  const clean = async () => {
    await Promise.all(children.map(end));
    await rm(folder, { recursive: true, force: true });
  };
  fleet.onStop(clean);
  try {
    const [server, forwarded] = [await freePort(), await freePort()];
    const key = path.join(folder, "key");
    await promisify(execFile)("ssh-keygen", ["-q", "-t", "ed25519", "-N", "", "-f", key]);
    const config = [
      `Port ${server}`,
      "ListenAddress 127.0.0.1",
      `HostKey ${key}`,
      `AuthorizedKeysFile ${key}.pub`,
      "StrictModes no",
      "UsePAM no",
      `PidFile ${path.join(folder, "pid")}`,
    ];
    await writeFile(path.join(folder, "sshd_config"), `${config.join("\n")}\n`);
    const sshd = watched(SSHD, ["-D", "-e", "-f", path.join(folder, "sshd_config")]);
    children.push(sshd);
    await reachable(server, sshd);
    const options = ["BatchMode=yes", "StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null"];
    const remote = `127.0.0.1:${forwarded}:127.0.0.1:${fleet.originPort}`;
    const client = watched("ssh", [
      ...options.flatMap((option) => ["-o", option]),
      ...["-i", key, "-p", String(server), "-N", "-R", remote, `${userInfo().username}@127.0.0.1`],
    ]);
    children.push(client);
    await reachable(forwarded);
    return { ...(await fleet.direct(forwarded)), name: "ssh" };
  } catch (error) {
    await clean();
    return { why: error instanceof Error ? error.message : String(error) };
  }
}

/** Ends with us, whatever our end is: ssh knows nothing of its parent. */
function watched(program: string, args: readonly string[]): ChildProcess {
  return spawn("sh", ["-c", WATCHDOG, "wolfpack-bench", program, ...args], {
    detached: true,
    stdio: ["pipe", "ignore", "pipe"],
  });
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const gone = once(child, "exit");
  child.stdin?.end();
  await gone;
}

/** Rejects with what `program` said last when it ends before. */
async function reachable(port: number, program?: ChildProcess): Promise<void> {
  let said = "";
  program?.stderr?.setEncoding("utf8").on("data", (text: string) => {
    said = text.trim().split("\n").at(-1) ?? "";
  });
  for (let attempt = 0; attempt < READY_ATTEMPTS; attempt += 1) {
    const socket = connect({ port, host: "127.0.0.1" });
    const open = await new Promise<boolean>((resolve) => {
      socket.once("connect", () => resolve(true)).once("error", () => resolve(false));
    });
    socket.destroy();
    if (open) return;
    if (program && program.exitCode !== null) throw new Error(said);
    await new Promise((resolve) => setTimeout(resolve, READY_PAUSE_MS));
  }
  throw new Error("nothing listens there");
}
