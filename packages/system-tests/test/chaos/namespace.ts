/**
 * Links of the kernel's own that can be cut without a word: a network namespace, veth pairs into it, and a filter of the kernel's traffic
 * control that drops what arrives. A sender learns nothing: to it, all that it sent is on its way.
 */
import { execFileSync } from "node:child_process";
import { existsSync } from "node:fs";
import path from "node:path";

/** As in PATH and where Debian keeps what only root needs. */
function found(tool: string): string | undefined {
  const folders = [...(process.env.PATH ?? "").split(path.delimiter), "/usr/sbin", "/sbin"];
  return folders.map((folder) => path.join(folder, tool)).find((file) => existsSync(file));
}

const tools = { ip: found("ip"), tc: found("tc") };

function run(tool: keyof typeof tools, ...args: string[]): void {
  const file = tools[tool];
  if (file === undefined) throw new Error("ip and tc are needed (Debian: apt-get install iproute2)");
  execFileSync(file, args, { stdio: ["ignore", "ignore", "pipe"] });
}

/** As seen from within the namespace. */
export type Direction = "inward" | "outward";

export interface CutLink {
  /** Of this side, and of the side within the namespace. */
  near: string;
  far: string;
  /** From within the namespace, this address of ours is reached over this link. */
  leadsTo(address: string): void;
  /** Packets of these directions vanish from now on. */
  drop(directions: readonly Direction[]): void;
  heal(): void;
}

export interface Namespace {
  /** What a program is started through to be in it. */
  through: readonly string[];
  /** One more, and nothing but these leads there: what goes over one of them is cut without the others. */
  link(): CutLink;
  remove(): void;
}

/** RFC 2544 sets 198.18.0.0/15 apart for tests: nobody's packets are led astray. A process has the 64 networks of four that its id gives it. */
const LINKS_MAX = 64;
const block = process.pid % 512;
const addressOf = (link: number, host: 1 | 2) => `198.${18 + (block >> 8)}.${block & 255}.${link * 4 + host}`;
/** A program for the kernel's packet filter: one instruction, "return 2", which to traffic control is TC_ACT_SHOT. */
const DROP = "1,6 0 0 2";

let namespaces = 0;
let links = 0;

export function makeNamespace(): Namespace {
  const name = `wp${process.pid}-${namespaces}`;
  namespaces += 1;
  const made: string[] = [];
  run("ip", "netns", "add", name);
  const remove = () => {
    // By themselves they would go with the namespace, but that stays for as long as a connection in it has something left to say.
    for (const device of made) run("ip", "link", "del", device);
    run("ip", "netns", "del", name);
  };
  try {
    run("ip", "-n", name, "link", "set", "lo", "up");
  } catch (error) {
    remove();
    throw error;
  }
  return {
    through: [tools.ip ?? "ip", "netns", "exec", name],
    link: () => makeLink(name, (device) => void made.push(device)),
    remove,
  };
}

function makeLink(namespace: string, onMade: (device: string) => void): CutLink {
  if (links === LINKS_MAX) throw new Error(`a process has ${LINKS_MAX} links`);
  const nth = links;
  links += 1;
  const [near, far] = [addressOf(nth, 1), addressOf(nth, 2)];
  const ends = {
    near: { device: `wpa${process.pid % 1_000_000}-${nth}`, within: [] },
    far: { device: `wpb${process.pid % 1_000_000}-${nth}`, within: ["-n", namespace] },
  };
  const [a, b] = [ends.near.device, ends.far.device];
  run("ip", "link", "add", a, "type", "veth", "peer", "name", b, "netns", namespace);
  onMade(a);
  run("ip", "addr", "add", `${near}/30`, "dev", a);
  run("ip", "link", "set", a, "up");
  run("ip", "-n", namespace, "addr", "add", `${far}/30`, "dev", b);
  run("ip", "-n", namespace, "link", "set", b, "up");
  const filters = (change: "add" | "del", what: keyof typeof ends, ...more: string[]) => {
    const { device, within } = ends[what];
    run("tc", ...within, "filter", change, "dev", device, "ingress", ...more);
  };
  for (const { device, within } of Object.values(ends))
    run("tc", ...within, "qdisc", "add", "dev", device, "clsact");
  return {
    near,
    far,
    leadsTo: (address) => run("ip", "-n", namespace, "route", "replace", `${address}/32`, "via", near),
    drop(directions) {
      // Where it arrives, and not where it leaves: who sends is told of what is dropped on its own side.
      for (const direction of directions)
        filters("add", direction === "inward" ? "far" : "near", "bpf", "da", "bytecode", DROP);
    },
    heal() {
      filters("del", "far");
      filters("del", "near");
    },
  };
}

/** Why there can be none here; undefined: there can. */
export function whyNoLink(): string | undefined {
  // Each link is a change of network to a browser, which then breaks off what it loads: not beside the dashboard's tests.
  if (process.env.WOLFPACK_CUT_LINKS !== "1")
    return "WOLFPACK_CUT_LINKS=1 asks for it, with no browser's test beside it";
  let namespace: Namespace | undefined;
  try {
    namespace = makeNamespace();
    const link = namespace.link();
    link.drop(["inward", "outward"]);
    link.heal();
    return undefined;
  } catch (error) {
    const { message, stderr } = Object(error) as { message?: string; stderr?: Buffer };
    return `${stderr ?? ""}`.trim().split("\n")[0] || message?.split("\n")[0] || String(error);
  } finally {
    namespace?.remove();
  }
}
