import { describe, expect, it } from "@jest/globals";
import fc from "fast-check";
import type { z } from "zod";
import { checkWolfRequest, WOLF_BODY_BYTES_MAX } from "./check.ts";
import { WolfPolicy } from "./policy.ts";
import { wolfRoutes } from "./routes.ts";

const lobby = {
  profile_id: "user",
  name: "ses_1",
  multi_user: true,
  stop_when_everyone_leaves: false,
  video_settings: {
    width: 1920,
    height: 1080,
    refresh_rate: 60,
    wayland_render_node: "/dev/dri/renderD128",
    runner_render_node: "software",
    video_producer_buffer_caps: "video/x-raw",
  },
  audio_settings: { channel_count: 2 },
  runner_state_folder: "wolfpack/ses_1",
  runner: {
    type: "docker",
    name: "desk",
    image: "ghcr.io/games-on-whales/xfce:edge",
    mounts: [] as string[],
    env: ["A=b c"],
    devices: [] as string[],
    ports: [] as string[],
  },
};
const withRunner = (fields: Record<string, unknown>) => ({
  ...lobby,
  runner: { ...lobby.runner, ...fields },
});
const withVideo = (fields: Record<string, unknown>) => ({
  ...lobby,
  video_settings: { ...lobby.video_settings, ...fields },
});

function check(method: string, path: string, body: unknown = "", rules: z.input<typeof WolfPolicy> = {}) {
  return checkWolfRequest(
    { method, path, bodyText: typeof body === "string" ? body : JSON.stringify(body) },
    WolfPolicy.parse(rules),
  );
}
const create = (body: unknown, rules: z.input<typeof WolfPolicy> = {}) =>
  check("POST", "/api/v1/lobbies/create", body, rules);
const stop = (body: unknown) => check("POST", "/api/v1/lobbies/stop", body);

function refusalOf(result: ReturnType<typeof checkWolfRequest>) {
  return result.ok ? undefined : { status: result.refusal.status, code: result.refusal.code };
}

describe("a path", () => {
  it.each([
    "",
    "api/v1/lobbies",
    "//api/v1/lobbies",
    "/api//v1/lobbies",
    "/api/v1/./lobbies",
    "/api/v1/x/../lobbies",
    "/api/v1/lobbies/..",
    "/api/v1%2flobbies",
    "/api/v1/lobbies%00",
    "/api/v1/%2e%2e/lobbies",
    "/api/v1/..%2flobbies",
    "/api/v1/..%252flobbies",
    "/api\\v1\\lobbies",
    "/api/v1/lobbies#a",
    "/api/v1/lobbies;a",
    "/api/v1/lobbies ",
    " /api/v1/lobbies",
    "/api/v1/lobbies\n",
    "/api/v1/lobbies\r\nHost: x",
    "/api/v1/lobbies\u0000",
    "/api/v1/löbbies",
    "http://wolf/api/v1/lobbies",
    "*",
  ])("like %j is refused before it is looked up", (path) => {
    expect(refusalOf(check("GET", path))).toEqual({ status: 400, code: "path-invalid" });
  });

  it.each([
    "/",
    "/api/v1/lobbies/",
    "/api/v1/Lobbies",
    "/API/v1/lobbies",
    "/api/v1",
    "/api/v2/lobbies",
    "/api/v1/system/health",
  ])("like %s is unknown", (path) => {
    expect(refusalOf(check("GET", path))).toEqual({ status: 404, code: "route-unknown" });
  });

  it("passes only when it is, byte for byte, the path of an open route", () => {
    const open = new Set(wolfRoutes.filter((route) => route.closed === undefined).map((route) => route.path));
    const near = fc
      .tuple(
        fc.constantFrom(...wolfRoutes.map((route) => route.path)),
        fc.nat(40),
        fc.string({ maxLength: 3 }),
      )
      .map(([path, at, extra]) => path.slice(0, at) + extra + path.slice(at));
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.webPath(), near), (path) => {
        const result = check("GET", path);
        expect(result.ok && !open.has(result.target)).toBe(false);
      }),
      { numRuns: 500 },
    );
  });
});

describe("a method", () => {
  it.each(["get", "HEAD", "OPTIONS", "PATCH", "PUT", "DELETE", "TRACE", "CONNECT", "", "GET ", "POST\r\n"])(
    "like %j is refused, since Wolf reads most of them as GET",
    (method) => {
      expect(refusalOf(check(method, "/api/v1/lobbies"))).toEqual({
        status: 405,
        code: "method-not-allowed",
      });
    },
  );

  it("of another route at the same path is refused with what the route takes", () => {
    expect(check("GET", "/api/v1/lobbies/create")).toMatchObject({
      refusal: { detail: "This route takes POST." },
    });
  });
});

describe("the table of routes", () => {
  it("opens exactly what a control plane calls", () => {
    expect(
      wolfRoutes.filter((route) => route.closed === undefined).map(({ method, path }) => `${method} ${path}`),
    ).toEqual([
      "GET /api/v1/lobbies",
      "POST /api/v1/lobbies/create",
      "POST /api/v1/lobbies/stop",
      "GET /api/v1/openapi-schema",
    ]);
  });

  it.each(wolfRoutes.filter((route) => route.closed !== undefined))(
    "keeps $method $path closed",
    ({ method, path }) => {
      expect(refusalOf(check(method, path, { session_id: "abc" }))).toEqual({
        status: 403,
        code: "route-closed",
      });
    },
  );

  it("has a body schema for every open POST", () => {
    for (const route of wolfRoutes) {
      if (route.closed === undefined) expect(route.body !== undefined).toBe(route.method === "POST");
    }
  });
});

describe("a body", () => {
  it("for a route that takes none is refused", () => {
    expect(refusalOf(check("GET", "/api/v1/lobbies", "{}"))).toEqual({
      status: 400,
      code: "body-unexpected",
    });
    expect(refusalOf(check("GET", "/api/v1/lobbies", " "))).toEqual({ status: 400, code: "body-unexpected" });
  });

  it("of more than 64 KiB is refused before it is parsed, counted in bytes", () => {
    const body = { lobby_id: "x" };
    const filled = (bytes: number) => JSON.stringify(body) + " ".repeat(bytes - JSON.stringify(body).length);
    expect(refusalOf(stop(filled(WOLF_BODY_BYTES_MAX + 1)))).toEqual({ status: 413, code: "body-too-large" });
    expect(refusalOf(stop(filled(WOLF_BODY_BYTES_MAX)))).toEqual({ status: 400, code: "body-invalid" });
    expect(refusalOf(stop("ä".repeat(WOLF_BODY_BYTES_MAX / 2 + 1)))).toEqual({
      status: 413,
      code: "body-too-large",
    });
  });

  it.each([
    "",
    "{",
    "null",
    "[]",
    '"text"',
    "1",
    "{}{}",
    "[".repeat(60_000),
    `{"lobby_id":${"[".repeat(30_000)}`,
  ])("that is no object is refused (%#)", (text) => {
    expect(refusalOf(stop(text))).toEqual({ status: 400, code: "body-invalid" });
  });

  it.each([
    ["no id", {}],
    ["an empty id", { lobby_id: "" }],
    ["an id that is a number", { lobby_id: 1 }],
    ["an id of another alphabet", { lobby_id: "../../etc" }],
    ["an id of 65 characters", { lobby_id: "a".repeat(65) }],
    ["an id with a line end", { lobby_id: "136a065d-a12f-4297-a211-16842d5d7103\n" }],
    ["a PIN that is text", { lobby_id: "136a065d", pin: "1234" }],
    ["a PIN out of range", { lobby_id: "136a065d", pin: [70_000] }],
    ["a PIN without digits", { lobby_id: "136a065d", pin: [] }],
    ["an unknown field", { lobby_id: "136a065d", force: true }],
    ["a field named __proto__", '{"lobby_id":"136a065d","__proto__":{"x":1}}'],
    ["a field named constructor", { lobby_id: "136a065d", constructor: 1 }],
  ])("to stop a lobby with %s is refused", (_name, body) => {
    expect(refusalOf(stop(body))).toEqual({ status: 400, code: "body-invalid" });
  });

  it.each([
    ["a process runner in capitals", { ...lobby, runner: { type: "Process", run_cmd: "id" } }],
    ["base_create_json that is no object", withRunner({ base_create_json: "[]" })],
    ["base_create_json null", withRunner({ base_create_json: null })],
    ["a mount without colon", withRunner({ mounts: ["/srv"] })],
    ["a mount with a relative host path", withRunner({ mounts: ["srv:/srv"] })],
    ["a mount with a relative container path", withRunner({ mounts: ["/srv:srv"] })],
    ["a mount with dot segments", withRunner({ mounts: ["/srv/../etc:/data"] })],
    ["a mount with an odd mode", withRunner({ mounts: ["/srv:/srv:ro;rw"] })],
    ["a mount of four parts", withRunner({ mounts: ["/a:/b:ro:x"] })],
    ["an empty mount", withRunner({ mounts: [""] })],
    ["a mount that is an object", withRunner({ mounts: [{ host: "/" }] })],
    ["a device without colon", withRunner({ devices: ["/dev/dri"] })],
    ["a disk", withRunner({ devices: ["/dev/sda:/dev/sda"] })],
    ["memory as a device", withRunner({ devices: ["/dev/mem:/dev/input/event0"] })],
    ["a device behind dot segments", withRunner({ devices: ["/dev/dri/../sda:/dev/dri/card0"] })],
    ["device permissions of another alphabet", withRunner({ devices: ["/dev/uinput:/dev/uinput:x"] })],
    ["a port without colon", withRunner({ ports: ["80"] })],
    ["a port that is no number", withRunner({ ports: ["http:80"] })],
    ["a port of 0", withRunner({ ports: ["0:80"] })],
    ["a port of 65536", withRunner({ ports: ["65536:80"] })],
    ["a port in hexadecimal", withRunner({ ports: ["0x50:80"] })],
    ["a negative port", withRunner({ ports: ["-1:80"] })],
    ["a port with a space", withRunner({ ports: [" 80:80"] })],
    ["an empty port", withRunner({ ports: [":"] })],
    ["a port with an unknown protocol", withRunner({ ports: ["80:80:sctp"] })],
    ["65 ports", withRunner({ ports: Array.from({ length: 65 }, () => "80:80") })],
    ["an environment entry without name", withRunner({ env: ["=x"] })],
    ["an environment entry without value", withRunner({ env: ["PATH"] })],
    ["a NUL in the environment", withRunner({ env: ["A=\u0000"] })],
    ["a line end in the environment", withRunner({ env: ["A=b\nC=d"] })],
    ["half a surrogate pair in the environment", withRunner({ env: ["A=\ud83d"] })],
    ["an image with a space", withRunner({ image: "a b" })],
    ["an image that is an option", withRunner({ image: "--privileged" })],
    ["an image whose inspection would lead elsewhere", withRunner({ image: "a/../../containers/b" })],
    ["an image with an empty part", withRunner({ image: "a//b" })],
    ["an image that ends with a slash", withRunner({ image: "a/" })],
    ["a container name with a slash", withRunner({ name: "a/b" })],
    ["a runner without arrays", { ...lobby, runner: { type: "docker", name: "a", image: "b" } }],
    ["no runner", { ...lobby, runner: undefined }],
    ["a width that is text", withVideo({ width: "1920" })],
    ["a width of a million", withVideo({ width: 1_000_000 })],
    ["a width beyond 64 bits", JSON.stringify(lobby).replace("1920", "18446744073709551616")],
    ["a fraction of a refresh rate", withVideo({ refresh_rate: 59.94 })],
    ["a negative height", withVideo({ height: -1 })],
    ["an infinite height", JSON.stringify(lobby).replace("1080", "1e999")],
    [
      "another pipeline element in the caps",
      withVideo({ video_producer_buffer_caps: "video/x-raw ! filesink location=/etc/cron.d/x" }),
    ],
    ["a quote in the caps", withVideo({ video_producer_buffer_caps: 'video/x-raw, a="b"' })],
    ["a render node elsewhere", withVideo({ runner_render_node: "/etc/passwd" })],
    ["a render node with dot segments", withVideo({ wayland_render_node: "/dev/dri/../sda" })],
    ["three audio channels", { ...lobby, audio_settings: { channel_count: 3 } }],
    ["an absolute state folder", { ...lobby, runner_state_folder: "/etc" }],
    ["a state folder with dot segments", { ...lobby, runner_state_folder: "a/../../etc" }],
    ["an empty state folder", { ...lobby, runner_state_folder: "" }],
    ...[
      "a:/etc",
      "wolfpack/a:ro",
      "c\\fg",
      "wolfpack/a\n",
      "wolfpack/",
      "wolfpack//a",
      "wolfpack/.a",
      "ä",
    ].map((folder): [string, object] => [
      `a state folder like ${JSON.stringify(folder)}`,
      { ...lobby, runner_state_folder: folder },
    ]),
    ["an icon at an absolute path", { ...lobby, icon_png_path: "/etc/shadow" }],
    ["an icon behind dot segments", { ...lobby, icon_png_path: "a/../../etc/shadow" }],
    ["an icon that is a URL", { ...lobby, icon_png_path: "http://169.254.169.254/" }],
    ["a name with a control character", { ...lobby, name: "a\u0085b" }],
    ["a name of 129 characters", { ...lobby, name: "a".repeat(129) }],
    ["multi_user as text", { ...lobby, multi_user: "true" }],
    ["an unknown controller", { ...lobby, client_settings: { controllers_override: ["SEGA"] } }],
    ["a user id of 2^32", { ...lobby, client_settings: { run_uid: 4_294_967_296 } }],
    ["an unknown field", { ...lobby, video_source_mode: "x" }],
  ])("to create a lobby with %s is refused", (_name, body) => {
    expect(refusalOf(create(body))).toEqual({ status: 400, code: "body-invalid" });
  });

  it("names the place that is wrong, in at most 300 characters, and never the value", () => {
    const result = create(withRunner({ env: ["SECRET"], mounts: [] }));
    expect(result).toMatchObject({ refusal: { detail: "runner.env.0: is not NAME=value" } });
    const long = create({ ...lobby, ["x".repeat(5000)]: 1 });
    expect(long.ok ? "" : long.refusal.detail).toHaveLength(300);
  });

  it("with every field at its place passes unchanged", () => {
    const full = {
      ...withRunner({
        devices: [
          "/dev/dri/renderD128:/dev/dri/renderD128:mrw",
          "/dev/uinput:/dev/uinput",
          "/dev/nvidia0:/dev/nvidia0",
        ],
        ports: ["19876:9876", "53:5353:udp"],
      }),
      ...withVideo({ video_producer_buffer_caps: "video/x-raw(memory:DMABuf), format=NV12" }),
      client_settings: { run_uid: 1000, mouse_acceleration: 1.5, motion_controller_override: "AUTO" },
      icon_png_path: "icons/t.png",
      pin: [1, 2, 3, 4],
    };
    const result = create(full);
    expect(result.ok && JSON.parse(result.bodyText)).toEqual(full);
  });

  it("is sent on as it was checked: of two keys with one name only the checked one remains", () => {
    const text = '{ "lobby_id": "../../x", "pin":[9], "lobby_id": "136a065d" , "pin": [1] }';
    expect(stop(text)).toMatchObject({ ok: true, bodyText: '{"lobby_id":"136a065d","pin":[1]}' });
    expect(refusalOf(stop('{"lobby_id":"136a065d","lobby_id":"../../x"}'))).toEqual({
      status: 400,
      code: "body-invalid",
    });
  });

  it("that passed once passes again as the same bytes", () => {
    const bodies = fc.record({
      lobby_id: fc.stringMatching(/^[0-9a-f-]{8,64}$/),
      pin: fc.array(fc.integer({ min: 0, max: 9 }), { minLength: 1, maxLength: 16 }),
    });
    fc.assert(
      fc.property(bodies, fc.integer({ min: 0, max: 4 }), (body, indent) => {
        const first = stop(JSON.stringify(body, null, indent));
        expect(first.ok && stop(first.bodyText)).toEqual(first);
      }),
    );
  });

  it("of any other JSON never passes, and is never answered with an exception", () => {
    fc.assert(
      fc.property(fc.oneof(fc.json(), fc.string()), (text) => {
        expect(create(text).ok).toBe(false);
        expect(stop(text).ok).toBe(false);
      }),
    );
  });
});

describe("a mount", () => {
  it.each(["/:/host", "/var/run/docker.sock:/var/run/docker.sock", "/srv/shared:/data:ro"])(
    "like %s is refused unless its folder is allowed",
    (mount) => {
      expect(refusalOf(create(withRunner({ mounts: [mount] })))).toEqual({
        status: 403,
        code: "mount-refused",
      });
    },
  );

  it.each(["/srv2:/data", "/srvx/a:/data", "/:/data", "/sr:/data"])("like %s is not below /srv", (mount) => {
    const result = create(withRunner({ mounts: ["/srv/a:/a", mount] }), { mount_folders: ["/srv"] });
    expect(refusalOf(result)).toEqual({ status: 403, code: "mount-refused" });
  });

  it("of an allowed folder, or below it, passes", () => {
    const mounts = ["/srv:/data", "/srv/shared/x:/x:ro", "/games/a:/b"];
    expect(create(withRunner({ mounts }), { mount_folders: ["/srv", "/games/"] }).ok).toBe(true);
  });
});

describe("a state folder", () => {
  const refused = { status: 403, code: "state-folder-refused" };
  const folder = (runner_state_folder: string, rules = {}) =>
    create({ ...lobby, runner_state_folder }, rules);

  it.each(["cfg", "cfg/key.pem", "wolfpack", "wolfpack/a/b", "wolfpack2/a", "profile-data/user/x", "a"])(
    "like %s is refused: it is not exactly one name below the control plane's",
    (name) => {
      expect(refusalOf(folder(name))).toEqual(refused);
    },
  );

  it("is one name below any of the policy's, and below no other", () => {
    const rules = { state_folders: ["profile-data/user", "x"] };
    for (const name of ["profile-data/user/a", "x/a"]) expect(folder(name, rules).ok).toBe(true);
    for (const name of ["wolfpack/a", "profile-data/user", "profile-data/a", "x/a/b"])
      expect(refusalOf(folder(name, rules))).toEqual(refused);
  });

  it("of a client is one of the policy's itself, since Wolf mounts what a title names in it", () => {
    const settings = (app_state_folder: string) =>
      check(
        "POST",
        "/api/v1/clients/settings",
        { client_id: "1", app_state_folder },
        { open: ["POST /api/v1/clients/settings"], state_folders: ["x/y"] },
      );
    expect(settings("x/y").ok).toBe(true);
    for (const name of ["cfg", "x", "x/y/z", "wolfpack"]) expect(refusalOf(settings(name))).toEqual(refused);
    for (const name of ["", "x/y/", "/etc", "x/../cfg", "x/y:ro"])
      expect(refusalOf(settings(name))).toEqual({ status: 400, code: "body-invalid" });
  });

  it.each(["", ".", "..", "../cfg", "/root", "a/b", "a\\b", "a:ro", ".ssh"])(
    "is not led elsewhere by an app's title or a profile's id like %j",
    (name) => {
      const open = ["POST /api/v1/apps/add", "POST /api/v1/profiles/add"];
      const profile = { name: "p", id: "p", icon_png_path: "", apps: [app] };
      const invalid = { status: 400, code: "body-invalid" };
      const post = (path: string, body: object) => check("POST", `/api/v1/${path}`, body, { open });
      expect(post("profiles/add", { ...profile, apps: [{ ...app, title: "Wolf UI, 2. é" }] }).ok).toBe(true);
      expect(refusalOf(post("apps/add", { ...app, title: name }))).toEqual(invalid);
      expect(refusalOf(post("profiles/add", { ...profile, apps: [{ ...app, title: name }] }))).toEqual(
        invalid,
      );
      expect(refusalOf(post("profiles/add", { ...profile, id: name }))).toEqual(invalid);
    },
  );
});

const processLobby = { ...lobby, runner: { type: "process", run_cmd: "id" } };
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
  runner: lobby.runner,
};

describe("what a policy speaks about", () => {
  it.each([
    ["a process runner", processLobby, "runner-refused", { process_runners: true }],
    [
      "a create document",
      withRunner({ base_create_json: "{}" }),
      "runner-refused",
      { base_create_json: true },
    ],
  ])("%s is refused unless it is on", (_name, body, code, rules) => {
    expect(refusalOf(create(body))).toEqual({ status: 403, code });
    expect(create(body, rules).ok).toBe(true);
  });

  it("an image is refused when its name begins otherwise", () => {
    const rules = { image_prefixes: ["ghcr.io/games-on-whales/"] };
    expect(create(lobby, rules).ok).toBe(true);
    for (const image of ["xfce", "ghcr.io/games-on-whales.evil/x", "ghcr.io/games-on-whale/xfce"])
      expect(refusalOf(create(withRunner({ image }), rules))).toEqual({ status: 403, code: "image-refused" });
    const pull = (image_name: string) =>
      check(
        "POST",
        "/api/v1/docker/images/pull",
        { image_name },
        { ...rules, open: ["POST /api/v1/docker/images/pull"] },
      );
    expect(refusalOf(pull("busybox"))).toEqual({ status: 403, code: "image-refused" });
    expect(pull("ghcr.io/games-on-whales/xfce:edge").ok).toBe(true);
  });

  it("runners and pipelines are found in apps, and in the apps of profiles", () => {
    const open = ["POST /api/v1/apps/add", "POST /api/v1/profiles/add"];
    const add = (changed: object, rules: object = {}) => [
      check("POST", "/api/v1/apps/add", { ...app, ...changed }, { open, ...rules }),
      check(
        "POST",
        "/api/v1/profiles/add",
        { name: "p", id: "p", icon_png_path: "", apps: [app, { ...app, ...changed }] },
        { open, ...rules },
      ),
    ];
    for (const [changed, code] of [
      [{ runner: processLobby.runner }, "runner-refused"],
      [{ runner: { ...lobby.runner, mounts: ["/:/host"] } }, "mount-refused"],
      [{ opus_gst_pipeline: "x ! filesink location=/etc/cron.d/x" }, "pipeline-refused"],
    ] as const)
      for (const result of add(changed)) expect(refusalOf(result)).toEqual({ status: 403, code });
    for (const result of add({ opus_gst_pipeline: "x !\ny" }, { pipelines: true }))
      expect(result.ok).toBe(true);
    for (const result of add({})) expect(result.ok).toBe(true);
  });

  it("a query is one plain value, sent as Wolf reads it: not encoded", () => {
    const open = ["GET /api/v1/utils/get-icon", "GET /api/v1/docker/images/inspect"];
    const icon = (query: string) => check("GET", `/api/v1/utils/get-icon${query}`, "", { open });
    expect(icon("?icon_path=icons/t.png")).toMatchObject({
      ok: true,
      target: "/api/v1/utils/get-icon?icon_path=icons/t.png",
    });
    expect(icon("?icon_path=icons%2Ft.png")).toMatchObject({
      target: "/api/v1/utils/get-icon?icon_path=icons/t.png",
    });
    for (const query of [
      "",
      "?",
      "?icon_path",
      "?icon_path=",
      "?icon_path=/etc/shadow",
      "?icon_path=%2Fetc%2Fshadow",
      "?icon_path=a/../b",
      "?icon_path=http://169.254.169.254/",
      "?icon_path=a=b",
      "?icon_path=a&icon_path=b",
      "?x=a",
      "?icon_path=%",
      "?icon_path=%00",
      "?icon_path=a%0d%0aX:y",
      "?icon_path=%252e",
    ])
      expect(refusalOf(icon(query))).toEqual({ status: 400, code: "query-invalid" });
    const inspect = (name: string) =>
      check("GET", `/api/v1/docker/images/inspect?image_name=${name}`, "", { open });
    const image = "localhost:5000/a.b/c_d--e:v1.0@sha256:0af";
    expect(inspect(image)).toMatchObject({ target: `/api/v1/docker/images/inspect?image_name=${image}` });
    // Wolf puts it into a path of Docker's API, where dot segments lead to containers.
    for (const name of ["a/../../containers/b", "a%2F..%2Fb", "..", "a/./b", "a//b", "a/"])
      expect(refusalOf(inspect(name))).toEqual({ status: 400, code: "query-invalid" });
    for (const query of ["?", "?a=b"])
      expect(refusalOf(check("GET", `/api/v1/lobbies${query}`))).toEqual({
        status: 400,
        code: "query-invalid",
      });
  });
});

describe("an id", () => {
  const stopSession = (session_id: unknown) =>
    check("POST", "/api/v1/sessions/stop", JSON.stringify({ session_id }), {
      open: ["POST /api/v1/sessions/stop"],
    });

  it.each([
    "abc",
    "",
    " 1",
    "1 ",
    "-1",
    "1e3",
    "0x1",
    "18446744073709551616",
    "123456789012345678901",
    null,
    1.5,
    -1,
    [],
    {},
  ])("like %j is refused", (id) => {
    expect(refusalOf(stopSession(id))).toEqual({ status: 400, code: "body-invalid" });
  });

  it("goes on as text, also when it was written as a number of any length", () => {
    const written = (digits: string) =>
      check("POST", "/api/v1/sessions/stop", `{"session_id":${digits}}`, {
        open: ["POST /api/v1/sessions/stop"],
      });
    expect(written("7")).toMatchObject({ bodyText: '{"session_id":"7"}' });
    expect(written("18446744073709551615")).toMatchObject({
      bodyText: '{"session_id":"18446744073709551615"}',
    });
    expect(stopSession("18446744073709551615").ok).toBe(true);
  });
});
