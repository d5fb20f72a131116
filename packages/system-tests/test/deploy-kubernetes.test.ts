/** deploy/kubernetes: what kustomize renders is valid, says what it should, and gives the agent no more than it needs. */
import { execFileSync, spawnSync } from "node:child_process";
import { cpSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "@jest/globals";
import { freePort } from "@wolfpack/control-plane/free-ports";
import { parseAllDocuments } from "yaml";
import { schemaFaults } from "./kubernetes-schema.ts";
import { type PackagedAgent, packagedAgent } from "./packaged-agent.ts";
import { projectFiles, read, root } from "./repository/workspaces.ts";
import { agentVariables } from "./settings.ts";

interface Variable {
  name: string;
  value?: string;
  valueFrom?: { fieldRef?: { fieldPath: string } };
}
interface Container {
  name: string;
  image: string;
  env: Variable[];
  envFrom?: { configMapRef: { name: string } }[];
  ports: { name: string; containerPort: number; protocol: string; hostIP?: string }[];
  securityContext: Record<string, unknown>;
  resources: Record<"requests" | "limits", Record<string, string | number> | undefined>;
  livenessProbe?: { httpGet: { host: string; port: number; path: string } };
  readinessProbe?: { httpGet: { host: string; port: number; path: string } };
  volumeMounts: { name: string; mountPath: string }[];
}
interface Volume {
  name: string;
  emptyDir?: object;
  hostPath?: { path: string; type: string };
  projected?: {
    defaultMode: number;
    sources: { secret: { name: string; optional: boolean; items: { key: string; path: string }[] } }[];
  };
}
interface PodSpec {
  containers: Container[];
  initContainers?: Container[];
  volumes: Volume[];
  nodeSelector: Record<string, string>;
  tolerations: { key: string }[];
  terminationGracePeriodSeconds: number;
  [field: string]: unknown;
}
interface Selector {
  matchLabels: Record<string, string>;
}
interface Rendered {
  apiVersion: string;
  kind: string;
  metadata: { name: string; namespace?: string; labels?: Record<string, string> };
  data?: Record<string, string>;
  automountServiceAccountToken?: boolean;
  spec: {
    selector: Selector;
    podSelector: Selector;
    template: { metadata: { labels: Record<string, string> }; spec: PodSpec };
    updateStrategy: unknown;
    policyTypes: string[];
    ingress: { from?: unknown; ports: { protocol: string; port: number }[] }[];
    egress: { ports: { protocol: string; port: number }[] }[];
  };
}

const folder = "deploy/kubernetes";
const overlays = ["nvidia", "amd"] as const;
const parse = (text: string) => parseAllDocuments(text).map((document) => document.toJS() as Rendered);
const rendered = (overlay: string) => parse(read(`${folder}/rendered/${overlay}.yaml`));
function the(kind: string, objects: readonly Rendered[]): Rendered {
  const found = objects.filter((object) => object.kind === kind);
  expect(found).toHaveLength(1);
  return found[0] as Rendered;
}
function pod(overlay: string): PodSpec & { wolf: Container; agent: Container } {
  const { spec } = the("DaemonSet", rendered(overlay)).spec.template;
  const container = (name: string) => spec.containers.find((one) => one.name === name) as Container;
  return { ...spec, wolf: container("wolf"), agent: container("agent") };
}
const files = projectFiles().filter((file) => file.startsWith(`${folder}/`));
const hasKubectl = spawnSync("kubectl", ["version", "--client"], { stdio: "ignore" }).status === 0;
const itWithKubectl = hasKubectl ? it : it.skip;
if (!hasKubectl) console.warn("deploy/kubernetes is not rendered anew here: kubectl is not installed");
const kustomize = (of: string) =>
  parse(execFileSync("kubectl", ["kustomize", of], { cwd: root, encoding: "utf8" }));

let scratch: string;
beforeEach(() => {
  scratch = mkdtempSync(path.join(os.tmpdir(), "wolfpack-kubernetes-"));
});
afterEach(() => rmSync(scratch, { recursive: true, force: true }));

describe("the Kubernetes files", () => {
  it("are what Kubernetes' schemas allow: the base, and both overlays as rendered", () => {
    const sources = files.filter((file) => /\/base\/(?!kustomization)/.test(file));
    expect(sources).toHaveLength(5);
    for (const file of [...sources, ...overlays.map((overlay) => `${folder}/rendered/${overlay}.yaml`)])
      for (const object of parse(read(file)))
        expect({ file, faults: schemaFaults(object) }).toEqual({ file, faults: [] });
  });

  it.each(overlays)(
    "are for %s nodes a namespace, an account, settings, a DaemonSet and a policy",
    (overlay) => {
      expect(rendered(overlay).map(({ kind }) => kind)).toEqual([
        "Namespace",
        "ServiceAccount",
        "ConfigMap",
        "DaemonSet",
        "NetworkPolicy",
      ]);
    },
  );

  itWithKubectl("are rendered as committed (needs kubectl)", () => {
    for (const overlay of overlays) expect(kustomize(`${folder}/${overlay}`)).toEqual(rendered(overlay));
    for (const object of kustomize(`${folder}/base`)) expect(schemaFaults(object)).toEqual([]);
  });

  itWithKubectl("let a site give its own image and settings without a change here (needs kubectl)", () => {
    const objects = kustomize(`${folder}/site.example`);
    for (const object of objects) expect(schemaFaults(object)).toEqual([]);
    const { containers } = the("DaemonSet", objects).spec.template.spec;
    expect(containers.find(({ name }) => name === "agent")?.image).toMatch(/^images\.example\.com\/.*:\d/);
    expect(the("ConfigMap", objects).data?.WOLFPACK_API_URL).toMatch(/^https:/);
  });

  itWithKubectl("cannot be rendered when a patch names what is not there (needs kubectl)", () => {
    cpSync(path.join(root, folder), scratch, { recursive: true });
    const patch = read(`${folder}/amd/daemon-set.yaml`).replace("name: wolf-host", "name: wolf-hots");
    writeFileSync(path.join(scratch, "amd/daemon-set.yaml"), patch);
    const { status, stderr } = spawnSync("kubectl", ["kustomize", "amd"], { cwd: scratch, encoding: "utf8" });
    expect({ status, stderr }).toMatchObject({ status: 1, stderr: expect.stringContaining("wolf-hots") });
  });

  it("let both kinds of nodes be in one cluster: no name and no pod belongs to both", () => {
    const names = (overlay: string) =>
      rendered(overlay).flatMap(({ kind, metadata }) =>
        kind === "Namespace" ? [] : `${kind} ${metadata.name}`,
      );
    expect(names("nvidia").filter((name) => names("amd").includes(name))).toEqual([]);
    for (const [overlay, other] of [overlays, overlays.toReversed()]) {
      const { selector, template } = the("DaemonSet", rendered(overlay as string)).spec;
      expect(template.metadata.labels).toMatchObject(selector.matchLabels);
      const foreign = the("DaemonSet", rendered(other as string)).spec.template.metadata.labels;
      expect(foreign).not.toMatchObject(selector.matchLabels);
    }
  });

  it("put Wolf on nodes with a GPU of the kind, which it takes as a whole, past that GPU's taint", () => {
    expect(pod("nvidia")).toMatchObject({
      runtimeClassName: "nvidia",
      nodeSelector: { "nvidia.com/gpu.present": "true" },
      tolerations: [{ key: "nvidia.com/gpu" }],
      wolf: { resources: { limits: { "nvidia.com/gpu": 1 } } },
    });
    expect(pod("amd")).toMatchObject({
      nodeSelector: { "feature.node.kubernetes.io/amd-gpu": "true" },
      tolerations: [{ key: "amd.com/gpu" }],
      wolf: { resources: { limits: { "amd.com/gpu": 1 } } },
    });
    expect(pod("amd").runtimeClassName).toBeUndefined();
    for (const overlay of overlays)
      expect(pod(overlay).agent.env).toContainEqual({ name: "GPU_TYPE", value: overlay });
  });

  it("change one node at a time, and give what is in flight its time", () => {
    for (const overlay of overlays) {
      expect(the("DaemonSet", rendered(overlay)).spec.updateStrategy).toEqual({
        type: "RollingUpdate",
        rollingUpdate: { maxUnavailable: 1 },
      });
      expect(pod(overlay).terminationGracePeriodSeconds).toBeGreaterThanOrEqual(40);
    }
  });

  it("hold no secret, only the name of one", () => {
    expect(files.length).toBeGreaterThan(10);
    for (const file of files) {
      const text = read(file);
      expect({ file, secret: /kind: Secret|secretGenerator|stringData/.test(text) }).toEqual({
        file,
        secret: false,
      });
      expect(text).not.toMatch(/(TOKEN|SECRET|PASSWORD|KEY)[A-Z_]*: ["']?[^\s"']/);
    }
    for (const overlay of overlays)
      for (const { name, value } of pod(overlay).agent.env)
        if (/TOKEN|SECRET/.test(name))
          expect([name, value]).toEqual([expect.stringMatching(/_TOKEN_FILE$/), expect.any(String)]);
  });
});

describe("the schema check", () => {
  const daemonSet = () => structuredClone(the("DaemonSet", rendered("nvidia")));
  const policy = () => structuredClone(the("NetworkPolicy", rendered("nvidia")));
  type Loose = Record<string, unknown>;

  it.each<[string, () => unknown, RegExp]>([
    [
      "a misspelt field of the pod",
      () => {
        const object = daemonSet();
        object.spec.template.spec.hostNetwrok = true;
        return object;
      },
      /^\/spec\/template\/spec\/hostNetwrok is no known field$/,
    ],
    [
      "a misspelt field of the second container's rights",
      () => {
        const object = daemonSet();
        (object.spec.template.spec.containers[1] as Container).securityContext.readOnlyRootFileSystem = true;
        return object;
      },
      /^\/spec\/template\/spec\/containers\/1\/securityContext\/readOnlyRootFileSystem is no known field$/,
    ],
    [
      "a field at the wrong depth",
      () => ({ ...daemonSet(), updateStrategy: { type: "OnDelete" } }),
      /^\/updateStrategy is no known field$/,
    ],
    [
      "a DaemonSet without selector",
      () => {
        const object = daemonSet();
        delete (object.spec as Partial<Rendered["spec"]>).selector;
        return object;
      },
      /^\/spec breaks required .*selector/,
    ],
    [
      "a container without name",
      () => {
        const object = daemonSet();
        delete (object.spec.template.spec.containers[0] as Partial<Container>).name;
        return object;
      },
      /^\/spec\/template\/spec\/containers\/0 breaks required .*name/,
    ],
    [
      "words where a truth value belongs",
      () => {
        const object = daemonSet();
        object.spec.template.spec.hostNetwork = "yes";
        return object;
      },
      /^\/spec\/template\/spec\/hostNetwork breaks type .*boolean/,
    ],
    [
      "a number as a variable's value",
      () => {
        const object = daemonSet();
        ((object.spec.template.spec.containers[1] as Container).env as unknown[])[0] = {
          name: "X",
          value: 12,
        };
        return object;
      },
      /^\/spec\/template\/spec\/containers\/1\/env\/0\/value breaks type .*string/,
    ],
    [
      "a setting that is no string",
      () => ({ ...the("ConfigMap", rendered("amd")), data: { WOLFPACK_MAX_SANDBOXES: 12 } }),
      /^\/data\/WOLFPACK_MAX_SANDBOXES breaks type .*string/,
    ],
    [
      "a single rule where a list belongs",
      () => ({ ...policy(), spec: { ...policy().spec, egress: {} } }),
      /^\/spec\/egress breaks type .*array/,
    ],
    [
      "a kind that has no schema here",
      () => ({ apiVersion: "apps/v1", kind: "DaemonSets" }),
      /no schema for/,
    ],
    [
      "an older group's version",
      () => ({ ...daemonSet(), apiVersion: "extensions/v1beta1" }),
      /no schema for/,
    ],
    ["nothing", () => null, /no schema for/],
  ])("refuses %s", (_what, make, fault) => {
    const faults = schemaFaults(make());
    expect(faults).toHaveLength(1);
    expect(faults[0]).toMatch(fault);
  });

  it("lets labels and selectors have any name", () => {
    const object = daemonSet();
    (object.spec.template.spec.nodeSelector as Loose)["example.com/hostNetwrok"] = "1";
    expect(schemaFaults(object)).toEqual([]);
  });
});

describe.each(overlays)("the pod on %s nodes", (overlay) => {
  const { wolf, agent, ...spec } = pod(overlay);
  const volume = (name: string | undefined) => spec.volumes.find((one) => one.name === name) as Volume;
  const mountsOf = (container: Container) =>
    container.volumeMounts.map(({ name, mountPath }) => ({ mountPath, ...volume(name) }));
  const value = (container: Container, name: string) => container.env.find((one) => one.name === name)?.value;

  it("has Wolf and the agent as equals, and nothing else", () => {
    expect(spec.containers.map(({ name }) => name)).toEqual(["wolf", "agent"]);
    expect(spec.initContainers).toBeUndefined();
  });

  it("mounts every volume that it has and no other, and names every port once", () => {
    const mounted = [wolf, agent].flatMap(({ volumeMounts }) => volumeMounts.map(({ name }) => name));
    expect([...new Set(mounted)].sort()).toEqual(spec.volumes.map(({ name }) => name).sort());
    for (const { volumeMounts } of [wolf, agent]) {
      const paths = volumeMounts.map(({ mountPath }) => mountPath);
      expect(new Set(paths).size).toBe(paths.length);
    }
    const ports = [...wolf.ports, ...agent.ports].map(({ containerPort }) => containerPort);
    expect(new Set(ports).size).toBe(ports.length);
  });

  it("runs the agent as root without capability, privilege, or a place to write but its state", () => {
    expect(agent.securityContext).toEqual({
      runAsUser: 0,
      runAsGroup: 0,
      privileged: false,
      allowPrivilegeEscalation: false,
      readOnlyRootFilesystem: true,
      capabilities: { drop: ["ALL"] },
      seccompProfile: { type: "RuntimeDefault" },
    });
    expect(spec.hostPID ?? false).toBe(false);
    expect(spec.hostIPC ?? false).toBe(false);
    expect(spec.securityContext).toBeUndefined();
    expect(agent.resources).toMatchObject({ limits: { memory: "512Mi" }, requests: { memory: "96Mi" } });
  });

  it("keeps Docker's socket, devices and Wolf's files away from the agent", () => {
    expect(mountsOf(agent)).toEqual([
      { mountPath: "/var/run/wolf", name: "wolf-socket", emptyDir: {} },
      expect.objectContaining({
        mountPath: "/var/lib/wolf-revdial-client",
        hostPath: { path: "/var/lib/wolf-revdial-client", type: "DirectoryOrCreate" },
      }),
      expect.objectContaining({ mountPath: "/run/secrets/wolfpack", name: "tokens" }),
    ]);
    expect(agent.resources.limits).toEqual({ cpu: "1", memory: "512Mi" });
  });

  it("gives neither container a word with Kubernetes", () => {
    expect(spec.automountServiceAccountToken).toBe(false);
    expect(the("ServiceAccount", rendered(overlay))).toMatchObject({
      metadata: { name: spec.serviceAccountName },
      automountServiceAccountToken: false,
    });
    expect(spec.enableServiceLinks).toBe(false);
    expect(files.some((file) => /kind: (Cluster)?Role/.test(read(file)))).toBe(false);
  });

  it("gives the agent only variables that it knows, or that are its runtime's", () => {
    const config = the("ConfigMap", rendered(overlay));
    expect(agent.envFrom).toEqual([{ configMapRef: { name: config.metadata.name } }]);
    const names = [...agent.env.map(({ name }) => name), ...Object.keys(config.data ?? {})];
    expect(new Set(names).size).toBe(names.length);
    const runtime = overlay === "nvidia" ? ["NVIDIA_VISIBLE_DEVICES", "NVIDIA_DRIVER_CAPABILITIES"] : [];
    expect(names.filter((name) => !agentVariables.has(name))).toEqual(runtime);
    if (overlay === "nvidia") expect(value(agent, "NVIDIA_DRIVER_CAPABILITIES")).toBe("utility");
    expect(agent.env).toContainEqual({
      name: "WOLF_ID",
      valueFrom: { fieldRef: expect.objectContaining({ fieldPath: "spec.nodeName" }) },
    });
  });

  it("shares the directory of Wolf's socket, and with the pod alone", () => {
    const socket = value(wolf, "WOLF_SOCKET_PATH") as string;
    expect(value(agent, "WOLFPACK_LOCAL")).toBe(`unix://${socket}`);
    for (const container of [wolf, agent])
      expect(mountsOf(container)).toContainEqual({
        mountPath: path.dirname(socket),
        name: "wolf-socket",
        emptyDir: {},
      });
  });

  it("mounts Wolf's own folders where the node has them, as its sandboxes get them from there", () => {
    const own = mountsOf(wolf).filter(({ hostPath }) => hostPath !== undefined);
    for (const { mountPath, hostPath } of own) expect(mountPath).toBe(hostPath?.path);
    const paths = own.map(({ mountPath }) => mountPath);
    for (const name of ["XDG_RUNTIME_DIR", "HOST_APPS_STATE_FOLDER"])
      expect(paths).toContain(value(wolf, name));
    expect(paths).toEqual(expect.arrayContaining(["/dev", "/run/udev", "/var/run/docker.sock"]));
  });

  it("gives the agent tokens as files that only root can read, from the secrets that the document makes, or from none", () => {
    const { projected } = volume("tokens");
    const secrets = projected?.sources.map(({ secret }) => secret) ?? [];
    for (const { name, items } of secrets)
      expect(read("docs/agent.md")).toContain(
        `kubectl -n wolf-hosts create secret generic ${name} --from-file=${items[0]?.key}=`,
      );
    expect(the("DaemonSet", rendered(overlay)).metadata.namespace).toBe("wolf-hosts");
    expect(projected?.defaultMode).toBe(0o400);
    expect(secrets).toEqual(
      ["join-token", "runner-token"].map((name) => ({
        name,
        optional: true,
        items: [{ key: name, path: name }],
      })),
    );
    expect(value(agent, "JOIN_TOKEN_FILE")).toBe("/run/secrets/wolfpack/join-token");
    expect(value(agent, "RUNNER_TOKEN_FILE")).toBe("/run/secrets/wolfpack/runner-token");
  });

  it("opens Wolf's Moonlight ports to everybody and nothing of the agent, as far as a policy holds", () => {
    const policy = the("NetworkPolicy", rendered(overlay)).spec;
    expect(policy.podSelector).toEqual(the("DaemonSet", rendered(overlay)).spec.selector);
    expect(policy.policyTypes).toEqual(["Ingress", "Egress"]);
    const moonlight = wolf.ports.map(({ protocol, containerPort }) => ({ protocol, port: containerPort }));
    expect(policy.ingress).toEqual([{ ports: moonlight }]);
    expect(moonlight.map(({ protocol, port }) => `${port}/${protocol}`)).toEqual([
      "47984/TCP",
      "47989/TCP",
      "48010/TCP",
      "47999/UDP",
      "48100/UDP",
      "48200/UDP",
    ]);
    expect(policy.egress.flatMap(({ ports }) => ports.map(({ port }) => port))).toEqual([53, 53, 443]);
    expect(agent.ports.map(({ hostIP }) => hostIP)).toEqual(["127.0.0.1"]);
  });
});

describe("the agent with the variables of its pod", () => {
  const { agent } = pod("amd");
  const settings = the("ConfigMap", rendered("amd")).data ?? {};
  let running: PackagedAgent | undefined;
  afterEach(async () => {
    await running?.stop();
    running = undefined;
  });

  /** Folders of the pod become folders of the test, and the node's name "node-1". */
  async function start(changed: Record<string, string>): Promise<{ health: string; agent: PackagedAgent }> {
    const health = `127.0.0.1:${await freePort()}`;
    writeFileSync(path.join(scratch, "runner-token"), "test-token\n", { mode: 0o400 });
    const env = Object.fromEntries(
      agent.env.map(({ name, value: given, valueFrom }) => [
        name,
        valueFrom === undefined ? (given ?? "") : "node-1",
      ]),
    );
    running = packagedAgent(["connect"], {
      ...settings,
      ...env,
      JOIN_TOKEN_FILE: path.join(scratch, "join-token"),
      RUNNER_TOKEN_FILE: path.join(scratch, "runner-token"),
      WOLFPACK_LOCAL: `unix://${scratch}/wolf.sock`,
      WOLFPACK_STATE_DIR: scratch,
      WOLFPACK_DISKS: scratch,
      WOLFPACK_HEALTH_LISTEN: health,
      WOLFPACK_LOG_LEVEL: "debug",
      ...changed,
    });
    return { health, agent: running };
  }

  it("answers its probes where the kubelet asks: alive while the control plane is away, but not ready", async () => {
    const { livenessProbe, readinessProbe } = agent;
    const listen = agent.env.find(({ name }) => name === "WOLFPACK_HEALTH_LISTEN")?.value;
    for (const probe of [livenessProbe, readinessProbe])
      expect(`${probe?.httpGet.host}:${probe?.httpGet.port}`).toBe(listen);
    const { health, agent: process } = await start({
      WOLFPACK_API_URL: `http://127.0.0.1:${await freePort()}`,
    });
    await process.said(/health listener/);
    const status = async (probe: typeof livenessProbe) =>
      (await fetch(`http://${health}${probe?.httpGet.path}`)).status;
    expect(await status(livenessProbe)).toBe(200);
    expect(await status(readinessProbe)).toBe(503);
    expect(await process.stop()).toBe(0);
  });

  it("ends before it sends its token anywhere while nobody said where the control plane is", async () => {
    const { agent: process } = await start({});
    expect(await process.exit).toBe(2);
    expect(process.output()).toMatch(/WOLFPACK_API_URL.* is missing/);
  });

  it("ends with the reason when the node's name is too long for a wolf", async () => {
    const { agent: process } = await start({
      WOLFPACK_API_URL: "https://localhost",
      WOLF_ID: "n".repeat(64),
    });
    expect(await process.exit).toBe(2);
    expect(process.output()).toMatch(/WOLF_ID.* 1 to 63/);
  });

  it("ends with the reason when it has no key yet and no secret is there", async () => {
    const { agent: process } = await start({
      WOLFPACK_API_URL: "https://localhost",
      RUNNER_TOKEN_FILE: path.join(scratch, "absent"),
    });
    expect(await process.exit).toBe(2);
    expect(process.output()).toMatch(/JOIN_TOKEN_FILE.*join-token cannot be read/);
    expect(process.output()).toMatch(/RUNNER_TOKEN_FILE.*absent cannot be read/);
  });
});
