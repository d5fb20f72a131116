/**
 * What Wolf's API takes and gives, as far as a fleet needs it (spec/wolf-openapi.yaml describes the real behaviour).
 * Requests are strict: they are checked before Wolf sees them, because a malformed one can end the Wolf process. Replies
 * are lenient: three generations of the API differ in optional fields.
 */
import { z } from "zod";

/** No control characters and no NUL: they survive into C++ strings, container names and log lines. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what this refuses
const printable = /^[^\u0000-\u001f\u007f-\u009f\u2028\u2029]*$/;
export const text = (charactersMax: number) =>
  z
    .string()
    .max(charactersMax)
    .regex(printable, "has control characters")
    .refine((value) => value.isWellFormed(), "is not well-formed Unicode");

/** 64-bit ids travel as decimal strings; one Wolf build emitted bare numbers (facts of 2026-06). */
export const NumericId = z
  .string()
  .regex(/^[0-9]{1,20}$/, "is not a decimal id")
  // Runs also after a failed regex, and BigInt throws for what is no number.
  .refine((id) => /^[0-9]+$/.test(id) && BigInt(id) <= 0xffff_ffff_ffff_ffffn, "does not fit in 64 bits");
/** The same in replies, where a build may write it bare; parseWolfJson has kept the digits of a long one. */
const RepliedId = z.union([z.string(), z.int().min(0).transform(String)]);
export const LobbyId = z.string().regex(/^[0-9a-fA-F-]{8,64}$/, "is not a lobby id");

const port = z
  .string()
  .refine(
    (value) => /^[0-9]{1,5}$/.test(value) && Number(value) >= 1 && Number(value) <= 65_535,
    "is not a port from 1 to 65535",
  );
/** `host:container[:udp]`: an entry without a colon, or a port that is no number, ends the Wolf process. */
const Port = text(20).refine((entry) => {
  const parts = entry.split(":");
  const [host, container, protocol] = parts;
  return (
    parts.length <= 3 &&
    port.safeParse(host).success &&
    port.safeParse(container).success &&
    (protocol === undefined || protocol === "udp" || protocol === "tcp")
  );
}, "is not host:container[:udp]");
/** `host:container[:mode]`, absolute paths without dot segments. */
const Mount = text(1024).refine((entry) => {
  const parts = entry.split(":");
  const [host = "", container = "", mode] = parts;
  const absolute = (path: string) =>
    path.startsWith("/") && !path.split("/").some((part) => part === "." || part === "..");
  return (
    parts.length <= 3 &&
    absolute(host) &&
    absolute(container) &&
    (mode === undefined || /^[a-zA-Z,]{1,32}$/.test(mode))
  );
}, "is not host:container[:mode]");
/** GPUs and input devices, nothing else of the host: a disk in here is the host's root. */
const device = (path: string) =>
  /^\/dev\/(dri|input|snd|nvidia-caps)\/[A-Za-z0-9_-]{1,64}$|^\/dev\/(uinput|uhid|kfd|fuse)$|^\/dev\/nvidia[a-z0-9-]{0,32}$/.test(
    path,
  );
const Device = text(1024).refine((entry) => {
  const parts = entry.split(":");
  const [host = "", container = "", permissions] = parts;
  return (
    parts.length <= 3 &&
    device(host) &&
    device(container) &&
    (permissions === undefined || /^[mrw]{1,3}$/.test(permissions))
  );
}, "is not host:container[:permissions] of a GPU or input device");
const EnvEntry = text(8192).regex(/^[A-Za-z_][A-Za-z0-9_]*=/, "is not NAME=value");

/** Wolf puts it into a path of Docker's API, where dot segments would lead to containers instead of images. */
export const ImageReference = z
  .string()
  .max(255)
  .regex(/^[a-zA-Z0-9][a-zA-Z0-9._:@-]*(\/[a-zA-Z0-9][a-zA-Z0-9._:@-]*)*$/, "is not an image reference");
/**
 * Wolf reads it as root for whoever shows the icon: absolute paths, URLs, and files below its state folder, where its key lies
 * and the homes of sandboxes, which may hold links. So it is an image beside those, or in a folder of icons.
 */
export const IconPath = z
  .string()
  .max(255)
  .regex(
    /^$|^(icons\/)?[A-Za-z0-9_-][A-Za-z0-9._-]*\.(png|jpe?g|gif|svg|webp)$/i,
    "is not an image in Wolf's state folder or its icons",
  );

export const DockerRunner = z.strictObject({
  type: z.literal("docker"),
  name: z.string().regex(/^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,62}$/, "is not a container name"),
  image: ImageReference,
  mounts: z.array(Mount).max(64),
  env: z.array(EnvEntry).max(128),
  devices: z.array(Device).max(64),
  ports: z.array(Port).max(64),
});
export type DockerRunner = z.infer<typeof DockerRunner>;

/** A device path, or `software` where there is no GPU. */
export const RenderNode = z
  .string()
  .regex(/^(software|\/dev\/dri\/[A-Za-z0-9]{1,32})$/, "is not a render node");
export const VideoSettings = z.strictObject({
  width: z.int().min(16).max(15_360),
  height: z.int().min(16).max(8640),
  refresh_rate: z.int().min(1).max(1000),
  wayland_render_node: RenderNode,
  runner_render_node: RenderNode,
  // Ends up in a GStreamer pipeline, where `!` begins another element (a file sink, as root).
  video_producer_buffer_caps: z
    .string()
    .max(256)
    .regex(
      /^video\/x-raw(\(memory:[A-Za-z0-9]{1,32}\))?(, ?[a-z-]{1,32}=[A-Za-z0-9/]{1,32})*$/,
      "is not raw video caps",
    ),
});
export const AudioSettings = z.strictObject({
  channel_count: z.union([z.literal(2), z.literal(6), z.literal(8)]),
});

const Controller = z.enum(["XBOX", "PS", "NINTENDO", "AUTO"]);
export const ClientSettings = z.strictObject({
  run_uid: z.int().min(0).max(0xffff_fffe).optional(),
  run_gid: z.int().min(0).max(0xffff_fffe).optional(),
  controllers_override: z.array(Controller).max(16).optional(),
  mouse_acceleration: z.number().min(0).max(100).optional(),
  v_scroll_acceleration: z.number().min(0).max(100).optional(),
  h_scroll_acceleration: z.number().min(0).max(100).optional(),
  motion_controller_override: Controller.optional(),
});
export const Pin = z.array(z.int().min(0).max(9)).min(1).max(16);

/** A folder below Wolf's state folder, plain throughout: a colon would end it where Docker reads the mount. */
export const StateFolder = z
  .string()
  .max(255)
  .regex(/^([A-Za-z0-9_-][A-Za-z0-9._-]*\/)*[A-Za-z0-9_-][A-Za-z0-9._-]*$/, "is not a relative path");

/** Only docker runners: a process runner is a command as root in Wolf's own container. */
export const CreateLobbyRequest = z.strictObject({
  profile_id: text(128).min(1),
  name: text(128).min(1),
  multi_user: z.boolean(),
  stop_when_everyone_leaves: z.boolean(),
  video_settings: VideoSettings,
  audio_settings: AudioSettings,
  client_settings: ClientSettings.optional(),
  runner_state_folder: StateFolder,
  runner: DockerRunner,
  icon_png_path: IconPath.optional(),
  pin: Pin.optional(),
});
export type CreateLobbyRequest = z.infer<typeof CreateLobbyRequest>;

export const StopLobbyRequest = z.strictObject({ lobby_id: LobbyId, pin: Pin.optional() });
export type StopLobbyRequest = z.infer<typeof StopLobbyRequest>;

/** A lobby in Wolf's list; the runner is whatever this Wolf runs, ours or not. */
export const Lobby = z.looseObject({
  id: z.string(),
  name: z.string(),
  multi_user: z.boolean().optional(),
  started_by_profile_id: z.string().optional(),
  pin_required: z.boolean().optional(),
  stop_when_everyone_leaves: z.boolean().optional(),
  connected_sessions: z.array(RepliedId).optional(),
  runner: z.looseObject({ type: z.string(), env: z.array(z.string()).optional() }),
});
export type Lobby = z.infer<typeof Lobby>;

export const ListLobbiesReply = z.looseObject({ success: z.literal(true), lobbies: z.array(Lobby) });
export const CreateLobbyReply = z.looseObject({ success: z.literal(true), lobby_id: LobbyId });
export const SuccessReply = z.looseObject({ success: z.literal(true) });
export const FailureReply = z.looseObject({ success: z.literal(false), error: z.string() });
