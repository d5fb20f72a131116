/** docs/operations/wolfctl.md and the commands say the same. */
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "@jest/globals";
import { CreateJoinTokenRequest, CreateSessionRequest } from "@wolfpack/api-contract";
import { wolfctlChecks } from "../src/doctor/checks.ts";
import { exitCodes } from "../src/errors.ts";
import { type Leaf, leaves, program } from "./command-tree.ts";
import { machine } from "./edges.ts";

const text = readFileSync(
  fileURLToPath(new URL("../../../docs/operations/wolfctl.md", import.meta.url)),
  "utf8",
);
const rows = (pattern: RegExp) => [...text.matchAll(pattern)].map(([row]) => row);

function rowOf({ words, command }: Leaf): string {
  const args = command.registeredArguments.map((one) => {
    const name = `${one.name()}${one.variadic ? "..." : ""}`;
    return one.required ? ` <${name}>` : ` [${name}]`;
  });
  const flags = command.options.map(({ flags: one }) => `\`${one}\``).join(", ") || "–";
  return `| \`${words.join(" ")}${args.join("")}\` | ${command.description()} | ${flags} |`;
}

describe("the document", () => {
  it("lists every command with its arguments, meaning and flags, and no other", () => {
    expect(rows(/^\| `[a-z]+( [a-z-]+)*( [<[][a-z.]+[>\]])*` \| .* \| .* \|$/gm)).toEqual(
      leaves().map(rowOf),
    );
  });

  it("lists every flag that all commands take", () => {
    expect(rows(/^\| `-.*` \| .* \|$/gm)).toEqual(
      program.options.map(({ flags, description }) => `| \`${flags}\` | ${description} |`),
    );
  });

  it("lists every exit code", () => {
    expect(rows(/^\| \d+ \| .*$/gm).map((row) => Number(row.split("|")[1]))).toEqual(
      Object.values(exitCodes),
    );
  });

  it("lists every check of the doctor with what to do", () => {
    expect(rows(/^\| W\d\d \| .* \|$/gm)).toEqual(
      Object.entries(wolfctlChecks).map(([id, { title, advice }]) => `| ${id} | ${title} | ${advice} |`),
    );
  });

  it("is complete without it: help says what is taken where a flag is left out, as the API has it", () => {
    const session = CreateSessionRequest.parse({});
    const { resolution: at } = session;
    const { encoder_sessions: streams, vram_mb } = session.resources;
    const token = CreateJoinTokenRequest.parse({});
    const defaults: Record<string, Record<string, string>> = {
      "sessions create": {
        resolution: `${at.width}x${at.height}@${at.refresh_rate}`,
        image: "the control plane's",
        vram: String(vram_mb),
        streams: String(streams),
        policy: "the control plane's",
        "on-loss": session.disconnect_policy,
        ttl: "the control plane's",
        idle: "the control plane's",
        "queue-for": "the control plane's",
        priority: String(session.priority),
      },
      "tokens create": { uses: String(token.uses_max), "expires-in": `${token.expires_in_seconds / 3600}h` },
      "keys create": { user: "yourself", "expires-in": "never" },
    };
    const said = Object.entries(defaults).flatMap(([words, flags]) => {
      const { command } = leaves().find((one) => one.words.join(" ") === words) as Leaf;
      return Object.entries(flags).map(([flag, value]) => {
        const description = command.options.find(({ long }) => long === `--${flag}`)?.description ?? "";
        return [words, flag, /; default: (.*)$/.exec(description)?.[1], value];
      });
    });
    expect(said.filter(([, , found, value]) => found !== value)).toEqual([]);
  });

  it("fits 80 columns in each command's help", async () => {
    const here = machine("http://unused");
    for (const { words } of leaves()) {
      const { code, out } = await here.run([...words, "--help"]);
      expect([words, code, out.split("\n").filter((line) => line.length > 80)]).toEqual([words, 0, []]);
    }
    here.remove();
  });
});
