/** The control plane in a cluster: kustomize and the chart make the same objects, valid ones, and each says what it should. */
import { execFileSync, spawnSync } from "node:child_process";
import { describe, expect, it } from "@jest/globals";
import { CONNECTIONS_PER_REPLICA, definitions } from "@wolfpack/control-plane/parts";
import { parse, parseAllDocuments } from "yaml";
import {
  type ClusterObject,
  chart,
  defaults,
  merged,
  objectsOf,
  valueFaults,
  valuesSchema,
} from "./chart.ts";
import { renderChart } from "./helm-templates.ts";
import { schemaFaults } from "./kubernetes-schema.ts";
import { projectFiles, read, root } from "./repository/workspaces.ts";
import { controlPlaneVariables, LEAVING_ROOM_SECONDS, leavesWithinSeconds } from "./settings.ts";

const parseAll = (text: string) =>
  parseAllDocuments(text).map((document) => document.toJS() as ClusterObject);
const kustomized = parseAll(read("deploy/kubernetes/rendered/control-plane.yaml"));
const key = ({ kind, metadata }: ClusterObject) => `${kind} ${metadata.name}`;
const byKey = (objects: readonly ClusterObject[]) => [...objects].sort((a, b) => (key(a) < key(b) ? -1 : 1));
function the(kind: string, objects: readonly ClusterObject[] = kustomized): ClusterObject {
  const found = objects.filter((object) => object.kind === kind);
  expect(found).toHaveLength(1);
  return found[0] as ClusterObject;
}
const { version } = JSON.parse(read("apps/control-plane/package.json")) as { version: string };
const hasKubectl = spawnSync("kubectl", ["version", "--client"], { stdio: "ignore" }).status === 0;
const itWithKubectl = hasKubectl ? it : it.skip;
if (!hasKubectl)
  console.warn("deploy/kubernetes/control-plane is not rendered anew: kubectl is not installed");
/** From SIGTERM until it is killed. */
function timeToLeave(spec: ClusterObject["spec"]): number {
  const [command, seconds] = spec.containers[0].lifecycle.preStop.exec.command;
  expect(command).toBe("sleep");
  return spec.terminationGracePeriodSeconds - Number(seconds);
}
/** PostgreSQL's default of max_connections, without superuser_reserved_connections. */
const POSTGRES_CONNECTIONS = 100 - 3;
const kustomize = (folder: string) =>
  parseAll(execFileSync("kubectl", ["kustomize", folder], { cwd: root, encoding: "utf8" }));

describe("the control plane's Kubernetes files", () => {
  it("are what the schemas of Kubernetes and of the Prometheus operator allow", () => {
    expect(kustomized.map(({ kind }) => kind).sort()).toEqual([
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
    for (const object of kustomized)
      expect({ object: key(object), faults: schemaFaults(object) }).toEqual({
        object: key(object),
        faults: [],
      });
  });

  it.each([
    ["Deployment", "topologySpreadConstraint", /topologySpreadConstraint is no known field/],
    ["HorizontalPodAutoscaler", "minReplica", /minReplica is no known field/],
    ["PodDisruptionBudget", "maxUnavailabel", /maxUnavailabel is no known field/],
    ["Ingress", "ingressClass", /ingressClass is no known field/],
    ["ServiceMonitor", "endpoint", /endpoint is no known field/],
  ])("would be refused with a misspelt field in a %s", (kind, name, fault) => {
    const object = structuredClone(the(kind));
    object.spec[name] = [];
    expect(schemaFaults(object)).toEqual([expect.stringMatching(fault)]);
  });

  it("would be refused with words where numbers belong", () => {
    const scaler = structuredClone(the("HorizontalPodAutoscaler"));
    scaler.spec.maxReplicas = "many";
    expect(schemaFaults(scaler)).toEqual([expect.stringMatching(/maxReplicas breaks type/)]);
  });

  itWithKubectl("are rendered as committed (needs kubectl)", () => {
    expect(kustomize("deploy/kubernetes/control-plane")).toEqual(kustomized);
  });

  itWithKubectl("let a site do without the operator and the adapter (needs kubectl)", () => {
    const objects = kustomize("deploy/kubernetes/control-plane-site.example");
    for (const object of objects) expect(schemaFaults(object)).toEqual([]);
    const kinds = objects.map(({ kind }) => kind);
    expect(kinds).not.toContain("ServiceMonitor");
    expect(kinds).not.toContain("HorizontalPodAutoscaler");
    expect(the("Deployment", objects).spec.replicas).toBe(3);
    const host = new URL(the("ConfigMap", objects).data?.WOLFPACK_PUBLIC_URL ?? "").host;
    const { rules, tls } = the("Ingress", objects).spec;
    expect([rules[0].host, tls[0].hosts]).toEqual([host, [host]]);
  });

  it("hold no secret, only the names of one, whose keys the document makes", () => {
    const files = projectFiles().filter((file) =>
      /^deploy\/(kubernetes\/control-plane|helm|terraform)/.test(file),
    );
    expect(files.length).toBeGreaterThan(20);
    for (const file of files)
      expect({ file, secret: /^\s*kind: Secret$|secretGenerator|stringData/m.test(read(file)) }).toEqual({
        file,
        secret: false,
      });
    const container = the("Deployment").spec.template.spec.containers[0];
    const references = (
      container.env as {
        name: string;
        value?: string;
        valueFrom?: { secretKeyRef?: { name: string; key: string } };
      }[]
    ).flatMap(({ valueFrom }) => valueFrom?.secretKeyRef ?? []);
    expect(references.map(({ key: name }) => name)).toEqual([
      "database-url",
      "api-key-secret",
      "runner-token",
    ]);
    const document = read("docs/operations/deployment.md");
    for (const { name, key: item } of [
      ...references,
      { name: "wolfpack-control-plane", key: "metrics-token" },
    ]) {
      expect(name).toBe("wolfpack-control-plane");
      expect(document).toMatch(new RegExp(`--from-file=${item}=`));
    }
    expect(document).toContain("create secret generic wolfpack-control-plane");
  });
});

describe("a pod of the control plane", () => {
  const { spec } = the("Deployment").spec.template;
  const [container] = spec.containers;

  it("gets only variables that it knows", () => {
    const names = [
      ...(container.env as { name: string }[]).map(({ name }) => name),
      ...Object.keys(the("ConfigMap").data ?? {}),
    ];
    expect(names.filter((name) => !controlPlaneVariables.has(name))).toEqual(["POD_IP"]);
    // A Service of the namespace would otherwise become a variable that nobody knows, which ends the start.
    expect(spec.enableServiceLinks).toBe(false);
  });

  it("tells the others its own address, at the port where it listens", () => {
    const url = (container.env as { name: string; value?: string }[]).find(
      ({ name }) => name === "WOLFPACK_REPLICA_URL",
    );
    expect(url?.value).toBe("http://$(POD_IP):8080");
    // Variables in values have to stand before them.
    const names = (container.env as { name: string }[]).map(({ name }) => name);
    expect(names.indexOf("POD_IP")).toBeLessThan(names.indexOf("WOLFPACK_REPLICA_URL"));
    expect(container.ports).toEqual([{ name: "http", containerPort: 8080, protocol: "TCP" }]);
    expect(read("deploy/docker/control-plane.Dockerfile")).toMatch(/^ENV .*PORT=8080/m);
  });

  it("may do nothing that an ordinary user without privileges may not, on a read-only root", () => {
    expect(the("Namespace").metadata.labels).toEqual({ "pod-security.kubernetes.io/enforce": "restricted" });
    expect(spec.securityContext).toMatchObject({
      runAsNonRoot: true,
      runAsUser: 1000,
      seccompProfile: { type: "RuntimeDefault" },
    });
    expect(container.securityContext).toEqual({
      capabilities: { drop: ["ALL"] },
      privileged: false,
      allowPrivilegeEscalation: false,
      readOnlyRootFilesystem: true,
    });
    expect(spec.automountServiceAccountToken).toBe(false);
    expect(the("ServiceAccount").automountServiceAccountToken).toBe(false);
    expect([spec.hostNetwork, spec.hostPID, spec.hostIPC]).toEqual([undefined, undefined, undefined]);
  });

  it("has time to leave: the wait before SIGTERM and all that a replica may take fit its grace", () => {
    expect(leavesWithinSeconds()).toBeGreaterThan(0);
    expect(timeToLeave(spec)).toBeGreaterThanOrEqual(leavesWithinSeconds() + LEAVING_ROOM_SECONDS);
  });

  it("finds a connection to the database, also while all of them are replaced", () => {
    const { maxReplicas } = the("HorizontalPodAutoscaler").spec;
    const { maxSurge } = the("Deployment").spec.strategy.rollingUpdate;
    // The one that is started, and one that still leaves, which no surge counts.
    expect((maxReplicas + maxSurge + 1) * CONNECTIONS_PER_REPLICA).toBeLessThanOrEqual(POSTGRES_CONNECTIONS);
  });

  it("is replaced without a gap, and evicted one at a time", () => {
    expect(the("Deployment").spec.strategy.rollingUpdate).toEqual({ maxSurge: 1, maxUnavailable: 0 });
    expect(the("Deployment").spec.replicas).toBeUndefined();
    expect(the("PodDisruptionBudget").spec.maxUnavailable).toBe(1);
    expect(the("HorizontalPodAutoscaler").spec.minReplicas).toBeGreaterThan(1);
  });

  it("is asked for its life apart from its database, and has minutes to migrate", () => {
    const path = (probe: string) => container[probe].httpGet;
    expect(path("livenessProbe")).toEqual({ port: "http", path: "/healthz" });
    expect(path("readinessProbe")).toEqual({ port: "http", path: "/readyz" });
    const { periodSeconds, failureThreshold } = container.startupProbe;
    expect(periodSeconds * failureThreshold).toBeGreaterThanOrEqual(600);
  });

  it("is what every selector means, and no other pod of the fleet is", () => {
    const { labels } = the("Deployment").spec.template.metadata;
    const service = kustomized.find((object) => key(object) === "Service wolfpack-control-plane");
    const selectors = [
      the("Deployment").spec.selector.matchLabels,
      the("PodDisruptionBudget").spec.selector.matchLabels,
      the("NetworkPolicy").spec.podSelector.matchLabels,
      service?.spec.selector,
      ...spec.topologySpreadConstraints.map(
        (constraint: { labelSelector: { matchLabels: object } }) => constraint.labelSelector.matchLabels,
      ),
    ];
    for (const selector of selectors) {
      expect(Object.keys(selector ?? {}).length).toBeGreaterThan(0);
      expect(labels).toMatchObject(selector);
      expect({ "app.kubernetes.io/name": "wolf-host" }).not.toMatchObject(selector);
    }
    expect(the("ServiceMonitor").spec.selector.matchLabels).toEqual({
      "app.kubernetes.io/name": service?.metadata.labels?.["app.kubernetes.io/name"],
    });
  });
});

describe("what is around the pods", () => {
  const closed = kustomized.find((object) => key(object) === "Service wolfpack-closed");

  it("lets nobody through the ingress to what is between replicas and to the metrics", () => {
    const { paths } = the("Ingress").spec.rules[0].http as {
      paths: { path: string; pathType: string; backend: { service: { name: string } } }[];
    };
    const leads = (path: string) => paths.find((one) => one.path === path)?.backend.service.name;
    expect([leads("/"), leads("/internal"), leads("/metrics")]).toEqual([
      "wolfpack-control-plane",
      "wolfpack-closed",
      "wolfpack-closed",
    ]);
    expect(paths.every(({ pathType }) => pathType === "Prefix")).toBe(true);
    expect(closed?.spec.selector).toBeUndefined();
    expect(the("Ingress").spec.tls[0].hosts).toEqual([the("Ingress").spec.rules[0].host]);
  });

  it("leaves tunnels and streams open for longer than their beats, and passes their bytes on as they come", () => {
    const annotations = the("Ingress").metadata.annotations ?? {};
    const value = (name: string) => annotations[`nginx.ingress.kubernetes.io/${name}`];
    for (const name of ["proxy-read-timeout", "proxy-send-timeout"])
      expect(Number(value(name))).toBeGreaterThanOrEqual(600);
    expect(value("proxy-buffering")).toBe("off");
    expect(value("proxy-body-size")).toBe("1m");
  });

  it("binds nobody to a replica, for they pass on what belongs to another", () => {
    const annotations = Object.keys(the("Ingress").metadata.annotations ?? {});
    expect(annotations.filter((name) => /hash|affinity|session-cookie/.test(name))).toEqual([]);
  });

  it("scales by a number that the control plane has and the adapter serves", () => {
    const names = (
      the("HorizontalPodAutoscaler").spec.metrics as { pods?: { metric: { name: string } } }[]
    ).flatMap(({ pods }) => pods?.metric.name ?? []);
    expect(names).toEqual(["wolfpack_tunnels"]);
    expect(definitions).toHaveProperty("wolfpack_tunnels");
    expect(definitions.wolfpack_tunnels).toMatchObject({ type: "gauge" });
    const { rules } = parse(read("deploy/prometheus/adapter-rules.yaml")) as {
      rules: { custom: { seriesQuery: string; name: { as: string } }[] };
    };
    expect(rules.custom.map(({ name }) => name.as)).toEqual(names);
    expect(rules.custom[0]?.seriesQuery).toMatch(/^wolfpack_tunnels\{/);
  });

  it("reads each replica under the job by which the rules ask", () => {
    const monitor = the("ServiceMonitor").spec;
    const service = kustomized.find((object) => key(object) === "Service wolfpack-control-plane");
    const job = service?.metadata.labels?.[monitor.jobLabel];
    expect(read("deploy/prometheus/rules.yaml")).toContain(`up{job="${job}"}`);
    expect(monitor.endpoints[0]).toMatchObject({ port: service?.spec.ports[0].name, path: "/metrics" });
  });

  it("is open to the ingress, Prometheus and the other replicas alone", () => {
    const { ingress, egress, policyTypes } = the("NetworkPolicy").spec;
    expect(policyTypes).toEqual(["Ingress", "Egress"]);
    expect(ingress).toHaveLength(1);
    expect(ingress[0].from).toHaveLength(3);
    expect(ingress[0].ports).toEqual([{ protocol: "TCP", port: 8080 }]);
    const ports = (egress as { ports: { port: number }[] }[]).flatMap((rule) =>
      rule.ports.map(({ port }) => port),
    );
    expect(ports).toEqual([53, 53, 5432, 8080, 443]);
  });
});

describe("the chart", () => {
  /** Without what only Helm says of itself. */
  const plain = (object: ClusterObject): ClusterObject => {
    const copy = structuredClone(object);
    const drop = (metadata: ClusterObject["metadata"] | undefined) => {
      for (const name of ["helm.sh/chart", "app.kubernetes.io/managed-by", "app.kubernetes.io/instance"])
        delete metadata?.labels?.[name];
      delete metadata?.annotations?.["checksum/settings"];
      if (metadata?.annotations && Object.keys(metadata.annotations).length === 0)
        delete metadata.annotations;
    };
    drop(copy.metadata);
    drop(copy.spec?.template?.metadata);
    for (const container of copy.spec?.template?.spec?.containers ?? []) delete container.imagePullPolicy;
    return copy;
  };

  it("makes by default what kustomize does, but for the namespace, which Helm makes", () => {
    const expected = kustomized.filter(({ kind }) => kind !== "Namespace");
    expect(byKey(objectsOf().objects.map(plain))).toEqual(byKey(expected));
  });

  it("has the version of the control plane, and so has the image of kustomize", () => {
    expect([chart.version, chart.appVersion, chart.apiVersion]).toEqual([version, version, "v2"]);
    expect(the("Deployment").spec.template.spec.containers[0].image).toBe(
      `wolfpack/control-plane:${version}`,
    );
  });

  it.each(["0", "0.5", "7", "30", "300"])(
    "gives a replica the time to leave that its notice of %s s needs",
    (notice) => {
      const { objects } = objectsOf({ settings: { WOLFPACK_DRAIN_NOTICE_SECONDS: notice } });
      expect(timeToLeave(the("Deployment", objects).spec.template.spec)).toBeGreaterThanOrEqual(
        leavesWithinSeconds(Number(notice)) + LEAVING_ROOM_SECONDS,
      );
    },
  );

  it("makes valid objects with everything switched off or changed", () => {
    const { objects } = objectsOf(
      {
        image: {
          repository: "images.example.com/wolfpack/control-plane",
          tag: "1.2.3",
          pullSecrets: ["registry"],
        },
        settings: {
          WOLFPACK_PUBLIC_URL: "https://fleet.example.com",
          LOG_LEVEL: "debug",
          WOLFPACK_QUEUE_MAX: "50",
        },
        replicas: 3,
        autoscaling: { enabled: false },
        ingress: { enabled: false },
        networkPolicy: { enabled: true, extraEgress: [{ ports: [{ protocol: "TCP", port: 4318 }] }] },
        serviceMonitor: { enabled: false },
        nodeSelector: { "kubernetes.io/arch": "amd64" },
        tolerations: [{ key: "control", operator: "Exists", effect: "NoSchedule" }],
      },
      "fleet",
      "elsewhere",
    );
    for (const object of objects)
      expect({ object: key(object), faults: schemaFaults(object) }).toMatchObject({ faults: [] });
    expect(objects.map(({ kind }) => kind).sort()).toEqual([
      "ConfigMap",
      "Deployment",
      "NetworkPolicy",
      "PodDisruptionBudget",
      "Service",
      "Service",
      "ServiceAccount",
    ]);
    for (const { metadata } of objects) {
      expect(metadata.namespace).toBe("elsewhere");
      expect(metadata.name).toMatch(/^fleet-/);
    }
    const { spec } = the("Deployment", objects);
    expect(spec.replicas).toBe(3);
    expect(spec.template.spec).toMatchObject({
      nodeSelector: { "kubernetes.io/arch": "amd64" },
      tolerations: [{ key: "control" }],
      containers: [{ image: "images.example.com/wolfpack/control-plane:1.2.3" }],
    });
    expect(the("ServiceAccount", objects)).toMatchObject({ imagePullSecrets: [{ name: "registry" }] });
    expect(the("NetworkPolicy", objects).spec.egress).toHaveLength(5);
    expect(the("ConfigMap", objects).data).toMatchObject({ WOLFPACK_QUEUE_MAX: "50" });
  });

  it("makes new pods when a setting changes", () => {
    const checksum = (given: Record<string, unknown>) =>
      the("Deployment", objectsOf(given).objects).spec.template.metadata.annotations["checksum/settings"];
    expect(checksum({})).toBe(checksum({}));
    expect(checksum({ settings: { LOG_LEVEL: "debug" } })).not.toBe(checksum({}));
  });

  it("tells whoever has installed it how to get at a key", () => {
    const { notes } = objectsOf({}, "fleet", "elsewhere");
    expect(notes).toContain("kubectl -n elsewhere exec deployment/fleet-control-plane");
    expect(notes).toContain("--reset-admin-key");
    expect(notes).not.toMatch(/\{\{|undefined/);
  });
});

describe("the chart's schema of values", () => {
  it("knows every default, takes the defaults, and no setting that does not exist is among them", () => {
    expect(valueFaults(defaults)).toEqual([]);
    const properties = Object.keys((valuesSchema as { properties: object }).properties);
    expect(Object.keys(defaults).filter((name) => !properties.includes(name))).toEqual([]);
    const settings = Object.keys(defaults.settings as object);
    expect(settings.filter((name) => !controlPlaneVariables.has(name))).toEqual([]);
  });

  it.each<[string, Record<string, unknown>, RegExp]>([
    ["a misspelt value", { autoscalling: {} }, /^ breaks additionalProperties.*autoscalling/],
    ["a misspelt value further in", { image: { repo: "x" } }, /^\/image breaks additionalProperties.*repo/],
    ["the tag latest", { image: { tag: "latest" } }, /^\/image\/tag breaks not/],
    ["words for a number", { replicas: "two" }, /^\/replicas breaks type/],
    ["no replica", { replicas: 0 }, /^\/replicas breaks minimum/],
    [
      "more tunnels than a replica holds",
      { autoscaling: { tunnelsPerReplica: 50_000 } },
      /tunnelsPerReplica breaks maximum/,
    ],
    [
      "a secret among the settings",
      { settings: { API_KEY_SECRET: "x".repeat(32) } },
      /^\/settings breaks propertyNames/,
    ],
    [
      "a database's password among the settings",
      { settings: { DATABASE_URL: "postgresql://x" } },
      /^\/settings breaks propertyNames/,
    ],
    [
      "a number as a setting",
      { settings: { WOLFPACK_QUEUE_MAX: 50 } },
      /^\/settings\/WOLFPACK_QUEUE_MAX breaks type/,
    ],
    [
      "no notice, of which the time to leave is made",
      { settings: { WOLFPACK_DRAIN_NOTICE_SECONDS: null } },
      /^\/settings breaks required.*WOLFPACK_DRAIN_NOTICE_SECONDS/,
    ],
    [
      "a notice that is no number",
      { settings: { WOLFPACK_DRAIN_NOTICE_SECONDS: "7s" } },
      /WOLFPACK_DRAIN_NOTICE_SECONDS breaks pattern/,
    ],
    [
      "no public URL",
      { settings: { WOLFPACK_PUBLIC_URL: null } },
      /^\/settings breaks required.*WOLFPACK_PUBLIC_URL/,
    ],
    [
      "a public URL with a password",
      { settings: { WOLFPACK_PUBLIC_URL: "https://a:b@c" } },
      /WOLFPACK_PUBLIC_URL breaks pattern/,
    ],
    [
      "a host that is a URL",
      { ingress: { host: "https://fleet.example.com" } },
      /^\/ingress\/host breaks pattern/,
    ],
    [
      "a name of a Secret that Kubernetes refuses",
      { existingSecret: "My_Secret" },
      /^\/existingSecret breaks pattern/,
    ],
    [
      "an annotation that is no text",
      { ingress: { annotations: { x: 1 } } },
      /^\/ingress\/annotations\/x breaks type/,
    ],
    [
      "memory without a unit that exists",
      { resources: { limits: { memory: "1GB" } } },
      /memory breaks pattern/,
    ],
    ["a port beyond all ports", { networkPolicy: { databasePort: 70_000 } }, /databasePort breaks maximum/],
  ])("refuses %s", (_what, given, fault) => {
    const faults = valueFaults(merged(defaults, given));
    expect(faults.length).toBeGreaterThan(0);
    expect(faults.some((one) => fault.test(one)) ? [] : faults).toEqual([]);
    expect(() => objectsOf(given)).toThrow();
  });
});

describe("the renderer of templates", () => {
  const input = {
    Values: { on: true, off: false, name: "x", none: "", list: ["a", "b"], map: { b: "2", a: "1" } },
    Chart: { Name: "c", Version: "1", AppVersion: "1" },
    Release: { Name: "r", Namespace: "n", Service: "Helm" },
  };
  const render = (template: string) => renderChart(new Map([["t", template]]), input).get("t");

  it.each([
    ["a {{ .Values.name }}", "a x"],
    ["a\n{{- if .Values.on }}\nb\n{{- end }}\nc", "a\nb\nc"],
    ["{{ if .Values.off }}a{{ else }}b{{ end }}", "b"],
    ["{{ if not .Values.none }}a{{ end }}", "a"],
    ["{{ range .Values.list }}[{{ . }}]{{ end }}", "[a][b]"],
    ["{{ range $k, $v := .Values.map }}{{ $k }}{{ $v }}{{ end }}", "a1b2"],
    ["{{ with .Values.list }}{{ toYaml . | nindent 2 }}{{ end }}", "\n  - a\n  - b"],
    ['{{ .Values.none | default "d" | quote }}', '"d"'],
    ['{{ "6.2" | ceil | add 68 }}', "75"],
    ['{{ define "t.x" }}<{{ .Release.Name }}>{{ end }}{{ include "t.x" . }}', "<r>"],
  ])("renders %j as Helm does", (template, text) => {
    expect(render(template)).toBe(text);
  });

  it.each([
    ["{{ .Values.nmae }}", /there is no \.Values\.nmae/],
    ["{{ .Values.map }}", /printed as it is/],
    ["{{ if .Values.on }}", /if without end/],
    ["{{ end }}", /end without a beginning/],
    ["{{ lookup .Values.name }}", /no function here: lookup/],
    ["{{ constructor .Values.name }}", /no function here/],
    ['{{ include "t.y" . }}', /nothing is defined as t\.y/],
    ["{{ $x }}", /there is no \$x/],
    ["{{ .Values.name", /not understood/],
    ["{{ range .Values.name }}{{ end }}", /no list/],
  ])("refuses %j", (template, sentence) => {
    expect(() => render(template)).toThrow(sentence);
  });
});
