/** The bodies Wolf reads, and the forms in which it gives parts of them back. */
import {
  anything,
  decimal,
  flag,
  integer,
  list,
  object,
  oneOf,
  type Reader,
  tagged,
  text,
} from "./reader.ts";

export interface ProcessRunner {
  type: "process";
  run_cmd: string;
}
export interface DockerRunner {
  type: "docker";
  name: string;
  image: string;
  mounts: string[];
  env: string[];
  devices: string[];
  ports: string[];
  base_create_json?: string;
}
export type Runner = ProcessRunner | DockerRunner;

const controller = oneOf("XBOX", "PS", "NINTENDO", "AUTO");
const settingsFields = {
  run_uid: integer,
  run_gid: integer,
  controllers_override: list(controller),
  mouse_acceleration: decimal,
  v_scroll_acceleration: decimal,
  h_scroll_acceleration: decimal,
  motion_controller_override: controller,
};
const partialSettings = object({}, settingsFields);
export type ClientSettings = Required<ReturnType<typeof withDefaults>>;

/** All seven settings, with Wolf's defaults for those left out. */
export function withDefaults(partial: Record<string, unknown> = {}) {
  return {
    run_uid: 1000,
    run_gid: 1000,
    controllers_override: [] as string[],
    mouse_acceleration: 1,
    v_scroll_acceleration: 1,
    h_scroll_acceleration: 1,
    motion_controller_override: "AUTO",
    ...partial,
  };
}

const processRunner: Reader<Runner> = object({ type: text, run_cmd: text }, {}) as Reader<Runner>;
const dockerRunner: Reader<Runner> = object(
  {
    type: text,
    name: text,
    image: text,
    mounts: list(text),
    env: list(text),
    devices: list(text),
    ports: list(text),
  },
  { base_create_json: text },
) as Reader<Runner>;
const runner = tagged<Runner>({ process: processRunner, docker: dockerRunner });

export const createLobby = object(
  {
    profile_id: text,
    name: text,
    multi_user: flag,
    stop_when_everyone_leaves: flag,
    video_settings: object(
      {
        width: integer,
        height: integer,
        refresh_rate: integer,
        wayland_render_node: text,
        runner_render_node: text,
        video_producer_buffer_caps: text,
      },
      {},
    ),
    audio_settings: object({ channel_count: integer }, {}),
    runner_state_folder: text,
    runner,
  },
  { icon_png_path: text, pin: list(integer), client_settings: partialSettings },
);
export const joinLobby = object({ lobby_id: text, moonlight_session_id: text }, { pin: list(integer) });
export const leaveLobby = object({ lobby_id: text, moonlight_session_id: text }, {});
export const stopLobby = object({ lobby_id: text }, { pin: list(integer) });
export const addSession = object(
  {
    client_ip: text,
    aes_key: text,
    aes_iv: text,
    rtsp_fake_ip: text,
    video_width: integer,
    video_height: integer,
    video_refresh_rate: integer,
    audio_channel_count: integer,
  },
  { app_id: text, client_id: text, client_settings: object(settingsFields, {}) },
);
export const sessionId = object({ session_id: text }, {});
export const startRunner = object({ stop_stream_when_over: flag, session_id: text, runner }, {});
export const sessionInput = object({ session_id: text, input_packet_hex: text }, {});
export const startSession = object(
  { session_id: text, video_session: anything, audio_session: anything },
  {},
);
export const clientSettings = object(
  { client_id: text },
  { app_state_folder: text, settings: partialSettings },
);
export const unpair = object({ client_id: text }, {});
export const pair = object({ pair_secret: text, pin: text }, {});
export const byId = object({ id: text }, {});
export const pullImage = object({ image_name: text }, {});
export const app = object(
  {
    title: text,
    id: text,
    support_hdr: flag,
    h264_gst_pipeline: text,
    hevc_gst_pipeline: text,
    av1_gst_pipeline: text,
    render_node: text,
    opus_gst_pipeline: text,
    start_virtual_compositor: flag,
    start_audio_server: flag,
    runner,
  },
  { icon_png_path: text },
);
export const profile = object(
  { name: text, id: text, icon_png_path: text, apps: list(app) },
  { pin: list(integer) },
);

const DEFAULT_CREATE_JSON = '{\n"HostConfig": {\n  "IpcMode": "host"\n}\n}';

/** A runner as Wolf lists it: modes are filled in, a port's protocol turns into a suffix. */
export function listedRunner(given: Runner): Runner {
  if (given.type === "process") return { type: "process", run_cmd: given.run_cmd };
  const parts = (entry: string) => entry.split(":");
  return {
    type: "docker",
    name: given.name,
    image: given.image,
    mounts: given.mounts.map((mount) => (parts(mount).length > 2 ? mount : `${mount}:rw`)),
    env: given.env,
    devices: given.devices.map((device) => (parts(device).length > 2 ? device : `${device}:mrw`)),
    ports: given.ports.map((port) => {
      const [host, container, protocol] = parts(port);
      return `${host}:${container}/${protocol === "udp" ? "udp" : "tcp"}`;
    }),
    base_create_json: given.base_create_json ?? DEFAULT_CREATE_JSON,
  };
}
