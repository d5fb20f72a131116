import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import os from "node:os";
import path from "node:path";
import { describe, expect, it } from "@jest/globals";
import { freePort } from "@wolfpack/control-plane/free-ports";
import { parse } from "yaml";
import { packagedAgent } from "./packaged-agent.ts";
import { read } from "./repository/workspaces.ts";
import {
  agentVariables,
  controlPlaneVariables,
  LEAVING_ROOM_SECONDS,
  leavesWithinSeconds,
} from "./settings.ts";

interface Service {
  image?: string;
  build?: { dockerfile: string };
  environment?: Record<string, string>;
  volumes?: string[];
  ports?: string[];
  user?: string;
  read_only?: boolean;
  cap_drop?: string[];
  privileged?: boolean;
  network_mode?: string;
  security_opt?: string[];
  secrets?: string[];
}
const compose = (file: string) =>
  parse(read(`deploy/compose/${file}`)) as { services: Record<string, Service> };
const documented = new Set([...controlPlaneVariables, ...agentVariables]);
const controlPlane = compose("control-plane.yaml").services["control-plane"] as Service;
const host = compose("gpu-host.yaml").services;

describe("the compose files", () => {
  it("give our programs only variables that they know", () => {
    for (const service of [controlPlane, host.agent as Service]) {
      for (const name of Object.keys(service.environment ?? {})) expect(documented).toContain(name);
    }
  });

  it("run our programs on a read-only root, without capabilities or new privileges", () => {
    for (const service of [controlPlane, host.agent as Service]) {
      expect(service).toMatchObject({
        read_only: true,
        cap_drop: ["ALL"],
        security_opt: ["no-new-privileges:true"],
      });
      expect(service.privileged).toBeUndefined();
    }
  });

  it("keep Docker's socket and every port away from the agent", () => {
    const agent = host.agent as Service;
    expect(JSON.stringify(agent)).not.toContain("docker.sock");
    expect(agent.ports).toBeUndefined();
    expect(agent.network_mode).toBeUndefined();
    expect(agent.volumes).toEqual(["wolf-socket:/var/run/wolf", "agent-state:/var/lib/wolf-revdial-client"]);
  });

  it("keep the agent's key when its container is made anew, and need no token from then on", () => {
    const { volumes, secrets } = parse(read("deploy/compose/gpu-host.yaml")) as {
      volumes: Record<string, unknown>;
      secrets: Record<string, { file: string }>;
    };
    expect(volumes).toHaveProperty("agent-state");
    expect(host.agent).not.toHaveProperty("tmpfs");
    const files = ["join-token", "runner-token"].map((name) => secrets[name]?.file);
    for (const file of files) expect(file).toMatch(/^\$\{(JOIN|RUNNER)_TOKEN_FILE:-\/dev\/null\}$/);
  });

  it("speak Helix's protocol where that is wanted, with a policy for it", () => {
    expect(host.agent?.environment).toMatchObject({
      WOLFPACK_PROTOCOL: `\${WOLFPACK_PROTOCOL:-native}`,
      WOLFPACK_POLICY_FILE: `\${WOLFPACK_POLICY_FILE:+/run/secrets/policy}`,
    });
  });

  it("share the directory of Wolf's socket, which Wolf makes anew at every start", () => {
    const wolf = host.wolf as Service;
    expect(wolf.volumes).toContain("wolf-socket:/var/run/wolf");
    expect(`unix://${wolf.environment?.WOLF_SOCKET_PATH}`).toBe(host.agent?.environment?.WOLFPACK_LOCAL);
  });

  it("hold no secret: passwords and tokens come from outside", () => {
    for (const file of ["control-plane.yaml", "gpu-host.yaml"]) {
      for (const [, value = ""] of read(`deploy/compose/${file}`).matchAll(
        /(?:PASSWORD|TOKEN|SECRET)[A-Z_]*: (.*)$/gm,
      )) {
        expect(value).toMatch(/^\$\{[A-Z_]+(:\?.*|:-)\}$|^\/run\/secrets\//);
      }
    }
    for (const file of ["control-plane.env.example", "gpu-host.env.example"]) {
      expect(read(`deploy/compose/${file}`)).not.toMatch(/(PASSWORD|SECRET|RUNNER_TOKEN)=\S/);
    }
  });

  it("need of whoever runs the control plane two secrets, and name in the example what else can be set", () => {
    const text = read("deploy/compose/control-plane.yaml");
    const asked = (how: RegExp) => [...new Set([...text.matchAll(how)].map(([, name]) => name))].sort();
    expect(asked(/\$\{([A-Z_]+):\?/g)).toEqual(["API_KEY_SECRET", "POSTGRES_PASSWORD"]);
    const example = [...read("deploy/compose/control-plane.env.example").matchAll(/^([A-Z_]+)=/gm)];
    expect(example.map(([, name]) => name).sort()).toEqual(asked(/\$\{([A-Z_]+)/g));
    expect(asked(/\$\{([A-Z_]+):-/g)).toEqual(
      expect.arrayContaining(["RUNNER_TOKEN", "WOLFPACK_PUBLIC_URL", "WOLFPACK_TRUSTED_PROXIES"]),
    );
  });

  it("are built by Dockerfiles that end as an ordinary user, on the Node that the project pins", () => {
    const { devDependencies } = JSON.parse(read("package.json")) as {
      devDependencies: Record<string, string>;
    };
    for (const service of [controlPlane, host.agent as Service]) {
      const dockerfile = read(service.build?.dockerfile ?? "");
      const last = dockerfile.slice(dockerfile.lastIndexOf("\nFROM "));
      expect(
        [...dockerfile.matchAll(/^FROM (\S+)/gm)].every(
          ([, image]) => image === `node:${devDependencies.node}-bookworm-slim`,
        ),
      ).toBe(true);
      expect(last).toMatch(/^USER 1000:1000$/m);
      expect(last).not.toMatch(/TOKEN|SECRET|PASSWORD/);
    }
  });
});

describe("the images' health checks", () => {
  const dockerfile = (name: string) => read(`deploy/docker/${name}.Dockerfile`);
  const command = (name: string) =>
    JSON.parse(
      /^HEALTHCHECK (?:--\S+ )+\\\n {2}CMD (\[.*\])$/m.exec(dockerfile(name))?.[1] ?? "[]",
    ) as string[];
  async function exitCode(argv: readonly string[], env: Record<string, string>): Promise<number> {
    const child = spawn(process.execPath, argv, { env, stdio: "ignore" });
    const [code] = (await once(child, "close")) as [number];
    return code;
  }

  it("are not said again by the compose files", () => {
    expect(controlPlane).not.toHaveProperty("healthcheck");
    expect(host.agent).not.toHaveProperty("healthcheck");
  });

  it("ask the agent where its image has it listen: well while it only has no control plane, not without it", async () => {
    const [node, file, ...args] = command("agent");
    expect(node).toBe("node");
    expect(dockerfile("agent")).toMatch(new RegExp(`^COPY .* ${file}$`, "m"));
    // Where it listens is for the image to say; the test's own port keeps it from an agent of this host.
    expect(dockerfile("agent")).toMatch(/^ENV WOLFPACK_HEALTH_LISTEN=127\.0\.0\.1:\d+$/m);
    const env = { WOLFPACK_HEALTH_LISTEN: `127.0.0.1:${await freePort()}` };
    const folder = mkdtempSync(path.join(os.tmpdir(), "wolfpack-image-"));
    const agent = packagedAgent(["connect"], {
      ...env,
      WOLFPACK_API_URL: `http://127.0.0.1:${await freePort()}`,
      WOLF_ID: "gpu-1",
      RUNNER_TOKEN: "test-token",
      WOLFPACK_LOCAL: `unix://${folder}/wolf.sock`,
      WOLFPACK_STATE_DIR: folder,
      WOLFPACK_LOG_LEVEL: "debug",
    });
    try {
      await agent.said(/health listener/);
      expect(await packagedAgent(args, env).exit).toBe(0);
    } finally {
      await agent.stop();
      rmSync(folder, { recursive: true, force: true });
    }
    expect(await packagedAgent(args, env).exit).toBe(1);
  });

  it("ask the control plane at its port: well at 200, not at 503, not when nothing answers", async () => {
    const [node, ...args] = command("control-plane");
    expect(node).toBe("node");
    let status = 200;
    const asked: (string | undefined)[] = [];
    const server = createServer((request, response) => {
      asked.push(request.url);
      response.writeHead(status, { connection: "close" }).end();
    }).listen(0, "127.0.0.1");
    await once(server, "listening");
    const env = { PORT: String((server.address() as AddressInfo).port) };
    expect(await exitCode(args, env)).toBe(0);
    status = 503;
    expect(await exitCode(args, env)).toBe(1);
    await new Promise((resolve) => server.close(resolve));
    expect(await exitCode(args, env)).toBe(1);
    expect(asked).toEqual(["/healthz", "/healthz"]);
  });
});

describe("the systemd unit and the supervisord program", () => {
  const unit = read("deploy/systemd/wolf-revdial-client.service");
  const supervisord = read("deploy/supervisord/wolf-revdial-client.conf");
  const setting = (name: string) => new RegExp(`^${name}=(.*)$`, "m").exec(unit)?.[1];

  it("give the agent only variables that it knows", () => {
    const given = [
      ...[...unit.matchAll(/^Environment=([A-Z_]+)=/gm)].map(([, name]) => name),
      ...[...(/^environment=(.*)$/m.exec(supervisord)?.[1] ?? "").matchAll(/([A-Z_]+)="/g)].map(
        ([, name]) => name,
      ),
    ];
    expect(given.length).toBeGreaterThan(4);
    for (const name of given) expect(documented).toContain(name);
  });

  it("do not start an agent again that was replaced, or whose settings or token are wrong", () => {
    expect(setting("Restart")).toBe("on-failure");
    expect(setting("RestartPreventExitStatus")).toBe("2 3");
    expect(supervisord).toMatch(/^autorestart=unexpected$/m);
    expect(supervisord).toMatch(/^exitcodes=0,2,3$/m);
  });

  it("leave it the time to finish what is in flight", () => {
    expect(Number(setting("TimeoutStopSec"))).toBeGreaterThan(30);
    expect(Number(/^stopwaitsecs=(\d+)$/m.exec(supervisord)?.[1])).toBeGreaterThan(30);
  });

  it("are followed by a guide that waits, after each restart of a replica, until it is ready", () => {
    const guide = read("docs/operations/upgrade.md");
    const [, systemd = ""] = /^### systemd$([\s\S]*?)^## /m.exec(guide) ?? [];
    expect(systemd).toMatch(
      /restart wolfpack-control-plane\n +until curl -fs [^\n]*\/readyz; do sleep 1; done\n/,
    );
  });

  it("start a replica with what it knows, give it the time to drain, and do not try a wrong setting again", () => {
    const replica = read("deploy/systemd/wolfpack-control-plane.service");
    const given = [...replica.matchAll(/^Environment=([A-Z_]+)=/gm)].map(([, name]) => name);
    expect(given).toEqual(["NODE_ENV", "DATA_DIR"]);
    for (const name of given) expect(documented).toContain(name);
    expect(replica).toMatch(/^RestartPreventExitStatus=2$/m);
    expect(Number(/^TimeoutStopSec=(\d+)$/m.exec(replica)?.[1])).toBeGreaterThanOrEqual(
      leavesWithinSeconds() + LEAVING_ROOM_SECONDS,
    );
    // Its embedded PostgreSQL, where there is one, is for it to stop.
    expect(replica).toMatch(/^KillMode=mixed$/m);
    expect(replica).not.toMatch(/(SECRET|TOKEN|DATABASE_URL)=|^User=root|MemoryDenyWriteExecute/m);
    const image = read("deploy/docker/control-plane.Dockerfile");
    const [, flags = ""] = /^ExecStart=\S+ (.*)$/m.exec(replica) ?? [];
    for (const word of flags.split(" ")) expect(image).toContain(`"${word}"`);
  });

  it("let systemd-notify speak, and take every capability and privilege away", () => {
    expect(setting("Type")).toBe("notify");
    expect(setting("NotifyAccess")).toBe("all");
    // A beat of the agent is 10 s at most.
    expect(Number(setting("WatchdogSec"))).toBeGreaterThanOrEqual(30);
    expect(setting("CapabilityBoundingSet")).toBe("");
    expect(setting("NoNewPrivileges")).toBe("yes");
    expect(setting("ProtectSystem")).toBe("strict");
    expect(setting("SystemCallFilter")).toBe("@system-service");
    // V8 writes the code that it runs.
    expect(setting("MemoryDenyWriteExecute")).toBeUndefined();
    expect(`${unit}${supervisord}`).not.toMatch(/(RUNNER|JOIN)_TOKEN=|docker\.sock/);
    // A credential that is not there would keep an enrolled agent from starting.
    expect(setting("LoadCredential")).toBeUndefined();
  });
});
