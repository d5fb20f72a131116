/**
 * What to type on a host so that it joins: the steps of docs/agent.md for each kind of deployment, as functions of values. No
 * command holds a token: it is pasted into the one that asks for it, so that neither a list of processes nor a shell's history has it.
 */

export const deployments = [
  ["systemd", "systemd"],
  ["compose", "Docker Compose"],
  ["kubernetes", "Kubernetes"],
  ["hand", "By hand"],
] as const;
export type Deployment = (typeof deployments)[number][0];

export const gpuTypes = ["nvidia", "amd", "intel", "none"] as const;
export type Gpu = (typeof gpuTypes)[number];

export interface Host {
  /** Of the control plane, as the host reaches it. */
  url: string;
  wolf: string;
  gpu: Gpu;
}

export interface Step {
  title: string;
  commands: string;
  /** It waits for the token: paste it, then Ctrl-D on a line of its own. */
  takesToken?: boolean;
}

/** As one word of a shell, whatever it holds. */
export function quoted(text: string): string {
  return /^[A-Za-z0-9@%+=:,./_-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}

/** `https://wolfpack.example.com` of what somebody typed; undefined where it is no such address. */
export function controlPlaneUrl(text: string): string | undefined {
  if (!URL.canParse(text)) return undefined;
  const { protocol, origin, username, password } = new URL(text);
  const fits = (protocol === "https:" || protocol === "http:") && username === "" && password === "";
  return fits ? origin : undefined;
}

const AGENT = "apps/wolf-revdial-client/dist/wolf-revdial-client.mjs";
const INSTALL = `install -m 755 ${AGENT} /usr/local/bin/wolf-revdial-client`;
const TOKEN_FILE = "/etc/wolfpack/join-token";
const SITE = "deploy/kubernetes/site";
const FOLDER = "install -d -m 700 /etc/wolfpack";

const lines = (...commands: (string | false)[]): string => commands.filter(Boolean).join("\n");
const file = (name: string, ...settings: [string, string][]): string =>
  [
    "printf '%s\\n' \\",
    ...settings.map(([key, value]) => `  ${quoted(`${key}=${value}`)} \\`),
    `  > ${name}`,
  ].join("\n");

const handOver: Step = {
  title: "Hand over the token",
  commands: `install -m 600 /dev/stdin ${TOKEN_FILE}`,
  takesToken: true,
};

const steps: Record<Deployment, (host: Host) => Step[]> = {
  systemd: ({ url, wolf }) => [
    {
      title: "Install, in a copy of this project",
      commands: lines(
        INSTALL,
        "install -m 644 deploy/systemd/wolf-revdial-client.service /etc/systemd/system/",
        FOLDER,
        file("/etc/wolfpack/agent.env", ["WOLFPACK_API_URL", url], ["WOLF_ID", wolf]),
      ),
    },
    handOver,
    {
      title: "Start; the token is used up then",
      commands: lines(
        "systemctl daemon-reload && systemctl enable --now wolf-revdial-client",
        `rm ${TOKEN_FILE}`,
      ),
    },
  ],

  compose: ({ url, wolf, gpu }) => [
    {
      title: "Settings, in a copy of this project",
      commands: lines(
        FOLDER,
        file(
          "deploy/compose/gpu-host.env",
          ["WOLFPACK_API_URL", url],
          ["WOLF_ID", wolf],
          ["GPU_TYPE", gpu],
          ["JOIN_TOKEN_FILE", TOKEN_FILE],
        ),
      ),
    },
    handOver,
    {
      title: "Start Wolf and the agent",
      commands: "docker compose --env-file deploy/compose/gpu-host.env -f deploy/compose/gpu-host.yaml up -d",
    },
    {
      title: "Once the host is in the fleet, remove the token",
      commands: lines(`rm ${TOKEN_FILE}`, "sed -i '/^JOIN_TOKEN_FILE=/d' deploy/compose/gpu-host.env"),
    },
  ],

  kubernetes: ({ url, gpu }) => [
    {
      title: "The agent’s image, somewhere that the nodes can pull from, in place of images.example.com",
      commands: lines(
        "docker build -f deploy/docker/agent.Dockerfile -t images.example.com/wolfpack/agent:0.1.0 .",
        "docker push images.example.com/wolfpack/agent:0.1.0",
      ),
    },
    {
      title: "A folder for your site",
      commands: lines(
        "cp -r deploy/kubernetes/site.example deploy/kubernetes/site",
        `sed -i ${quoted(`s#https://wolfpack.example.com#${url}#`)} deploy/kubernetes/site/kustomization.yaml`,
        gpu === "amd" && "sed -i 's#- ../nvidia#- ../amd#' deploy/kubernetes/site/kustomization.yaml",
      ),
    },
    {
      title: "Edit its image and its region",
      commands: `\${EDITOR:-vi} ${SITE}/kustomization.yaml`,
    },
    {
      title: "Look at what would be applied",
      commands: `kubectl kustomize ${SITE}`,
    },
    {
      title: "Apply it; while the example’s image is in it, this only says where",
      commands: `! grep -rn 'images\\.example\\.com' ${SITE} && kubectl apply -k ${SITE}`,
    },
    {
      title: "Hand over the token",
      commands: "kubectl -n wolf-hosts create secret generic join-token --from-file=join-token=/dev/stdin",
      takesToken: true,
    },
    {
      title: "Watch it come up; each node is a wolf by the node’s name",
      commands: `kubectl -n wolf-hosts rollout status daemonset/wolf-host-${gpu === "amd" ? "amd" : "nvidia"}`,
    },
  ],

  hand: ({ url, wolf }) => [
    { title: "Install, in a copy of this project", commands: INSTALL },
    {
      title: "Enrol; it reads the token",
      commands: `wolf-revdial-client enroll --api-url ${quoted(url)} --wolf-id ${quoted(wolf)} --join-token-file -`,
      takesToken: true,
    },
    {
      title: "Run it",
      commands: lines(
        `wolf-revdial-client --api-url ${quoted(url)} --wolf-id ${quoted(wolf)} \\`,
        "  --local unix:///var/run/wolf/wolf.sock --health-listen 127.0.0.1:9480",
      ),
    },
  ],
};

/** None where the project has no way to deploy it so. */
export const stepsFor = (deployment: Deployment, host: Host): Step[] =>
  isOffered(deployment, host.gpu) ? steps[deployment](host) : [];

/** There are overlays of Kubernetes for NVIDIA and AMD, and a node without such a card runs none of their pods. */
export const isOffered = (deployment: Deployment, gpu: Gpu): boolean =>
  deployment !== "kubernetes" || gpu === "nvidia" || gpu === "amd";

/** What a token's limits mean where every node is a wolf of its own. */
export function kubernetesNote(boundTo: string | null, usesMax: number): string {
  if (boundTo !== null)
    return `This token enrols the node named ${boundTo} and no other. For more nodes, make one for any name with as many uses as there are nodes.`;
  return usesMax === 1
    ? "This token enrols one node. For more, make one with as many uses as there are nodes."
    : `This token enrols up to ${usesMax} nodes.`;
}
