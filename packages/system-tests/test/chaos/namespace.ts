/** Links of the kernel's own that can be cut without a word: a network namespace, a veth pair, and nftables in the namespace. */
import { execFileSync } from "node:child_process";
import { existsSync } from "node:fs";
import path from "node:path";

/** As in PATH and where Debian keeps what only root needs. */
function found(tool: string): string | undefined {
  const folders = [...(process.env.PATH ?? "").split(path.delimiter), "/usr/sbin", "/sbin"];
  return folders.map((folder) => path.join(folder, tool)).find((file) => existsSync(file));
}

const ip = found("ip");
const nft = found("nft");

function run(file: string | undefined, ...args: string[]): void {
  if (file === undefined) throw new Error("ip and nft are needed");
  execFileSync(file, args, { stdio: ["ignore", "ignore", "pipe"] });
}

export type Direction = "to-agent" | "from-agent";

export interface CutLink {
  /** What a program is started through to be behind it. */
  through: readonly string[];
  /** Of this side. */
  address: string;
  /** Packets of these directions vanish from now on. */
  drop(directions: readonly Direction[]): void;
  heal(): void;
  remove(): void;
}

/** `nth` from 0 to 63: of this process's links. */
export function cutLink(nth: number): CutLink {
  const name = `wp${process.pid}-${nth}`;
  const [near, far] = [`wpa${process.pid % 100_000}-${nth}`, `wpb${process.pid % 100_000}-${nth}`];
  // RFC 2544 sets this network apart for tests: nobody's packets are led astray.
  const at = (host: number) => `198.18.${process.pid % 256}.${nth * 4 + host}`;
  const remove = () => run(ip, "netns", "del", name);
  run(ip, "netns", "add", name);
  try {
    run(ip, "link", "add", near, "type", "veth", "peer", "name", far, "netns", name);
    run(ip, "addr", "add", `${at(1)}/30`, "dev", near);
    run(ip, "link", "set", near, "up");
    run(ip, "-n", name, "addr", "add", `${at(2)}/30`, "dev", far);
    run(ip, "-n", name, "link", "set", far, "up");
    run(ip, "-n", name, "link", "set", "lo", "up");
    const rules = `table inet cut {
      chain arriving { type filter hook input priority 0; }
      chain leaving { type filter hook output priority 0; }
    }`;
    run(ip, "netns", "exec", name, nft ?? "nft", rules);
  } catch (error) {
    remove();
    throw error;
  }
  const inside = (...args: string[]) => run(ip, "netns", "exec", name, nft ?? "nft", ...args);
  return {
    through: [ip ?? "ip", "netns", "exec", name],
    address: at(1),
    drop(directions) {
      if (directions.includes("to-agent"))
        inside("add", "rule", "inet", "cut", "arriving", "iifname", far, "drop");
      if (directions.includes("from-agent"))
        inside("add", "rule", "inet", "cut", "leaving", "oifname", far, "drop");
    },
    heal() {
      inside("flush", "chain", "inet", "cut", "arriving");
      inside("flush", "chain", "inet", "cut", "leaving");
    },
    remove,
  };
}

/** Why there can be none here; undefined: there can. */
export function whyNoLink(): string | undefined {
  try {
    cutLink(63).remove();
    return undefined;
  } catch (error) {
    return error instanceof Error ? (error.message.split("\n")[0] ?? "") : String(error);
  }
}
