/** Lobbies in the shape in which a Helix control plane asks for them: refused without a word of the host's owner. */
import { readFileSync } from "node:fs";
import { describe, expect, it } from "@jest/globals";
import { checkWolfRequest } from "./check.ts";
import { createWolfGuard } from "./guard.ts";
import { defaultWolfPolicy, readWolfPolicy, type WolfPolicy } from "./policy.ts";

const document = readFileSync(new URL("../../../docs/operations/policy.md", import.meta.url), "utf8");
const [, ofDocument = ""] = /## For a Helix control plane[\s\S]*?```json\n([\s\S]+?)```/.exec(document) ?? [];

function policyOf(text: string): WolfPolicy {
  const reading = readWolfPolicy(text);
  if (!reading.ok) throw new Error(reading.reason);
  return reading.policy;
}
const without = (key: keyof WolfPolicy) => {
  const { [key]: _left, ...rest } = JSON.parse(ofDocument) as Record<string, unknown>;
  return policyOf(JSON.stringify(rest));
};

const session = "01ARZ3NDEKTSV4RRFFQ69G5FAV";
const lobby = {
  profile_id: "helix-sessions",
  name: "Agent 5FAV",
  multi_user: true,
  stop_when_everyone_leaves: false,
  pin: [1, 2, 3, 4],
  video_settings: {
    width: 1920,
    height: 1080,
    refresh_rate: 60,
    wayland_render_node: "",
    runner_render_node: "",
    video_producer_buffer_caps: "",
    video_source_mode: "wayland",
  },
  audio_settings: { channel_count: 2 },
  runner_state_folder: `/wolf-state/agent-ses_${session}`,
  runner: {
    type: "docker",
    name: `sway-external-${session}`,
    image: "helix-sway:a1b2c3",
    mounts: [`/opt/helix/filestore/workspaces/ses_${session}:/home/retro/work:rw`],
    env: [
      `HELIX_SESSION_ID=ses_${session}`,
      "HELIX_API_BASE_URL=https://helix.test",
      "USER_API_TOKEN=hl-secret",
      "GAMESCOPE_WIDTH=1920",
    ],
    devices: [],
    ports: [],
    base_create_json: JSON.stringify({
      Hostname: `sway-external-${session}`,
      HostConfig: { IpcMode: "host", Privileged: false, CapAdd: ["SYS_ADMIN"], SecurityOpt: [] },
    }),
  },
};

const create = (body: unknown, policy: WolfPolicy) =>
  checkWolfRequest(
    { method: "POST", path: "/api/v1/lobbies/create", bodyText: JSON.stringify(body) },
    policy,
  );
const codeOf = (body: unknown, policy: WolfPolicy) => {
  const result = create(body, policy);
  return result.ok ? "passed" : result.refusal.code;
};

describe("a lobby in Helix's shape", () => {
  it("passes as it is with the policy of the document", () => {
    const result = create(lobby, policyOf(ofDocument));
    expect(result.ok && JSON.parse(result.bodyText)).toEqual(lobby);
  });

  it("is refused by default, and where one part of that policy is missing", () => {
    expect(codeOf(lobby, defaultWolfPolicy)).toBe("body-invalid");
    expect(codeOf(lobby, without("helix_homes"))).toBe("body-invalid");
    expect(codeOf(lobby, without("base_create_json"))).toBe("runner-refused");
    expect(codeOf(lobby, without("mount_folders"))).toBe("mount-refused");
  });

  it.each([
    ["", "body-invalid"],
    ["/", "body-invalid"],
    ["/wolf-state", "state-folder-refused"],
    ["/wolf-state/", "body-invalid"],
    ["/wolf-state/a/b", "state-folder-refused"],
    ["/wolf-state/../etc", "body-invalid"],
    ["/wolf-state/..", "body-invalid"],
    ["//wolf-state/a", "body-invalid"],
    ["/wolf-state2/a", "state-folder-refused"],
    ["/etc/wolf/cfg", "state-folder-refused"],
    ["/wolf-state/a:/etc", "body-invalid"],
    ["wolf-state/a", "state-folder-refused"],
  ])("has its home exactly one name below the policy's folder, and not at %j", (folder, code) => {
    expect(codeOf({ ...lobby, runner_state_folder: folder }, policyOf(ofDocument))).toBe(code);
  });

  it.each([
    { wayland_render_node: "/dev/sda" },
    { video_producer_buffer_caps: "video/x-raw ! filesink location=/etc/passwd" },
    { video_source_mode: "file" },
    { video_source_mode: null },
    { more: 1 },
  ])("is no way around what else a lobby may not have: %j", (video) => {
    const body = { ...lobby, video_settings: { ...lobby.video_settings, ...video } };
    expect(codeOf(body, policyOf(ofDocument))).toBe("body-invalid");
  });

  it("may get the home of before, where one of ours may not", async () => {
    const reply = { status: 200, contentType: "application/json", body: Buffer.from('{"success":true}') };
    const guard = createWolfGuard({ ask: async () => reply, policy: policyOf(ofDocument), createsMax: 1 });
    const ask = (body: unknown) =>
      guard({
        method: "POST",
        path: "/api/v1/lobbies/create",
        body: (async function* () {
          yield Buffer.from(JSON.stringify(body));
        })(),
        contentLength: undefined,
        signal: new AbortController().signal,
      });
    const ours = { ...lobby, runner_state_folder: "wolfpack/a" };
    for (const [body, second] of [
      [lobby, { ok: true, status: 200 }],
      [ours, { ok: false, refusal: { code: "state-folder-refused" } }],
    ] as const) {
      expect(await ask(body)).toMatchObject({ ok: true, status: 200 });
      expect(await ask(body)).toMatchObject(second);
    }
  });
});

describe("the folder of Helix's homes", () => {
  it.each(["/", "/etc", "/etc/wolf", "/etc/wolf/cfg", "wolf-state", "", "/a/../etc", "/a/", "/a:b", "/.ssh"])(
    "cannot be %j",
    (folder) => {
      const reading = readWolfPolicy(JSON.stringify({ helix_homes: folder }));
      expect(reading).toMatchObject({ ok: false, reason: expect.stringMatching(/^helix_homes: /) });
    },
  );

  it("leaves the lobbies of our own control plane as they are", () => {
    const ours = {
      ...lobby,
      video_settings: {
        ...lobby.video_settings,
        wayland_render_node: "software",
        runner_render_node: "software",
        video_producer_buffer_caps: "video/x-raw",
        video_source_mode: undefined,
      },
      runner_state_folder: "wolfpack/ses_1",
      runner: { ...lobby.runner, mounts: [], base_create_json: undefined },
    };
    expect(codeOf(ours, defaultWolfPolicy)).toBe("passed");
    expect(codeOf(ours, policyOf(ofDocument))).toBe("passed");
  });
});
