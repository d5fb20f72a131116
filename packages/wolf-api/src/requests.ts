/**
 * What may stand in a request body before Wolf sees it, for every route that can be open at all. Strict: an unknown field is a
 * refusal. What is dangerous but sometimes wanted (runners, pipelines) has a shape here; whether it may pass, the policy says.
 */
import { z } from "zod";
import { parseWolfJson } from "./json.ts";
import {
  ClientSettings,
  CreateLobbyRequest,
  DockerRunner,
  IconPath,
  ImageReference,
  LobbyId,
  NumericId,
  Pin,
  RenderNode,
  StateFolder,
  text,
  VideoSettings,
} from "./schemas.ts";

/** A caller may write ids as numbers; Wolf takes only text, and parseWolfJson has kept the digits of a long one. */
const Id = z.union([NumericId, z.int().min(0).transform(String)]);
const JSON_TEXT_CHARACTERS_MAX = 32 * 1024;
/** Wolf's parser for it throws at more, where nobody catches. */
const CREATE_DEPTH_MAX = 32;
/** What Wolf merges with its own, without a look at its kind. */
const CreateDocument = z.looseObject({
  Env: z.array(z.unknown()).optional(),
  HostConfig: z
    .looseObject({ Binds: z.array(z.unknown()).optional(), Devices: z.array(z.unknown()).optional() })
    .optional(),
});
const isCreateDocument = (value: string) => {
  try {
    const json = parseWolfJson(value, CREATE_DEPTH_MAX);
    // Only half a surrogate pair is written so, and it is no JSON for Wolf.
    return CreateDocument.safeParse(json).success && !/\\ud[89a-f]/.test(JSON.stringify(json));
  } catch {
    return false;
  }
};

export const Runner = z.discriminatedUnion("type", [
  DockerRunner.extend({
    base_create_json: z
      .string()
      .max(JSON_TEXT_CHARACTERS_MAX)
      .refine(isCreateDocument, "is not a create document of Docker in a string")
      .optional(),
  }),
  z.strictObject({ type: z.literal("process"), run_cmd: text(8192).min(1) }),
]);
export type Runner = z.infer<typeof Runner>;

export const CreateLobby = CreateLobbyRequest.extend({ runner: Runner });
const orEmpty = <Schema extends z.ZodType<string>>(schema: Schema) => z.union([z.literal(""), schema]);
/** As Helix asks its Wolf, which decides itself what is empty. */
export const HelixCreateLobby = CreateLobby.extend({
  video_settings: VideoSettings.extend({
    wayland_render_node: orEmpty(RenderNode),
    runner_render_node: orEmpty(RenderNode),
    video_producer_buffer_caps: orEmpty(VideoSettings.shape.video_producer_buffer_caps),
    video_source_mode: z.enum(["wayland", "pipewire"]).optional(),
  }),
  runner_state_folder: z.union([
    StateFolder,
    z
      .string()
      .max(255)
      .regex(/^(\/[A-Za-z0-9_-][A-Za-z0-9._-]*)+$/, "is not an absolute path"),
  ]),
});
export const JoinLobby = z.strictObject({ lobby_id: LobbyId, moonlight_session_id: Id, pin: Pin.optional() });
export const LeaveLobby = z.strictObject({ lobby_id: LobbyId, moonlight_session_id: Id });

const Pipeline = z
  .string()
  .max(8192)
  .regex(/^[\t\n\r\x20-\x7e]*$/, "has characters that no pipeline has");
export const pipelineFields = [
  "h264_gst_pipeline",
  "hevc_gst_pipeline",
  "av1_gst_pipeline",
  "opus_gst_pipeline",
] as const;
/** Wolf appends it to a folder and mounts that: a slash or dot segments would lead elsewhere, a colon ends the folder. */
const FolderName = text(128).regex(/^[^./\\:][^/\\:]*$/, "is not the plain name of a folder");
const App = z.strictObject({
  title: FolderName,
  id: text(64).min(1),
  support_hdr: z.boolean(),
  icon_png_path: IconPath.optional(),
  h264_gst_pipeline: Pipeline,
  hevc_gst_pipeline: Pipeline,
  av1_gst_pipeline: Pipeline,
  opus_gst_pipeline: Pipeline,
  render_node: RenderNode,
  start_virtual_compositor: z.boolean(),
  start_audio_server: z.boolean(),
  runner: Runner,
});
export const AddApp = App;
export const ById = z.strictObject({ id: text(64).min(1) });
export const AddProfile = z.strictObject({
  name: text(128).min(1),
  id: FolderName.max(64),
  icon_png_path: IconPath,
  pin: Pin.optional(),
  apps: z.array(App).max(64),
});

export const PairClient = z.strictObject({
  pair_secret: text(128).min(1),
  pin: z.string().regex(/^[0-9]{1,16}$/, "is not a PIN"),
});
export const UnpairClient = z.strictObject({ client_id: Id });
export const UpdateClientSettings = z.strictObject({
  client_id: Id,
  app_state_folder: StateFolder.optional(),
  settings: ClientSettings.optional(),
});

const Hex = z.string().regex(/^[0-9a-fA-F]{1,64}$/, "is not hexadecimal");
const Address = z.union([z.ipv4(), z.ipv6()]);
export const AddSession = z.strictObject({
  client_ip: Address,
  aes_key: Hex,
  aes_iv: Hex,
  rtsp_fake_ip: Address,
  video_width: z.int().min(16).max(15_360),
  video_height: z.int().min(16).max(8640),
  video_refresh_rate: z.int().min(1).max(1000),
  audio_channel_count: z.union([z.literal(2), z.literal(6), z.literal(8)]),
  app_id: text(64).min(1).optional(),
  client_id: Id.optional(),
  // Here Wolf wants all seven, or none.
  client_settings: ClientSettings.required().optional(),
});
export const OneSession = z.strictObject({ session_id: Id });
/** Type, length, length of the data from the kind on, kind (moonlight-common-c, NV_INPUT_HEADER). */
const INPUT_HEAD_BYTES = 12;
const INPUT_LENGTH_AT = 4;
const INPUT_KIND_AT = 8;
/** Larger than any packet that Wolf takes one for, whatever its kind says: it would read on behind a shorter one. */
const INPUT_BYTES_MIN = 64;
function carriesWhatItSays(hex: string): boolean {
  const length = Number.parseInt(hex.slice(2 * INPUT_LENGTH_AT, 2 * INPUT_KIND_AT), 16);
  return length >= INPUT_HEAD_BYTES - INPUT_KIND_AT && INPUT_KIND_AT + length <= hex.length / 2;
}
export const SessionInput = z.strictObject({
  session_id: Id,
  input_packet_hex: z
    .string()
    .regex(/^([0-9a-fA-F]{2}){12,1024}$/, "is not the hexadecimal bytes of a packet")
    .refine(carriesWhatItSays, "says that it is longer than it is")
    .transform((hex) => hex.padEnd(2 * INPUT_BYTES_MIN, "0")),
});
export const StartRunner = z.strictObject({
  stop_stream_when_over: z.boolean(),
  runner: Runner,
  session_id: Id,
});
export const PullImage = z.strictObject({ image_name: ImageReference });
