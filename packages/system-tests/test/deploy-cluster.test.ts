/** The control plane in Kubernetes: what kustomize and the chart make is valid, is the same, and hides what is for replicas only. */
import { execFileSync, spawnSync } from "node:child_process";
import { describe, expect, it } from "@jest/globals";
import { parseAllDocuments } from "yaml";
import { type ClusterObject, chart, defaults, merged, objectsOf, valueFaults } from "./chart.ts";
import { schemaFaults } from "./kubernetes-schema.ts";
import { read, root } from "./repository/workspaces.ts";

const parse = (text: string) => parseAllDocuments(text).map((document) => document.toJS() as ClusterObject);
const rendered = parse(read("deploy/kubernetes/rendered/control-plane.yaml"));
const hasKubectl = spawnSync("kubectl", ["version", "--client"], { stdio: "ignore" }).status === 0;
const itWithKubectl = hasKubectl ? it : it.skip;
if (!hasKubectl)
  console.warn("deploy/kubernetes/control-plane is not rendered anew here: kubectl is not installed");
const kustomize = (folder: string) =>
  parse(
    execFileSync("kubectl", ["kustomize", `deploy/kubernetes/${folder}`], { cwd: root, encoding: "utf8" }),
  );

const named = (objects: readonly ClusterObject[]) =>
  new Map(objects.map((object) => [`${object.kind} ${object.metadata.name}`, object]));
function the(objects: readonly ClusterObject[], kind: string): ClusterObject {
  const [found, ...others] = objects.filter((object) => object.kind === kind);
  expect(others).toEqual([]);
  return found as ClusterObject;
}
const documented = new Set(
  [...read("docs/operations/configuration.md").matchAll(/^\| `([A-Z_]+)`/gm)].map(([, name]) => name),
);

/** Without what only one of the two ways says: whose it is, and that settings have changed. */
function essence({ metadata, ...rest }: ClusterObject): unknown {
  const own = /^(app\.kubernetes\.io\/(instance|managed-by)|helm\.sh\/chart|checksum\/settings)$/;
  const without = (value: unknown): unknown => {
    if (Array.isArray(value)) return value.map(without);
    if (typeof value !== "object" || value === null) return value;
    const fields = Object.entries(value).flatMap(([name, inner]) => {
      const kept = own.test(name) ? undefined : without(inner);
      const isEmptied = name === "annotations" && Object.keys((kept as object) ?? {}).length === 0;
      return kept === undefined || isEmptied ? [] : [[name, kept]];
    });
    return Object.fromEntries(fields);
  };
  return without({ ...rest, metadata: { ...metadata, namespace: undefined } });
}

describe("the control plane's Kubernetes files", () => {
  it("are what Kubernetes' schemas allow, without a field that they do not know", () => {
    for (const object of rendered)
      expect({ of: object.kind, faults: schemaFaults(object) }).toEqual({ of: object.kind, faults: [] });
  });

  itWithKubectl("are rendered as committed, and a site's own are valid too (needs kubectl)", () => {
    expect(kustomize("control-plane")).toEqual(rendered);
    const site = kustomize("control-plane-site.example");
    for (const object of site) expect(schemaFaults(object)).toEqual([]);
    expect(the(site, "Deployment").spec.replicas).toBe(3);
    expect(site.some(({ kind }) => kind === "HorizontalPodAutoscaler" || kind === "ServiceMonitor")).toBe(
      false,
    );
  });

  it("are Deployment, autoscaler, budget, policy, ingress, services, monitor, settings and an account", () => {
    expect(rendered.map(({ kind }) => kind).sort()).toEqual([
      "ConfigMap",
      "Deployment",
      "HorizontalPodAutoscaler",
      "Ingress",
      "Namespace",
      "NetworkPolicy",
      "PodDisruptionBudget",
      "Service",
      "Service",
      "ServiceAccount",
      "ServiceMonitor",
    ]);
  });

  it("give the program only variables that it knows, and secrets from the Secret alone", () => {
    const [container] = the(rendered, "Deployment").spec.template.spec.containers;
    const given = container.env as { name: string; value?: string; valueFrom?: Record<string, unknown> }[];
    const settings = Object.keys(the(rendered, "ConfigMap").data ?? {});
    for (const name of [...given.map(({ name }) => name), ...settings].filter((name) => name !== "POD_IP"))
      expect(documented).toContain(name);
    for (const { name, value, valueFrom } of given.filter(({ name }) => /URL$|SECRET|TOKEN$/.test(name)))
      if (name !== "WOLFPACK_REPLICA_URL") {
        expect(value).toBeUndefined();
        expect(valueFrom).toHaveProperty("secretKeyRef");
      }
    // A variable can only name those before it.
    const names = given.map(({ name }) => name);
    expect(names.indexOf("POD_IP")).toBeLessThan(names.indexOf("WOLFPACK_REPLICA_URL"));
    expect(JSON.stringify(rendered)).not.toMatch(/postgres(ql)?:\/\//);
  });

  it("let replicas leave one at a time, after more time than they drain for", () => {
    const { spec } = the(rendered, "Deployment");
    expect(spec.strategy.rollingUpdate).toEqual({ maxSurge: 1, maxUnavailable: 0 });
    expect(the(rendered, "PodDisruptionBudget").spec.maxUnavailable).toBe(1);
    expect(spec.template.spec.terminationGracePeriodSeconds).toBeGreaterThanOrEqual(45);
    const [container] = spec.template.spec.containers;
    expect(container.readinessProbe.httpGet.path).toBe("/readyz");
    expect(container.livenessProbe.httpGet.path).toBe("/healthz");
  });

  it("run as nobody in particular, who may write nowhere but to its own folder", () => {
    const { spec } = the(rendered, "Deployment").spec.template;
    expect(spec.securityContext).toMatchObject({ runAsNonRoot: true, runAsUser: 1000 });
    expect(spec.automountServiceAccountToken).toBe(false);
    expect(spec.containers[0].securityContext).toMatchObject({
      readOnlyRootFilesystem: true,
      allowPrivilegeEscalation: false,
      capabilities: { drop: ["ALL"] },
    });
  });

  it("keep paths of replicas and of Prometheus out of the ingress", () => {
    const [rule] = the(rendered, "Ingress").spec.rules;
    const services = named(rendered);
    for (const closed of ["/internal", "/metrics"]) {
      const path = rule.http.paths.find((one: { path: string }) => one.path === closed);
      expect(path.pathType).toBe("Prefix");
      // It selects nobody.
      expect(services.get(`Service ${path.backend.service.name}`)?.spec.selector).toBeUndefined();
    }
    const annotations = the(rendered, "Ingress").metadata.annotations ?? {};
    for (const side of ["read", "send"])
      expect(Number(annotations[`nginx.ingress.kubernetes.io/proxy-${side}-timeout`])).toBeGreaterThanOrEqual(
        3600,
      );
  });

  it("scale by a number that the control plane has, up to fewer tunnels than a replica holds", () => {
    const [pods] = the(rendered, "HorizontalPodAutoscaler").spec.metrics;
    expect(read("docs/metrics.md")).toContain(`| \`${pods.pods.metric.name}\` | gauge |`);
    expect(read("deploy/prometheus/adapter-rules.yaml")).toContain(pods.pods.metric.name);
    expect(Number(pods.pods.target.averageValue)).toBeLessThanOrEqual(5000);
  });
});

describe("the Helm chart", () => {
  it("makes with its defaults the same objects as kustomize, in the namespace of the release", () => {
    const { objects } = objectsOf();
    for (const { metadata } of objects) expect(metadata.namespace).toBe("wolfpack");
    const essences = (all: readonly ClusterObject[]) =>
      all
        .filter(({ kind }) => kind !== "Namespace")
        .map(essence)
        .map((object) => JSON.parse(JSON.stringify(object)) as ClusterObject)
        .sort((a, b) => (`${a.kind} ${a.metadata.name}` < `${b.kind} ${b.metadata.name}` ? -1 : 1));
    expect(essences(objects)).toEqual(essences(rendered));
  });

  it.each([
    [
      "without autoscaling, ingress, policy and monitor",
      {
        autoscaling: { enabled: false },
        ingress: { enabled: false },
        networkPolicy: { enabled: false },
        serviceMonitor: { enabled: false },
        replicas: 3,
      },
    ],
    [
      "with everything that can be added",
      {
        image: { repository: "images.example.com/a/b", tag: "1.2.3", pullSecrets: ["pull"] },
        nodeSelector: { pool: "web" },
        tolerations: [{ key: "web", operator: "Exists" }],
        networkPolicy: { extraEgress: [{ ports: [{ protocol: "TCP", port: 4318 }] }] },
        settings: {
          WOLFPACK_PUBLIC_URL: "https://a.example.com",
          LOG_LEVEL: "debug",
          PORTS_LIKE: '- a: b # "c"\n',
        },
      },
    ],
  ])("is valid %s", (_, values) => {
    const { objects } = objectsOf(values);
    for (const object of objects)
      expect({ of: object.kind, faults: schemaFaults(object) }).toEqual({ of: object.kind, faults: [] });
  });

  it("counts replicas itself only where nobody scales them", () => {
    expect(the(objectsOf().objects, "Deployment").spec).not.toHaveProperty("replicas");
    const fixed = objectsOf({ autoscaling: { enabled: false }, replicas: 5 }).objects;
    expect(the(fixed, "Deployment").spec.replicas).toBe(5);
  });

  it("makes new pods when a setting has changed, and none when nothing has", () => {
    const sum = (values: Record<string, unknown>) =>
      the(objectsOf(values).objects, "Deployment").spec.template.metadata.annotations["checksum/settings"];
    expect(sum({})).toBe(sum({ replicas: 4 }));
    expect(sum({ settings: { LOG_LEVEL: "debug" } })).not.toBe(sum({}));
  });

  it.each([
    ["an unknown value", { replcas: 3 }],
    ["a secret among the settings", { settings: { API_KEY_SECRET: "x".repeat(32) } }],
    ["a URL of the database among the settings", { settings: { DATABASE_URL: "postgresql://a" } }],
    ["no public URL", { settings: { WOLFPACK_PUBLIC_URL: null } }],
    ["a tag that cannot be rolled back to", { image: { tag: "latest" } }],
    ["no replica", { replicas: 0 }],
    ["more tunnels than a replica holds", { autoscaling: { tunnelsPerReplica: 50_000 } }],
    ["a host with a path", { ingress: { host: "example.com/a" } }],
    ["text for a number", { replicas: "2" }],
    ["a name that is none", { existingSecret: "Not a name" }],
  ])("refuses %s", (_, values) => {
    expect(() => objectsOf(values)).toThrow();
    expect(valueFaults(merged(defaults, values))).not.toEqual([]);
  });

  it("has the version of the control plane, and the image with it", () => {
    const { version } = JSON.parse(read("apps/control-plane/package.json")) as { version: string };
    expect([chart.version, chart.appVersion]).toEqual([version, version]);
    expect(the(objectsOf().objects, "Deployment").spec.template.spec.containers[0].image).toBe(
      `wolfpack/control-plane:${version}`,
    );
  });
});
