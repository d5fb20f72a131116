/** The Terraform module: parsed without Terraform; with it, its format, and its values as the chart takes them. */
import { spawnSync } from "node:child_process";
import { cpSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { parse as parseHcl } from "@cdktn/hcl2json";
import { describe, expect, it } from "@jest/globals";
import { defaults, merged, objectsOf, valueFaults } from "./chart.ts";
import { projectFiles, read, root } from "./repository/workspaces.ts";

const folder = "deploy/terraform";
const files = projectFiles().filter((file) => file.startsWith(`${folder}/`) && file.endsWith(".tf"));
const own = files.filter((file) => !file.includes("/examples/"));
const trees = new Map(
  await Promise.all(files.map(async (file) => [file, await parseHcl(file, read(file))] as const)),
);
type Blocks = Record<string, Record<string, unknown>[]>;
const blocks = (kind: string, of: readonly string[]): Blocks =>
  Object.assign({}, ...of.map((file) => (trees.get(file) as Record<string, Blocks>)[kind] ?? {}));
const variables = blocks("variable", own);

describe("the Terraform module", () => {
  it("is parsed, and says of each variable and output what it is, and of which type", () => {
    expect(own).toHaveLength(5);
    expect(Object.keys(variables).length).toBeGreaterThan(10);
    for (const [name, [variable]] of Object.entries(variables))
      expect({ name, ...variable }).toMatchObject({
        name,
        description: expect.stringMatching(/\.$/),
        type: expect.any(String),
      });
    for (const [name, [output]] of Object.entries(blocks("output", own)))
      expect({ name, ...output }).toMatchObject({ name, description: expect.stringMatching(/\.$/) });
  });

  it("uses every variable that it declares, and declares every one that it uses", () => {
    const text = own.map(read).join("\n");
    const used = new Set([...text.matchAll(/\bvar\.([a-z_]+)/g)].map(([, name]) => name as string));
    const outside = own.map((file) => read(file).replaceAll(/validation \{[\s\S]*?\n {2}\}/g, "")).join("\n");
    const really = new Set([...outside.matchAll(/\bvar\.([a-z_]+)/g)].map(([, name]) => name as string));
    expect([...used].sort()).toEqual(Object.keys(variables).sort());
    expect([...really].sort()).toEqual(Object.keys(variables).sort());
  });

  it("has an example that sets only what there is, and all that has no default", () => {
    const [example = {}] =
      blocks(
        "module",
        files.filter((file) => file.includes("/examples/basic/")),
      ).wolfpack ?? [];
    const given = Object.keys(example).filter((name) => name !== "source");
    expect(given.filter((name) => !Object.hasOwn(variables, name))).toEqual([]);
    const required = Object.entries(variables).filter(
      ([, [variable = {}]]) => !Object.hasOwn(variable, "default"),
    );
    expect(required.map(([name]) => name).filter((name) => !given.includes(name))).toEqual([]);
  });

  it("would not be parsed with a block that does not end", async () => {
    await expect(parseHcl("x.tf", 'variable "x" {')).rejects.toThrow(/Unclosed/);
  });
});

const hasTerraform = spawnSync("terraform", ["version"], { stdio: "ignore" }).status === 0;
const itWithTerraform = hasTerraform ? it : it.skip;
if (!hasTerraform) console.warn("the Terraform module is only parsed here: terraform is not installed");

describe("the Terraform module, by Terraform", () => {
  const run = (args: string[], cwd: string, input?: string) =>
    spawnSync("terraform", args, {
      cwd,
      input,
      encoding: "utf8",
      env: { ...process.env, CHECKPOINT_DISABLE: "1", TF_IN_AUTOMATION: "1" },
    });

  itWithTerraform("has Terraform's format (needs terraform)", () => {
    expect(run(["fmt", "-check", "-recursive"], path.join(root, folder)).stdout).toBe("");
  });

  itWithTerraform("gives the chart values that it takes, without a provider (needs terraform)", () => {
    const scratch = mkdtempSync(path.join(os.tmpdir(), "wolfpack-terraform-"));
    try {
      for (const file of ["variables.tf", "values.tf"])
        cpSync(path.join(root, folder, file), path.join(scratch, file));
      writeFileSync(
        path.join(scratch, "site.auto.tfvars.json"),
        JSON.stringify({
          host: "fleet.example.com",
          image_repository: "images.example.com/x",
          image_tag: "1.2.3",
          trusted_proxies: ["10.0.0.0/8", "10.1.0.0/16"],
          replicas: { min: 3, max: 3 },
          settings: { WOLFPACK_QUEUE_MAX: "5" },
        }),
      );
      const { stdout, stderr } = run(["console"], scratch, "jsonencode(local.chart_values)\n");
      expect(stderr.replaceAll(/[\s\S]*CLI configuration[\s\S]*/g, "")).toBe("");
      const values = JSON.parse(JSON.parse(stdout)) as Record<string, unknown>;
      expect(valueFaults(merged(defaults, values))).toEqual([]);
      const { objects } = objectsOf(values);
      const kinds = objects.map(({ kind }) => kind);
      expect(kinds).not.toContain("HorizontalPodAutoscaler");
      const deployment = objects.find(({ kind }) => kind === "Deployment");
      expect(deployment?.spec).toMatchObject({
        replicas: 3,
        template: { spec: { containers: [{ image: "images.example.com/x:1.2.3" }] } },
      });
      expect(objects.find(({ kind }) => kind === "ConfigMap")?.data).toEqual({
        LOG_LEVEL: "info",
        WOLFPACK_DRAIN_NOTICE_SECONDS: "7",
        WOLFPACK_PUBLIC_URL: "https://fleet.example.com",
        WOLFPACK_TRUSTED_PROXIES: "10.0.0.0/8,10.1.0.0/16",
        WOLFPACK_QUEUE_MAX: "5",
      });
    } finally {
      rmSync(scratch, { recursive: true, force: true });
    }
  });
});
