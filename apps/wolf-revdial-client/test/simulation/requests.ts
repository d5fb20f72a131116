/** Requests from dice: what a control plane sends, and what somebody would who wants Wolf dead. The same seed gives the same requests. */
import { wolfRoutes } from "@wolfpack/wolf-api";

export interface GeneratedRequest {
  method: string;
  path: string;
  contentLength?: string;
  body: Uint8Array;
}

const docker = {
  type: "docker",
  name: "d",
  image: "x",
  mounts: [],
  env: ["A=b"],
  devices: [],
  ports: ["1:2:udp"],
};
const app = {
  title: "a",
  id: "1",
  support_hdr: false,
  h264_gst_pipeline: "",
  hevc_gst_pipeline: "",
  av1_gst_pipeline: "",
  opus_gst_pipeline: "",
  render_node: "software",
  start_virtual_compositor: true,
  start_audio_server: true,
  runner: docker,
};
const settings = { run_uid: 1000, mouse_acceleration: 1.5, controllers_override: ["PS"] };
const lobbyId = "136a065d-a12f-4297-a211-16842d5d7103";
const session = { session_id: "6142509188972423790" };

/** A body that Wolf takes, by route. */
const bodies: Record<string, object> = {
  "/lobbies/create": {
    profile_id: "user",
    name: "a",
    multi_user: true,
    stop_when_everyone_leaves: true,
    video_settings: {
      width: 640,
      height: 480,
      refresh_rate: 60,
      wayland_render_node: "software",
      runner_render_node: "/dev/dri/renderD128",
      video_producer_buffer_caps: "video/x-raw",
    },
    audio_settings: { channel_count: 2 },
    client_settings: settings,
    runner_state_folder: "wolfpack/ses_1",
    runner: docker,
    pin: [1, 2],
  },
  "/lobbies/stop": { lobby_id: lobbyId, pin: [1, 2] },
  "/lobbies/join": { lobby_id: lobbyId, moonlight_session_id: session.session_id },
  "/lobbies/leave": { lobby_id: lobbyId, moonlight_session_id: session.session_id },
  "/pair/client": { pair_secret: "secret0", pin: "1234" },
  "/unpair/client": { client_id: "1" },
  "/clients/settings": { client_id: "10594003729173467913", app_state_folder: "wolfpack", settings },
  "/apps/add": app,
  "/apps/delete": { id: "1" },
  "/profiles/add": { name: "p", id: "p", icon_png_path: "", apps: [app] },
  "/profiles/remove": { id: "p" },
  "/sessions/add": {
    client_ip: "10.0.0.5",
    aes_key: "00",
    aes_iv: "00",
    rtsp_fake_ip: "0.0.0.1",
    video_width: 640,
    video_height: 480,
    video_refresh_rate: 60,
    audio_channel_count: 2,
    client_id: "10594003729173467913",
  },
  "/sessions/start": { ...session, video_session: {}, audio_session: {} },
  "/sessions/pause": session,
  "/sessions/stop": session,
  "/sessions/input": { ...session, input_packet_hex: "06020c00000000080700000000010001" },
  "/runners/start": { ...session, stop_stream_when_over: true, runner: docker },
  "/docker/images/pull": { image_name: "x" },
};
const hostile: readonly unknown[] = [
  "abc",
  "",
  " 1",
  "1x",
  "-1",
  "0x1",
  "18446744073709551616",
  "9".repeat(40),
  "/srv",
  "a:b",
  ":",
  "::",
  "1:",
  "/a:/b:rw:x",
  "../../etc",
  "cfg/key.pem",
  "/etc/shadow",
  "http://169.254.169.254/",
  "\u0000",
  "a\nb",
  "\ud800",
  "é".repeat(300),
  "x ! filesink location=/x",
  "{}",
  '{"Privileged":true}',
  null,
  true,
  0,
  -1,
  1e308,
  1.5,
  2 ** 53,
  2 ** 64,
  [],
  ["/srv"],
  ["1:x"],
  [":"],
  {},
  { type: "process", run_cmd: "id" },
  { ...docker, mounts: ["/srv"] },
  { ...docker, ports: ["9876"] },
  { ...docker, devices: ["/dev/dri"] },
  { ...docker, base_create_json: "{}" },
  { type: "Process" },
  { ...docker, mounts: ["/srv/a:/x/wolf.sock"], env: ["WOLF_SOCKET_PATH=/x/wolf.sock"] },
];
/** Too many values hurt elsewhere for these to be met often enough at their place. */
const folders = [
  "cfg",
  "cfg/key.pem",
  "wolfpack/ses_1/x",
  "wolfpack/../cfg",
  "wolfpack/a:/etc",
  "..",
  "wolfpack",
];
const names = [
  "session_id",
  "client_id",
  "runner",
  "mounts",
  "ports",
  "__proto__",
  "constructor",
  "pin",
  "base_create_json",
  "x",
];
const encodings = [
  "%2e",
  "%2f",
  "%00",
  "%0d%0a",
  "/",
  "//",
  "/..",
  "..;",
  "?",
  "?a=b",
  "#",
  "\\",
  "%",
  "%25",
  " ",
  "é",
  "\u0000",
];
const methods = [
  "GET",
  "POST",
  "PUT",
  "DELETE",
  "HEAD",
  "PATCH",
  "OPTIONS",
  "get",
  "CONNECT",
  "",
  "GET\r\nX: y",
];
const lengths = ["abc", "-1", "", "1e3", "0x10", "99999999999999999999", "1", "+2"];

export function generate(dice: () => number): GeneratedRequest {
  const pick = <T>(list: readonly T[]): T => list[Math.floor(dice() * list.length)] as T;
  const route = pick(wolfRoutes);
  const name = route.path.slice("/api/v1".length);
  let path = route.path;
  if (route.query) path += `?${route.query.name}=${dice() < 0.5 ? "icons/t.png" : String(pick(hostile))}`;
  if (dice() < 0.1) {
    const at = Math.floor(dice() * (path.length + 1));
    path = path.slice(0, at) + pick(encodings) + path.slice(at);
  }
  const method = dice() < 0.05 ? pick(methods) : route.method;
  let json: unknown = structuredClone(bodies[name] ?? (dice() < 0.05 ? {} : undefined));
  // Most lobbies have a home of their own, as a control plane gives them.
  if (name === "/lobbies/create" && dice() < 0.9)
    json = { ...bodies[name], runner_state_folder: `wolfpack/ses_${dice().toString(36).slice(2)}` };
  while (json !== undefined && dice() < 0.45) json = mutate(json, dice);
  let body = Buffer.from(json === undefined ? "" : JSON.stringify(json));
  if (dice() < 0.06) body = garble(body, dice);
  return {
    method,
    path,
    body,
    ...(dice() < 0.03 ? { contentLength: pick(lengths) } : {}),
  };
}

/** One place changed: a value that hurts, a field too few, or one too many. */
function mutate(json: unknown, dice: () => number): unknown {
  const pick = <T>(list: readonly T[]): T => list[Math.floor(dice() * list.length)] as T;
  if (typeof json !== "object" || json === null || dice() < 0.02) return structuredClone(pick(hostile));
  const holder = json as Record<string, unknown>;
  const keys = Object.keys(holder);
  const kind = dice();
  if (kind < 0.1 || keys.length === 0) {
    if (Array.isArray(json)) json.push(structuredClone(pick(hostile)));
    else
      Object.defineProperty(holder, pick(names), {
        value: structuredClone(pick(hostile)),
        enumerable: true,
        configurable: true,
        writable: true,
      });
    return json;
  }
  const key = pick(keys);
  if (kind < 0.2) delete holder[key];
  else if (key.endsWith("_state_folder") && dice() < 0.7) holder[key] = pick(folders);
  else holder[key] = mutate(typeof holder[key] === "object" && dice() < 0.7 ? holder[key] : undefined, dice);
  return json;
}

/** Bytes lost, doubled or changed. */
function garble(body: Buffer, dice: () => number): Buffer<ArrayBuffer> {
  const at = Math.floor(dice() * (body.length + 1));
  const kind = dice();
  if (kind < 0.3) return Buffer.from(body.subarray(0, at));
  if (kind < 0.4) return Buffer.concat([body, body]);
  if (kind < 0.5) return Buffer.alloc(70_000, 0x20);
  if (kind < 0.6) return Buffer.from("[".repeat(20_000));
  return Buffer.concat([body.subarray(0, at), Buffer.from([Math.floor(dice() * 256)]), body.subarray(at)]);
}
