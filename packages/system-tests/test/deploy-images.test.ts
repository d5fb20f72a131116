/** The images, without Docker: every instruction is looked at, and what they copy is there after a build. */
import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { describe, expect, it } from "@jest/globals";
import { built, one, stagesOf } from "./image.ts";
import { read, root } from "./repository/workspaces.ts";

const { devDependencies, version } = JSON.parse(read("package.json")) as {
  devDependencies: Record<string, string>;
  version: string;
};
const images = ["control-plane", "agent"] as const;
const known = [
  "FROM",
  "WORKDIR",
  "COPY",
  "RUN",
  "ENV",
  "USER",
  "ARG",
  "LABEL",
  "EXPOSE",
  "VOLUME",
  "HEALTHCHECK",
  "ENTRYPOINT",
  "CMD",
];

describe.each(images)("the image of the %s", (image) => {
  const stages = stagesOf(image);
  const last = stages.at(-1) ?? [];
  const labels = Object.fromEntries(
    [...one(last, "LABEL").text.matchAll(/([\w.]+)="([^"]*)"/g)].map(([, name, value]) => [name, value]),
  );

  it("is built in two stages of instructions that we know, of which only the last is shipped", () => {
    expect(stages).toHaveLength(2);
    expect(stages.flat().filter(({ name }) => !known.includes(name))).toEqual([]);
    expect(one(stages[0] ?? [], "FROM").text).toMatch(/ AS build$/);
  });

  it("stands on the very Node that the project pins", () => {
    const base = `node:${devDependencies.node}-bookworm-slim`;
    for (const stage of stages) expect(one(stage, "FROM").args[0]).toBe(base);
    expect(labels["org.opencontainers.image.base.name"]).toBe(`docker.io/library/${base}`);
  });

  it("says what it is, of which version, and where the list of its parts lies", () => {
    for (const name of ["title", "description", "licenses", "version", "revision"])
      expect(labels[`org.opencontainers.image.${name}`]).toMatch(/\S/);
    expect(labels["org.opencontainers.image.licenses"]).toBe(JSON.parse(read("package.json")).license);
    const defaults = last.filter(({ name }) => name === "ARG").map(({ text }) => text);
    expect(defaults).toEqual([`VERSION=${version}`, "REVISION=unknown"]);
    expect(labels["wolfpack.sbom.format"]).toBe("application/vnd.cyclonedx+json; version=1.6");
    expect(read("scripts/sbom.mjs")).toContain('"--sbom-spec-version", "1.6"');
    const copied = last.filter(({ name, text }) => name === "COPY" && text.includes("/build/sbom/"));
    expect(copied).toHaveLength(1);
    const [{ args = [] } = {}] = copied;
    expect(args.at(-1)).toBe(`${labels["wolfpack.sbom.path"]}/`);
    for (const file of args.slice(0, -1))
      expect(read("scripts/sbom.mjs")).toMatch(
        new RegExp(`^ {2}"?${path.basename(file, ".cdx.json")}"?: `, "m"),
      );
  });

  it("copies from the build only, what is there after one, for nobody to change", () => {
    const copies = last.filter(({ name }) => name === "COPY");
    expect(copies.length).toBeGreaterThan(1);
    for (const { flags, args } of copies) {
      expect(flags).toEqual(["from=build", "chown=root:root"]);
      // The bills are made in the build stage, by a script that is tested elsewhere.
      for (const source of args.slice(0, -1))
        if (!source.startsWith("/build/sbom/"))
          expect({ source, there: existsSync(built(source)) }).toEqual({ source, there: true });
    }
  });

  it("ends as a user without rights, who can be told from root by number", () => {
    const users = last.filter(({ name }) => name === "USER").map(({ text }) => text);
    expect(users).toEqual(["1000:1000"]);
    const rest = last.slice(last.findIndex(({ name }) => name === "USER") + 1);
    expect(rest.map(({ name }) => name).filter((name) => name === "RUN" || name === "COPY")).toEqual([]);
  });

  it("starts one program without a shell, and is asked for its health without one", () => {
    const command = JSON.parse(one(last, "ENTRYPOINT").text) as string[];
    expect(command[0]).toBe("node");
    expect(one(last, "HEALTHCHECK").text).toMatch(/CMD \[/);
  });

  it("holds no secret in any layer, and does not let those of a deployment into the build", () => {
    for (const { name, text } of stages.flat())
      if (name === "ENV" || name === "ARG" || name === "LABEL")
        expect(text).not.toMatch(/(TOKEN|SECRET|PASSWORD|DATABASE_URL|KEY)[A-Z_]*=/);
    const ignored = read(".dockerignore").split("\n");
    expect(ignored).toEqual(expect.arrayContaining([".git", ".data", "**/*.env", "**/secrets"]));
  });
});

describe("make-secrets.sh", () => {
  const script = path.join(root, "deploy/compose/make-secrets.sh");
  it("makes each secret once, for its reader alone, and never says one", () => {
    const folder = mkdtempSync(path.join(os.tmpdir(), "wolfpack-secrets-"));
    try {
      const make = () => spawnSync("sh", [script, folder], { encoding: "utf8" });
      const first = make();
      expect(first.status).toBe(0);
      const files = ["postgres-password", "metrics-token", "control-plane.env"];
      const texts = files.map((file) => readFileSync(path.join(folder, file), "utf8"));
      for (const file of files) expect(statSync(path.join(folder, file)).mode & 0o777).toBe(0o400);
      const [password = "", token = "", env = ""] = texts;
      expect([password, token]).toEqual([
        expect.stringMatching(/^[0-9a-f]{64}$/),
        expect.stringMatching(/^[0-9a-f]{64}$/),
      ]);
      expect(password).not.toBe(token);
      expect(env).toMatch(
        new RegExp(`^DATABASE_URL=postgresql://wolfpack:${password}@postgres:5432/wolfpack$`, "m"),
      );
      expect(env).toMatch(/^API_KEY_SECRET=[0-9a-f]{64}$/m);
      expect(first.stdout + first.stderr).not.toMatch(/[0-9a-f]{32}/);
      expect(make().status).toBe(0);
      expect(files.map((file) => readFileSync(path.join(folder, file), "utf8"))).toEqual(texts);
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  });

  it("says how it is used when nobody says where", () => {
    const { status, stderr } = spawnSync("sh", [script], { encoding: "utf8" });
    expect(status).not.toBe(0);
    expect(stderr).toContain("usage: make-secrets.sh FOLDER");
  });
});
