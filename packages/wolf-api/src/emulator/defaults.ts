/** The configuration the recorded Wolf was started with: apps, one profile, one paired client, two pairing requests, images, an icon. */
import { createHash } from "node:crypto";
import type { Runner } from "./shapes.ts";

export interface App {
  title: string;
  id: string;
  support_hdr: boolean;
  icon_png_path?: string;
  h264_gst_pipeline: string;
  hevc_gst_pipeline: string;
  av1_gst_pipeline: string;
  render_node: string;
  opus_gst_pipeline: string;
  start_virtual_compositor: boolean;
  start_audio_server: boolean;
  runner: Runner;
}

export interface Profile {
  name: string;
  id: string;
  icon_png_path: string;
  pin?: number[];
  apps: unknown[];
}

const pipeline = (source: string, codec: string) => `${source} !\n${codec} !\nvideo_sink`;
const interpipe = "interpipesrc name=interpipesrc_{}_video";
const opus = "interpipesrc name=interpipesrc_{}_audio !\naudio_params !\naudio_encoder !\naudio_sink";

export const defaultApps = (): App[] => [
  {
    title: "Firefox",
    id: "304556286",
    support_hdr: false,
    icon_png_path: "firefox.png",
    h264_gst_pipeline: pipeline(interpipe, "default !\nh264_pipeline"),
    hevc_gst_pipeline: pipeline(interpipe, "default !\nhevc_pipeline"),
    av1_gst_pipeline: pipeline(interpipe, "params !\nav1_pipeline"),
    render_node: "/dev/dri/renderD128",
    opus_gst_pipeline: opus,
    start_virtual_compositor: true,
    start_audio_server: true,
    runner: {
      type: "docker",
      name: "WolfRetroarch",
      image: "ghcr.io/games-on-whales/firefox:master",
      mounts: [
        "/tmp/sockets:/tmp/.X11-unix/:ro",
        "/tmp/sockets:/run/user/1000/pulse/:ro",
        "/run/udev:/run/udev:ro",
        "/var/local/retro:/home/retro:rw",
      ],
      env: ["LOG_LEVEL=info"],
      devices: [],
      ports: [],
      base_create_json:
        '{\n  "HostConfig": {\n    "IpcMode": "host",\n    "CapAdd": ["SYS_ADMIN"],\n    "DeviceRequests": [{"Driver":"","Count":-1,"Capabilities":[["gpu"]]}]\n  }\n}\n',
    },
  },
  {
    title: "Test ball",
    id: "378473508",
    support_hdr: false,
    h264_gst_pipeline: pipeline("override DEFAULT SOURCE", "default !\nh264_pipeline"),
    hevc_gst_pipeline: pipeline("override DEFAULT SOURCE", "default !\nhevc_pipeline"),
    av1_gst_pipeline: pipeline("override DEFAULT SOURCE", "params !\nav1_pipeline"),
    render_node: "/tmp/dead_beef",
    opus_gst_pipeline: opus,
    start_virtual_compositor: false,
    start_audio_server: true,
    runner: { type: "process", run_cmd: "destroy_computer_now" },
  },
];

export const defaultProfiles = (): Profile[] => [{ name: "User", id: "user", icon_png_path: "", apps: [] }];

export const defaultClients = () => [
  {
    client_id: "10594003729173467913",
    app_state_folder: "some/folder",
    settings: {
      run_uid: 1234,
      run_gid: 5678,
      controllers_override: ["PS"],
      mouse_acceleration: 2.5,
      v_scroll_acceleration: 1.5,
      h_scroll_acceleration: 10.199999809265137,
      motion_controller_override: "AUTO",
    },
  },
];

export const defaultPairRequests = () => [
  { pair_secret: "secret1", client_ip: "192.168.1.11" },
  { pair_secret: "secret0", client_ip: "192.168.1.10" },
];

/** The id Wolf computes for sessions without a client certificate: they all share it. */
export const SESSION_WITHOUT_CLIENT = "6142509188972423790";

export const defaultImages = (): [name: string, image: object][] => {
  const name = "ghcr.io/games-on-whales/xfce:edge";
  return [[name, { Id: "sha256:abc", RepoTags: [name], Size: 123 }]];
};

/** An image that was pulled, as far as Docker's description of it matters. */
export function pulledImage(name: string): object {
  const digest = (what: string) => `sha256:${createHash("sha256").update(`${what} ${name}`).digest("hex")}`;
  const [repository] = name.split(/@|:(?!.*\/)/);
  return {
    Id: digest("image"),
    RepoTags: [name],
    RepoDigests: [`${repository}@${digest("manifest")}`],
    Created: "2026-06-01T10:00:00.123456789Z",
    Size: 1_234_567_890,
  };
}

export const icons: Record<string, Buffer> = {
  "icons/t.png": Buffer.from(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg==",
    "base64",
  ),
};
