/** What Wolf makes of a request by rules of its own, which its API does not show (runners/docker.cpp, api/endpoints.cpp). */
import { describe, expect, it } from "@jest/globals";
import type { z } from "zod";
import { checkWolfRequest } from "./check.ts";
import { WolfPolicy } from "./policy.ts";

const lobby = {
  profile_id: "user",
  name: "a",
  multi_user: true,
  stop_when_everyone_leaves: false,
  video_settings: {
    width: 640,
    height: 480,
    refresh_rate: 60,
    wayland_render_node: "software",
    runner_render_node: "software",
    video_producer_buffer_caps: "video/x-raw",
  },
  audio_settings: { channel_count: 2 },
  runner_state_folder: "wolfpack/a",
  runner: { type: "docker", name: "a", image: "b", mounts: [], env: [], devices: [], ports: [] },
};

/** What passes on, or the code of the refusal. */
function send(method: string, path: string, body: object | undefined, rules: z.input<typeof WolfPolicy>) {
  const checked = checkWolfRequest(
    { method, path: `/api/v1${path}`, bodyText: body === undefined ? "" : JSON.stringify(body) },
    WolfPolicy.parse(rules),
  );
  return checked.ok ? checked.bodyText : checked.refusal.code;
}
const create = (runner: object, rules: z.input<typeof WolfPolicy> = {}) =>
  send("POST", "/lobbies/create", { ...lobby, runner: { ...lobby.runner, ...runner } }, rules);

describe("Wolf's own socket", () => {
  it.each(["/tmp/wolf.sock", "/run/my-wolf.sock.d/x"])(
    "is mounted at no %s, where Wolf would put it in place of an allowed folder",
    (target) => {
      const runner = { mounts: [`/srv/a:${target}`], env: [`WOLF_SOCKET_PATH=${target}`] };
      expect(create(runner, { mount_folders: ["/srv"] })).toBe("mount-refused");
      // Alone, too: Wolf looks for the name anywhere in the environment.
      expect(create({ mounts: [`/srv/a:${target}`] }, { mount_folders: ["/"] })).toBe("mount-refused");
    },
  );
});

describe("an icon", () => {
  // Read below Wolf's state folder, beside its key, its configuration and the homes of sandboxes, which may hold links.
  const files = [
    "cfg/key.pem",
    "cfg/config.toml",
    "wolfpack/ses_1/x.png",
    "1234/Desktop/x.png",
    "key.pem",
    "icons/a/b.png",
  ];

  it.each(files)("is not read from %s", (file) => {
    const rules = { open: ["GET /api/v1/utils/get-icon"] };
    expect(send("GET", `/utils/get-icon?icon_path=${file}`, undefined, rules)).toBe("query-invalid");
    expect(send("POST", "/lobbies/create", { ...lobby, icon_png_path: file }, {})).toBe("body-invalid");
  });

  it.each(["firefox.png", "icons/t.png", "My_app-2.1.JPG"])("is read from %s", (file) => {
    const rules = { open: ["GET /api/v1/utils/get-icon"] };
    expect(send("GET", `/utils/get-icon?icon_path=${file}`, undefined, rules)).toBe("");
    expect(send("POST", "/lobbies/create", { ...lobby, icon_png_path: file }, {})).toContain(file);
  });
});

describe("an input packet", () => {
  const input = (hex: string) => {
    const body = { session_id: "1", input_packet_hex: hex };
    return send("POST", "/sessions/input", body, { open: ["POST /api/v1/sessions/input"] });
  };
  // Type and length, the length of the data in big-endian order, the kind of input, and its data.
  const moved = ["0602", "0c00", "00000008", "07000000", "00010001"].join("");
  const typed = (length: string) => ["0602", "0000", length, "17000000", "61"].join("");

  it.each([
    ["shorter than its head", moved.slice(0, 22)],
    ["that declares more text than it carries", typed("00000006")],
    ["that declares 4 GiB", typed("ffffffff")],
    ["that declares less than its kind takes", typed("00000003")],
  ])("%s is refused: Wolf would read on behind it", (_what, hex) => {
    expect(input(hex)).toBe("body-invalid");
  });

  it.each([moved, typed("00000005")])("like %s goes on as long as any that Wolf may take it for", (hex) => {
    expect(JSON.parse(input(hex))).toEqual({ session_id: "1", input_packet_hex: hex.padEnd(128, "0") });
    expect(input(`${"ab".repeat(4)}00000040${"cd".repeat(64)}`)).toContain(`00000040${"cd".repeat(64)}"`);
  });
});

describe("a create document", () => {
  const nested = (levels: number) => `{"a":${"[".repeat(levels - 1)}${"]".repeat(levels - 1)}}`;

  it.each([
    '{"HostConfig":1}',
    '{"HostConfig":[]}',
    '{"HostConfig":null}',
    '{"HostConfig":{"Binds":"/a:/b"}}',
    '{"HostConfig":{"Devices":null}}',
    '{"Env":{}}',
    '{"Labels":{"a":"\\ud800"}}',
    nested(33),
  ])("like %s is refused also where they are on: it would end Wolf, which merges it with its own", (text) => {
    expect(create({ base_create_json: text }, { base_create_json: true })).toBe("body-invalid");
  });

  it.each([
    "{}",
    '{"HostConfig":{"IpcMode":"host","Binds":[],"Devices":[{}]},"Env":["A=b"]}',
    '{"Labels":{"a":"\\ud83d\\ude00"}}',
    nested(32),
  ])("like %s goes on as it came", (text) => {
    const sent = create({ base_create_json: text }, { base_create_json: true });
    expect(JSON.parse(sent)).toMatchObject({ runner: { base_create_json: text } });
  });
});
