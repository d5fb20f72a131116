/** What light agents say of their hosts: all the same, but for figures that are others in each heartbeat. */
import type { AgentHeartbeat, AgentInventory } from "@wolfpack/api-contract";
import { requiredOfWolf } from "@wolfpack/wolf-api";

const RENDER_NODE = "/dev/dri/renderD128";
const GPU = "0000:01:00.0";
const GIB = 2 ** 30;

export const inventory: AgentInventory = {
  gpu_type: "nvidia",
  max_sandboxes: 4,
  labels: { rack: "r1" },
  region: "eu-west",
  cost_per_hour: 1,
  agent_version: "0.1.0",
};
export const facts = {
  cpu_model: "AMD EPYC 7443P 24-Core Processor",
  cpu_count: 48,
  memory_bytes: 256 * GIB,
  gpus: [
    {
      id: GPU,
      vendor: "nvidia",
      model: "NVIDIA L40S",
      driver: "580.65.06",
      vram_bytes: 48 * GIB,
      render_node: RENDER_NODE,
    },
  ],
};
export const capabilities = {
  schema_hash: "0".repeat(64),
  features: ["lobbies", "lobby-join", "profiles", "events", "icons", "docker-images"],
  missing: requiredOfWolf.slice(0, 0),
};
export const images = ["xfce", "steam", "firefox"].map((name) => ({
  name: `ghcr.io/games-on-whales/${name}:edge`,
  state: "present",
  id: `sha256:${"1".repeat(64)}`,
  digest: `sha256:${"2".repeat(64)}`,
  size_bytes: 2 * GIB,
  created_at: "2026-01-01T00:00:00Z",
}));

export const heartbeat = (turn: number): AgentHeartbeat => ({
  wolf: "ok",
  restarts: { count: 0, recent: false },
  usage: {
    cpu_load: (turn % 100) / 10,
    memory_available_bytes: 200 * GIB + turn,
    gpu_state: "ok",
    gpu_detail: null,
    gpus: [
      {
        id: GPU,
        utilisation_percent: turn % 100,
        vram_used_bytes: 0,
        encoder_sessions: 0,
        encoder_percent: 0,
      },
    ],
    disks: ["/", "/var/lib/docker"].map((mount) => ({
      mount,
      total_bytes: 1000 * GIB,
      used_bytes: 400 * GIB + turn,
      available_bytes: 600 * GIB - turn,
      level: "ok",
    })),
    disk_detail: null,
  },
});
