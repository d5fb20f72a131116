import { execFileSync } from "node:child_process";
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, describe, expect, it } from "@jest/globals";
import {
  controlPlaneUrl,
  type Deployment,
  deployments,
  gpuTypes,
  type Host,
  kubernetesNote,
  quoted,
  stepsFor,
} from "./agent-commands.ts";

const root = fileURLToPath(new URL("../../../../..", import.meta.url));
const guide = readFileSync(`${root}/docs/agent.md`, "utf8").replaceAll("\\\n", " ").replaceAll(/\s+/g, " ");
/** As the guide has it. */
const host: Host = { url: "https://wolfpack.example.com", wolf: "gpu-1", gpu: "nvidia" };
const kinds = deployments.map(([kind]) => kind);
const textOf = (kind: Deployment, of: Host = host): string =>
  stepsFor(kind, of)
    .map(({ commands }) => commands)
    .join("\n");

const folders: string[] = [];
afterEach(() => {
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true });
});
function folderOf(): string {
  const folder = mkdtempSync(path.join(tmpdir(), "wolfpack-commands-"));
  folders.push(folder);
  return folder;
}

describe("the commands for a host", () => {
  it.each(kinds)("are those of the guide: %s", (kind) => {
    const whole = textOf(kind).replaceAll("\\\n", " ");
    for (const line of whole.split("\n")) {
      // What the guide says in prose or asks to edit by hand.
      if (/^(printf|sed|install -d|rm|\$\{EDITOR:-vi\}|! grep) /.test(line) || line.includes("/dev/stdin --"))
        continue;
      if (line.startsWith("kubectl") && /create secret|apply/.test(line)) continue;
      const words = line.trim().replaceAll(/\s+/g, " ");
      expect(guide).toContain(words.replace(/^install -m 755 apps\S+ /, ""));
    }
  });

  it.each(kinds)("name no file of the project that is not there: %s", (kind) => {
    const made = /^deploy\/(compose\/gpu-host\.env|kubernetes\/site(\/.*)?)$/;
    for (const [file] of textOf(kind).matchAll(/deploy\/[A-Za-z0-9._/-]+/g))
      if (!made.test(file)) expect([file, existsSync(`${root}/${file}`)]).toEqual([file, true]);
  });

  it.each(kinds)("are understood by a shell, for every GPU: %s", (kind) => {
    for (const gpu of gpuTypes)
      for (const { commands } of stepsFor(kind, { ...host, gpu })) execFileSync("sh", ["-n", "-c", commands]);
  });

  it.each(["intel", "none"] as const)(
    "are none for Kubernetes with a GPU that has no manifests: %s",
    (gpu) => {
      expect(stepsFor("kubernetes", { ...host, gpu })).toEqual([]);
      expect(stepsFor("compose", { ...host, gpu }).length).toBeGreaterThan(0);
    },
  );

  it.each(kinds)("take the token once, by pasting it, and never hold one: %s", (kind) => {
    const steps = stepsFor(kind, host);
    expect(steps.filter(({ takesToken }) => takesToken)).toHaveLength(1);
    expect(textOf(kind)).not.toMatch(/wjt_|JOIN_TOKEN=/);
  });

  it("write the settings that were chosen, as one line each", () => {
    const folder = folderOf();
    mkdirSync(`${folder}/deploy/compose`, { recursive: true });
    const [settings] = stepsFor("compose", { ...host, gpu: "amd" });
    const commands = settings?.commands.replaceAll("/etc/wolfpack", `${folder}/etc`) ?? "";
    execFileSync("sh", ["-e", "-c", commands], { cwd: folder });
    expect(readFileSync(`${folder}/deploy/compose/gpu-host.env`, "utf8").split("\n")).toEqual([
      "WOLFPACK_API_URL=https://wolfpack.example.com",
      "WOLF_ID=gpu-1",
      "GPU_TYPE=amd",
      `JOIN_TOKEN_FILE=${folder}/etc/join-token`,
      "",
    ]);
  });

  it("make a site of Kubernetes with this control plane and the other overlay", () => {
    const folder = folderOf();
    mkdirSync(`${folder}/deploy/kubernetes`, { recursive: true });
    const example = `${root}/deploy/kubernetes/site.example`;
    const commands = stepsFor("kubernetes", {
      url: "https://fleet.example.org:8443",
      wolf: "x",
      gpu: "amd",
    })[1]
      ?.commands.split("\n")
      .filter((line) => !line.startsWith("kubectl"))
      .join("\n")
      .replace("deploy/kubernetes/site.example", example);
    execFileSync("sh", ["-e", "-c", commands ?? ""], { cwd: folder });
    const site = readFileSync(`${folder}/deploy/kubernetes/site/kustomization.yaml`, "utf8");
    expect(site).toContain("value: https://fleet.example.org:8443");
    expect(site).toContain("- ../amd");
    expect(site).not.toContain("- ../nvidia");
  });

  it("apply nothing to Kubernetes before the example's image was edited, whatever is pasted at once", () => {
    const folder = folderOf();
    mkdirSync(`${folder}/deploy/kubernetes`, { recursive: true });
    cpSync(`${root}/deploy/kubernetes/site.example`, `${folder}/deploy/kubernetes/site.example`, {
      recursive: true,
    });
    for (const tool of ["docker", "kubectl"]) {
      writeFileSync(`${folder}/${tool}`, `#!/bin/sh\necho ${tool} "$@" >> ${folder}/called\n`);
      chmodSync(`${folder}/${tool}`, 0o755);
    }
    const env = { ...process.env, PATH: `${folder}:${process.env.PATH}`, EDITOR: "true" };
    const paste = (commands: string) => {
      // As at a prompt: what fails does not stop what follows.
      execFileSync("sh", ["-c", `${commands}\ntrue`], { cwd: folder, env, stdio: "ignore" });
      return readFileSync(`${folder}/called`, "utf8");
    };
    expect(paste(textOf("kubernetes"))).not.toContain("apply");
    const site = `${folder}/deploy/kubernetes/site/kustomization.yaml`;
    writeFileSync(site, readFileSync(site, "utf8").replace("images.example.com", "images.example.org"));
    const apply = stepsFor("kubernetes", host).find(({ commands }) => commands.includes("apply"));
    expect(paste(apply?.commands ?? "")).toContain("kubectl apply -k deploy/kubernetes/site\n");
  });

  it.each(["gpu-1", "it's", "$(id)", "`id`", 'a"b', "a b", "*", "-n", "%s", "\\n", ";rm", "ä\u202e"])(
    "quote %j as one word",
    (text) => {
      const said = execFileSync("sh", ["-c", `printf '%s' ${quoted(text)}`], { encoding: "utf8" });
      expect(said).toBe(text);
    },
  );
});

describe("the address of the control plane", () => {
  it("is an origin, whatever was pasted", () => {
    expect(controlPlaneUrl("https://fleet.example.org/access?tab=tokens")).toBe("https://fleet.example.org");
    expect(controlPlaneUrl("http://10.0.0.1:8080")).toBe("http://10.0.0.1:8080");
  });

  it.each([
    "",
    "fleet",
    "ftp://x",
    "javascript:alert(1)",
    "https://user:secret@fleet.example.org",
    "https://",
  ])("is none of %j", (text) => {
    expect(controlPlaneUrl(text)).toBeUndefined();
  });
});

describe("what a token means for Kubernetes", () => {
  it("says how many nodes it enrols", () => {
    expect(kubernetesNote("node-a", 1)).toContain("the node named node-a and no other");
    expect(kubernetesNote(null, 1)).toContain("one node");
    expect(kubernetesNote(null, 12)).toContain("up to 12 nodes");
  });
});
