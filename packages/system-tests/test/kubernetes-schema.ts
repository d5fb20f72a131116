/**
 * Checks Kubernetes objects against the schemas that Kubernetes publishes, as an API server with strict field validation
 * would. Those schemas allow fields they do not know; a field that the compiled schema never reads is such a one.
 */
import { createRequire } from "node:module";
import path from "node:path";
import { pathToFileURL } from "node:url";
import { validate as daemonSet } from "kubernetes-models/_schemas/IoK8sApiAppsV1DaemonSet";
import { validate as deployment } from "kubernetes-models/_schemas/IoK8sApiAppsV1Deployment";
import { validate as autoscaler } from "kubernetes-models/_schemas/IoK8sApiAutoscalingV2HorizontalPodAutoscaler";
import { validate as configMap } from "kubernetes-models/_schemas/IoK8sApiCoreV1ConfigMap";
import { validate as namespace } from "kubernetes-models/_schemas/IoK8sApiCoreV1Namespace";
import { validate as service } from "kubernetes-models/_schemas/IoK8sApiCoreV1Service";
import { validate as serviceAccount } from "kubernetes-models/_schemas/IoK8sApiCoreV1ServiceAccount";
import { validate as ingress } from "kubernetes-models/_schemas/IoK8sApiNetworkingV1Ingress";
import { validate as networkPolicy } from "kubernetes-models/_schemas/IoK8sApiNetworkingV1NetworkPolicy";
import { validate as disruptionBudget } from "kubernetes-models/_schemas/IoK8sApiPolicyV1PodDisruptionBudget";

type Schema = ((value: unknown) => boolean) & {
  errors?: { instancePath: string; message?: string; keyword: string; params: unknown }[] | null;
};

/** The Prometheus operator's package exports classes, which copy what they get; its schemas are found by file. */
const operator = path.dirname(
  createRequire(import.meta.url).resolve("@kubernetes-models/prometheus-operator/package.json"),
);
const serviceMonitorFile = `${operator}/_schemas/ComGithubPrometheusOperatorPrometheusOperatorPkgApisMonitoringV1ServiceMonitor.js`;
const { validate: serviceMonitor } = (await import(pathToFileURL(serviceMonitorFile).href)) as {
  validate: Schema;
};

const schemas: Record<string, Schema> = {
  "apps/v1 Deployment": deployment,
  "autoscaling/v2 HorizontalPodAutoscaler": autoscaler,
  "monitoring.coreos.com/v1 ServiceMonitor": serviceMonitor,
  "networking.k8s.io/v1 Ingress": ingress,
  "policy/v1 PodDisruptionBudget": disruptionBudget,
  "v1 Service": service,
  "apps/v1 DaemonSet": daemonSet,
  "networking.k8s.io/v1 NetworkPolicy": networkPolicy,
  "v1 ConfigMap": configMap,
  "v1 Namespace": namespace,
  "v1 ServiceAccount": serviceAccount,
};

/** What is wrong with an object, one sentence each; none when Kubernetes would accept it. */
export function schemaFaults(object: unknown): string[] {
  const { apiVersion, kind } = (object ?? {}) as { apiVersion?: unknown; kind?: unknown };
  const schema = schemas[`${apiVersion} ${kind}`];
  if (schema === undefined) return [`no schema for ${apiVersion} ${kind}`];
  const read = new Map<object, Set<string>>();
  schema(watched(object, read));
  const faults = (schema.errors ?? []).map(
    ({ instancePath, keyword, params }) => `${instancePath} breaks ${keyword} ${JSON.stringify(params)}`,
  );
  return [...faults, ...unreadFields(object, "", read)];
}

/** The same value; `read` gets the names of the fields that are asked for. */
function watched(value: unknown, read: Map<object, Set<string>>): unknown {
  if (typeof value !== "object" || value === null) return value;
  const names = read.get(value) ?? new Set<string>();
  read.set(value, names);
  return new Proxy(value, {
    get(target, name) {
      if (typeof name === "string") names.add(name);
      return watched(Reflect.get(target, name), read);
    },
  });
}

function unreadFields(value: unknown, at: string, read: ReadonlyMap<object, ReadonlySet<string>>): string[] {
  if (typeof value !== "object" || value === null) return [];
  return Object.entries(value).flatMap(([name, inner]) =>
    read.get(value)?.has(name)
      ? unreadFields(inner, `${at}/${name}`, read)
      : [`${at}/${name} is no known field`],
  );
}
