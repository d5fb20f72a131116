import { describe, expect, it } from "@jest/globals";
import { parse } from "yaml";
import { read } from "./repository/workspaces.ts";

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
const documented = new Set(
  [
    ...`${read("docs/operations/configuration.md")}${read("docs/operations/agent.md")}`.matchAll(
      /^\| `([A-Z_]+)`/gm,
    ),
  ].map(([, name]) => name),
);
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
    expect(agent.volumes).toEqual(["wolf-socket:/var/run/wolf"]);
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
        expect(value).toMatch(/^\$\{[A-Z_]+:\?|^\/run\/secrets\//);
      }
    }
    for (const file of ["control-plane.env.example", "gpu-host.env.example"]) {
      expect(read(`deploy/compose/${file}`)).not.toMatch(/(PASSWORD|SECRET|RUNNER_TOKEN)=\S/);
    }
  });

  it("are built by Dockerfiles that end as an ordinary user, on the Node that the project pins", () => {
    const { devDependencies } = JSON.parse(read("package.json")) as {
      devDependencies: Record<string, string>;
    };
    const major = devDependencies.node?.split(".")[0];
    for (const service of [controlPlane, host.agent as Service]) {
      const dockerfile = read(service.build?.dockerfile ?? "");
      const last = dockerfile.slice(dockerfile.lastIndexOf("\nFROM "));
      expect(
        [...dockerfile.matchAll(/^FROM (\S+)/gm)].every(
          ([, image]) => image === `node:${major}-bookworm-slim`,
        ),
      ).toBe(true);
      expect(last).toMatch(/^USER node$/m);
      expect(last).not.toMatch(/TOKEN|SECRET|PASSWORD/);
    }
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
    expect(`${unit}${supervisord}`).not.toMatch(/RUNNER_TOKEN=|docker\.sock/);
  });
});
