/** Sessions through the whole control plane: real PostgreSQL, real tunnels, real Wolf emulators. */
import { afterEach, beforeEach, describe, expect, it } from "@jest/globals";
import type { Problem, QueueEntry, Session, WolfInstance } from "@wolfpack/api-contract";
import { dialTunnel } from "revdial";
import { RUNNER_TOKEN, startControlPlane, type TestControlPlane } from "./control-plane.ts";
import { eventually, startHost, type TestHost, type TestHostOptions } from "./host.ts";

let plane: TestControlPlane;
let hosts: TestHost[];

beforeEach(async () => {
  plane = await startControlPlane({
    reconcileIntervalMs: 40,
    lobbySettleMs: 300,
    lobbyGraceMs: 200,
    sessionStartTimeoutMs: 5000,
    tunnelLostAfterMs: 200,
  });
  hosts = [];
});

afterEach(async () => {
  await Promise.all(hosts.map((host) => host.stop()));
  await plane.stop();
});

async function host(options: Partial<TestHostOptions> = {}): Promise<TestHost> {
  const started = await startHost(plane, { name: `wolf-${hosts.length + 1}`, ...options });
  hosts.push(started);
  return started;
}

async function call<T>(
  method: string,
  path: string,
  { key = plane.adminKey, body }: { key?: string; body?: unknown } = {},
) {
  const response = await fetch(`${plane.url}/api/v1/${path}`, {
    method,
    headers: {
      authorization: `Bearer ${key}`,
      ...(body === undefined ? {} : { "content-type": "application/json" }),
    },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  const text = await response.text();
  const json = (response.headers.get("content-type") ?? "").includes("json");
  return { status: response.status, headers: response.headers, body: (json ? JSON.parse(text) : text) as T };
}

const create = (body: object = {}, key?: string) =>
  call<Session>("POST", "sessions", { body, ...(key ? { key } : {}) });
const show = async (id: string) => (await call<Session>("GET", `sessions/${id}`)).body;
const wolfOf = async (at: TestHost) => (await call<WolfInstance>("GET", `wolf-instances/${at.wolfId}`)).body;
const noSlot = (at: TestHost) =>
  eventually(
    async () => (await wolfOf(at)).connected_sandboxes,
    (count) => count === 0,
  );
const noLobby = (at: TestHost) =>
  eventually(
    () => at.wolf.lobbies().length,
    (count) => count === 0,
  );

describe("creating a session", () => {
  it("makes a tagged lobby on the wolf it names, and answers when its container runs", async () => {
    const wolf = await host();
    const { status, headers, body } = await create({ gpu_type: "nvidia", name: "desk" });
    expect(status).toBe(201);
    expect(headers.get("location")).toBe(`/api/v1/sessions/${body.id}`);
    expect(body).toMatchObject({
      status: "running",
      reachable: true,
      wolf_instance_id: wolf.wolfId,
      name: "desk",
      failure: null,
    });
    expect(wolf.wolf.lobbies()).toEqual([{ id: body.lobby_id, name: body.id, state: "running" }]);
    const sent = wolf.wolf.requests.find((request) => request.path === "/api/v1/lobbies/create");
    expect(JSON.parse(sent?.body ?? "{}")).toMatchObject({
      runner_state_folder: `wolfpack/${body.id}`,
      runner: { type: "docker", env: expect.arrayContaining([`WOLFPACK_SESSION_ID=${body.id}`]) },
    });
    expect((await wolfOf(wolf)).connected_sandboxes).toBe(1);
  });

  it("answers at once with wait_seconds 0, and the session runs later", async () => {
    await host();
    const { status, body } = await create({ wait_seconds: 0 });
    expect(status).toBe(201);
    expect(["placed", "starting", "running"]).toContain(body.status);
    await eventually(
      () => show(body.id),
      (session) => session.status === "running",
    );
  });

  it("goes on when the user hangs up while waiting", async () => {
    const wolf = await host({ containerStartDelayMs: 100 });
    const hangUp = new AbortController();
    const creation = fetch(`${plane.url}/api/v1/sessions`, {
      method: "POST",
      headers: { authorization: `Bearer ${plane.adminKey}`, "content-type": "application/json" },
      body: "{}",
      signal: hangUp.signal,
    });
    await eventually(
      () => wolf.wolf.requests,
      (requests) => requests.some(({ path }) => path.endsWith("/create")),
    );
    hangUp.abort();
    await expect(creation).rejects.toThrow();
    const [session] = await eventually(
      async () => (await call<Session[]>("GET", "sessions")).body,
      ([first]) => first?.status === "running",
    );
    expect(wolf.wolf.lobbies()).toMatchObject([{ id: session?.lobby_id }]);
  });

  it("counts a lobby that is still listed after the settling time as running, without a container event", async () => {
    const wolf = await host({ containerStartDelayMs: 60_000 });
    const { body } = await create();
    expect(body.status).toBe("running");
    expect(wolf.wolf.lobbies()).toMatchObject([{ state: "starting" }]);
  });

  it("places nothing on a Wolf without lobbies, names what is missing, and takes it once it is newer", async () => {
    const { tunnel, wolfId } = await host();
    const say = (missing: string[]) =>
      tunnel.notify(
        "capabilities",
        Buffer.from(JSON.stringify({ schema_hash: "a".repeat(64), features: ["events"], missing })),
      );
    const shows = (count: number) =>
      eventually(
        async () => (await call<WolfInstance>("GET", `wolf-instances/${wolfId}`)).body,
        ({ wolf_capabilities }) => wolf_capabilities?.missing.length === count,
      );
    say(["POST /api/v1/lobbies/create"]);
    expect((await shows(1)).wolf_capabilities).toEqual({
      schema_hash: "a".repeat(64),
      features: ["events"],
      missing: ["POST /api/v1/lobbies/create"],
    });
    const { status, body } = await call<Problem>("POST", "sessions", { body: { queue: false } });
    expect([status, body.detail]).toEqual([
      503,
      "None of 1 wolf fits: 1 whose Wolf is too old (it lacks POST /api/v1/lobbies/create).",
    ]);
    say([]);
    await shows(0);
    expect((await create()).status).toBe(201);
  });

  it("says which filter removed how many wolves when none fits, and when to try again", async () => {
    await host({ gpuType: "amd", maxSandboxes: 1 });
    await create();
    await call("POST", "wolf-instances/register", { body: { name: "no-tunnel", gpu_type: "nvidia" } });
    const { status, headers, body } = await call<Problem>("POST", "sessions", { body: { queue: false } });
    expect(status).toBe(503);
    expect(headers.get("retry-after")).toBe("5");
    expect(body).toMatchObject({
      code: "no-capacity",
      candidates: 2,
      removed: [
        { filter: "tunnel", count: 1 },
        { filter: "capacity", count: 1 },
      ],
    });
    expect((await call<Session[]>("GET", "sessions")).body).toHaveLength(1);
  });

  it("places exactly 100 of 1,000 parallel creations on 100 slots, evenly", async () => {
    const fleet = await Promise.all(
      [1, 2, 3, 4].map(() => host({ name: `w-${Math.random().toString(36).slice(2, 8)}`, maxSandboxes: 25 })),
    );
    const answers = await Promise.all(
      Array.from({ length: 1000 }, () => create({ wait_seconds: 0, queue: false })),
    );
    expect(answers.filter(({ status }) => status === 201)).toHaveLength(100);
    expect(answers.filter(({ status }) => status === 503)).toHaveLength(900);
    const counts = await Promise.all(fleet.map(wolfOf));
    expect(counts.map((wolf) => wolf.connected_sandboxes)).toEqual([25, 25, 25, 25]);
    const rows = await plane.database.prisma.session.groupBy({
      by: ["wolf_instance_id"],
      where: { slot_held: true },
      _count: true,
    });
    expect(rows.map((row) => row._count)).toEqual([25, 25, 25, 25]);
    await eventually(
      async () => (await call<Session[]>("GET", "sessions?limit=200")).body,
      (all) => all.every((session) => session.status === "running"),
    );
    expect(fleet.map((one) => one.wolf.lobbies().length)).toEqual([25, 25, 25, 25]);
  }, 60_000);

  it.each([
    ["500", "wolf-refused"],
    ["no-reply", "wolf-unreachable"],
    ["half-body", "wolf-unreachable"],
  ] as const)(
    "fails when Wolf answers the creation with %s: a reason, no slot, no lobby left",
    async (mode, reason) => {
      const wolf = await host();
      wolf.wolf.fail({ on: "POST /api/v1/lobbies/create", mode, times: 1 });
      const { status, body } = await call<Problem & { session_id: string }>("POST", "sessions", { body: {} });
      expect(status).toBe(502);
      expect(body).toMatchObject({ code: "session-start-failed", reason_code: reason });
      expect(await show(body.session_id)).toMatchObject({
        status: "failed",
        reachable: false,
        failure: { code: reason },
      });
      await noSlot(wolf);
      await noLobby(wolf);
      expect((await create()).status).toBe(201);
    },
  );

  it("fails when Wolf dies in the middle, and gives the slot back", async () => {
    const wolf = await host();
    wolf.wolf.fail({ on: "POST /api/v1/lobbies/create", mode: "die" });
    expect((await create()).status).toBe(502);
    await noSlot(wolf);
  });

  it("fails when Wolf stalls longer than a start may take, and stops what it made later", async () => {
    await plane.stop();
    plane = await startControlPlane({ reconcileIntervalMs: 40, sessionStartTimeoutMs: 150 });
    const wolf = await host({ stallMs: 400 });
    wolf.wolf.fail({ on: "POST /api/v1/lobbies/create", mode: "stall", times: 1 });
    const { status, body } = await call<Problem>("POST", "sessions", { body: {} });
    expect(status).toBe(502);
    expect(body.reason_code).toBe("wolf-timeout");
    await noSlot(wolf);
    await noLobby(wolf);
  });

  it("fails when the lobby vanishes after Wolf's 200", async () => {
    const wolf = await host();
    wolf.wolf.fail({ on: "container-start", mode: "container-exits", times: 1 });
    const { status, body } = await call<Problem>("POST", "sessions", { body: {} });
    expect(status).toBe(502);
    expect(body.reason_code).toBe("lobby-stopped");
    await noSlot(wolf);
  });

  it("fails when the tunnel is lost in the middle, and the lobby is stopped when the wolf is back", async () => {
    const wolf = await host({ stallMs: 100 });
    wolf.wolf.fail({ on: "POST /api/v1/lobbies/create", mode: "stall", times: 1 });
    const creation = create();
    await eventually(
      () => wolf.wolf.requests.length,
      (count) => count > 0 && wolf.wolf.requests.some((request) => request.path.endsWith("create")),
    );
    wolf.tunnel.destroy();
    expect((await creation).status).toBe(502);
    await noSlot(wolf);
    await wolf.dial();
    await noLobby(wolf);
  });

  it.each([
    ["an unknown GPU", { gpu_type: "voodoo" }, /^body\.gpu_type$/],
    ["mounts", { mounts: ["/:/host"] }, /^body\.mounts$/],
    ["a body that is an array", [], /^body$/],
    [
      "a huge resolution",
      { resolution: { width: 99_999, height: 480, refresh_rate: 60 } },
      /^body\.resolution\.width$/,
    ],
  ])("refuses %s and changes nothing", async (_name, body, place) => {
    const wolf = await host();
    const answer = await call<Problem>("POST", "sessions", { body });
    expect(answer.status).toBe(400);
    expect(answer.body).toMatchObject({
      code: "invalid-request",
      errors: [{ path: expect.stringMatching(place) }],
    });
    expect(wolf.wolf.requests.some((request) => request.method === "POST")).toBe(false);
    expect((await call<Session[]>("GET", "sessions")).body).toEqual([]);
  });
});

describe("stopping a session", () => {
  it("stops its lobby and gives the slot back once, however often it is asked", async () => {
    const wolf = await host();
    const { body } = await create();
    const answers = await Promise.all([1, 2, 3, 4].map(() => call("DELETE", `sessions/${body.id}`)));
    expect(answers.map(({ status }) => status).every((status) => status === 204 || status === 202)).toBe(
      true,
    );
    await eventually(
      () => show(body.id),
      (session) => session.status === "stopped",
    );
    expect((await call("DELETE", `sessions/${body.id}`)).status).toBe(204);
    expect((await wolfOf(wolf)).connected_sandboxes).toBe(0);
    await noLobby(wolf);
  });

  it("works while the sandbox is starting", async () => {
    const wolf = await host({ containerStartDelayMs: 60_000 });
    const { body } = await create({ wait_seconds: 0 });
    await call("DELETE", `sessions/${body.id}`);
    await eventually(
      () => show(body.id),
      (session) => session.status === "stopped",
    );
    await noSlot(wolf);
    await noLobby(wolf);
  });

  it("answers 202 while the wolf cannot be reached, and is finished when it is back", async () => {
    const wolf = await host();
    const { body } = await create();
    wolf.tunnel.destroy();
    await eventually(
      () => show(body.id),
      (session) => !session.reachable,
    );
    const answer = await call<Session>("DELETE", `sessions/${body.id}`);
    expect(answer).toMatchObject({ status: 202, body: { status: "stopping", reachable: false } });
    expect((await wolfOf(wolf)).connected_sandboxes).toBe(1);
    await wolf.dial();
    await eventually(
      () => show(body.id),
      (session) => session.status === "stopped",
    );
    await noSlot(wolf);
    await noLobby(wolf);
  });

  it("with force=true does not wait for the wolf, whose lobby is stopped when it is back", async () => {
    const wolf = await host();
    const { body } = await create();
    wolf.tunnel.destroy();
    await eventually(
      () => show(body.id),
      (session) => !session.reachable,
    );
    expect((await call("DELETE", `sessions/${body.id}?force=true`)).status).toBe(204);
    expect((await wolfOf(wolf)).connected_sandboxes).toBe(0);
    expect(wolf.wolf.lobbies()).toHaveLength(1);
    await wolf.dial();
    await noLobby(wolf);
  });

  it("refuses a force that is neither true nor false", async () => {
    await host();
    const { body } = await create();
    expect((await call("DELETE", `sessions/${body.id}?force=maybe`)).status).toBe(400);
    expect((await show(body.id)).status).toBe("running");
  });
});

describe("a session and its wolf", () => {
  it("is kept while the wolf cannot be reached, and new ones go elsewhere", async () => {
    const [lost, other] = [await host(), await host()];
    const { body: first } = await create();
    const { body: second } = await create();
    const onLost = first.wolf_instance_id === lost.wolfId ? first : second;
    lost.tunnel.destroy();
    const wolf = await eventually(
      () => wolfOf(lost),
      ({ connectivity }) => connectivity !== "connected",
    );
    expect(["suspect", "lost"]).toContain(wolf.connectivity);
    expect((await create()).body.wolf_instance_id).toBe(other.wolfId);
    await eventually(
      () => wolfOf(lost),
      ({ status }) => status === "offline",
    );
    await eventually(
      () => show(onLost.id),
      ({ status, reachable }) => status === "lost" && !reachable,
    );
    await lost.dial();
    await eventually(
      () => show(onLost.id),
      (session) => session.reachable && session.status === "running",
    );
    expect((await wolfOf(lost)).connected_sandboxes).toBe(1);
  });

  it("tells a creation that still waits when its wolf is removed with force", async () => {
    const wolf = await host({ containerStartDelayMs: 60_000, name: "doomed" });
    const creation = call<Problem>("POST", "sessions", { body: {} });
    await eventually(
      async () => (await call<Session[]>("GET", "sessions?status=starting")).body,
      (sessions) => sessions.length === 1,
    );
    expect((await call("DELETE", `wolf-instances/${wolf.wolfId}?force=true`)).status).toBe(200);
    expect(await creation).toMatchObject({ status: 502, body: { reason_code: "wolf-removed" } });
  });

  it("fails when its container ends, and is not confused by lobbies of others", async () => {
    const wolf = await host();
    const { body } = await create();
    await wolf.wolf.containerExits(body.lobby_id ?? "");
    const session = await eventually(
      () => show(body.id),
      ({ status }) => status === "failed",
    );
    expect(session.failure).toMatchObject({ code: "container-ended" });
    await noSlot(wolf);
  });
});

describe("a start whose process died", () => {
  it("is somebody else's once its wolf is lost, and runs when a wolf is there again, once", async () => {
    const wolf = await host();
    const { body } = await create();
    wolf.tunnel.destroy();
    await eventually(
      () => show(body.id),
      (session) => !session.reachable,
    );
    // As a process that died between claim and creation leaves it.
    await plane.database.prisma.$executeRaw`
      UPDATE session SET status = 'placed', lobby_id = NULL WHERE id = ${body.id}`;
    const session = await eventually(
      () => show(body.id),
      ({ status }) => status === "queued",
    );
    expect(session).toMatchObject({ wolf_instance_id: null, queue: { position: 1 } });
    expect((await wolfOf(wolf)).connected_sandboxes).toBe(0);
    await wolf.dial();
    const { lobby_id } = await eventually(
      () => show(body.id),
      ({ status }) => status === "running",
    );
    await eventually(
      () => wolf.wolf.lobbies(),
      (lobbies) => lobbies.length === 1 && lobbies[0]?.id === lobby_id,
    );
  });
});

describe("a sandbox's own tunnel", () => {
  const dial = (id: string, key: string) =>
    dialTunnel(`${plane.url.replace("http", "ws")}/api/v1/revdial?runnerid=sandbox-${id}`, {
      headers: { authorization: `Bearer ${key}` },
    });

  it("is used for its screen before the wolf's, and ends with the session", async () => {
    const wolf = await host();
    wolf.screen = () => ({ status: 500 });
    const ann = await plane.user("ann");
    const { body } = await create({}, ann.key);
    const tunnel = await dial(body.id, ann.key);
    tunnel.serve((request) => ({ status: 200, body: Buffer.from(JSON.stringify({ text: request.path })) }));
    const answer = await eventually(
      () => call("GET", `sessions/${body.id}/clipboard`, { key: ann.key }),
      ({ status }) => status === 200,
    );
    expect(answer.body).toEqual({ text: `/${body.id}/clipboard` });
    await call("DELETE", `sessions/${body.id}`);
    await tunnel.closed;
    await expect(dial(body.id, ann.key)).rejects.toMatchObject({ code: "DIAL_REFUSED", status: 404 });
  });

  it("is refused to everybody but the session's owner and admins", async () => {
    await host();
    const [ann, ben] = [await plane.user("ann"), await plane.user("ben")];
    const { body } = await create({}, ann.key);
    await expect(dial(body.id, ben.key)).rejects.toMatchObject({ code: "DIAL_REFUSED", status: 404 });
    await expect(dial(body.id, RUNNER_TOKEN)).rejects.toMatchObject({ code: "DIAL_REFUSED", status: 403 });
    (await dial(body.id, plane.adminKey)).destroy();
  });
});

describe("a session's screen", () => {
  it("gives the sandbox's own picture and clipboard, under both paths", async () => {
    await host();
    const { body } = await create();
    const response = await fetch(`${plane.url}/api/v1/external-agents/${body.id}/screenshot`, {
      headers: { authorization: `Bearer ${plane.adminKey}` },
    });
    expect(Object.fromEntries(response.headers)).toMatchObject({
      "content-type": "image/png",
      "cache-control": "no-store",
      "x-content-type-options": "nosniff",
    });
    expect(
      Buffer.from(await response.arrayBuffer()).includes(Buffer.from(`wolfpack-session\0${body.id}`)),
    ).toBe(true);
    expect((await call("POST", `sessions/${body.id}/clipboard`, { body: { text: "ä 狼" } })).status).toBe(
      204,
    );
    expect((await call("GET", `external-agents/${body.id}/clipboard`)).body).toEqual({ text: "ä 狼" });
  });

  it("passes nothing of the user's credential down, and nothing but an image up", async () => {
    const wolf = await host();
    const { body } = await create();
    const seen: string[] = [];
    wolf.screen = (request) => {
      seen.push(JSON.stringify(request.headers));
      return {
        status: 200,
        headers: [
          ["content-type", "image/png"],
          ["set-cookie", "a=b"],
          ["access-control-allow-origin", "*"],
        ],
        body: Buffer.from("<html><script>"),
      };
    };
    const answer = await call<Problem>("GET", `sessions/${body.id}/screenshot`);
    expect(answer).toMatchObject({ status: 502, body: { code: "screen-failed" } });
    expect(answer.headers.get("set-cookie")).toBeNull();
    expect(seen.join()).not.toMatch(/authorization|cookie|wpk_/);
  });

  it.each([
    [
      "a redirect",
      () => ({ status: 302, headers: [["location", "http://evil/"]] as const }),
      "screen-failed",
    ],
    ["an error", () => ({ status: 500 }), "screen-failed"],
    ["nothing", () => ({ status: 200 }), "screen-failed"],
    [
      "a clipboard that is a number",
      () => ({ status: 200, body: Buffer.from('{"text":1}') }),
      "screen-failed",
    ],
  ])("answers 502 when the sandbox answers with %s", async (_name, answer, code) => {
    const wolf = await host();
    const { body } = await create();
    wolf.screen = answer;
    const what = _name.includes("clipboard") ? "clipboard" : "screenshot";
    expect((await call<Problem>("GET", `sessions/${body.id}/${what}`)).body).toMatchObject({ code });
  });

  it("says of an agent that serves no screens that this is its setting", async () => {
    const wolf = await host();
    const { body } = await create();
    wolf.screen = () => ({ status: 404, headers: [["x-wolfpack-refused", "service-unknown"]] as const });
    const answer = await call<Problem>("GET", `sessions/${body.id}/screenshot`);
    expect(answer.body).toMatchObject({
      code: "screen-failed",
      detail: "The agent of the session's wolf serves no screens (--service screen=…).",
    });
  });

  it("is there for running sessions only, and says when the wolf is away", async () => {
    const wolf = await host();
    const { body } = await create();
    expect((await call("POST", `sessions/${body.id}/clipboard`, { body: { text: 5 } })).status).toBe(400);
    wolf.tunnel.destroy();
    await eventually(
      () => show(body.id),
      (session) => !session.reachable,
    );
    expect(await call<Problem>("GET", `sessions/${body.id}/screenshot`)).toMatchObject({
      status: 503,
      body: { code: "wolf-unreachable" },
    });
    await call("DELETE", `sessions/${body.id}?force=true`);
    expect(await call<Problem>("GET", `sessions/${body.id}/clipboard`)).toMatchObject({
      status: 409,
      body: { code: "session-not-running" },
    });
  });
});

describe("access", () => {
  it("hides a foreign session as if it did not exist, and shows admins all", async () => {
    await host();
    const [ann, ben] = [await plane.user("ann"), await plane.user("ben")];
    const { body } = await create({}, ann.key);
    const missing = await call<Problem>("GET", "sessions/ses_00000000000000000000000000", { key: ben.key });
    for (const [method, path] of [
      ["GET", ""],
      ["DELETE", ""],
      ["GET", "/screenshot"],
      ["GET", "/clipboard"],
      ["POST", "/clipboard"],
    ] as const) {
      const foreign = await call<Problem>(method, `sessions/${body.id}${path}`, {
        key: ben.key,
        ...(method === "POST" ? { body: { text: "" } } : {}),
      });
      expect({ ...foreign.body, instance: "" }).toEqual({ ...missing.body, instance: "" });
    }
    expect((await call<Session[]>("GET", "sessions", { key: ben.key })).body).toEqual([]);
    expect((await call<Session[]>("GET", `sessions?owner_id=${ann.id}`, { key: ben.key })).body).toEqual([]);
    expect((await call<Session[]>("GET", "sessions")).body.map(({ id }) => id)).toEqual([body.id]);
    expect((await call<Session>("GET", `sessions/${body.id}`, { key: ann.key })).body.owner_id).toBe(ann.id);
  });

  it("tells whoever sees a session, also in the queue, how it and its owner are called", async () => {
    const [ann, ben] = [await plane.user("ann"), await plane.user("ben", "viewer")];
    const made = await create({ name: "desk", wait_seconds: 0 }, ann.key);
    const { body } = await create({ name: "second", wait_seconds: 0 });
    expect([made.body.owner_name, body.owner_name]).toEqual(["ann", expect.any(String)]);
    for (const key of [ann.key, ben.key, plane.adminKey]) {
      expect((await call<Session>("GET", `sessions/${made.body.id}`, { key })).body.owner_name).toBe("ann");
      expect((await call<Session[]>("GET", "sessions?limit=1", { key })).body).toMatchObject([
        { name: "desk", owner_name: "ann" },
      ]);
    }
    const queue = (key: string) => call<QueueEntry[]>("GET", "queue", { key });
    const first = { session_id: made.body.id, name: "desk", owner_id: ann.id, owner_name: "ann" };
    expect((await queue(ann.key)).body).toMatchObject([first]);
    expect((await queue(ben.key)).body).toMatchObject([
      first,
      { name: "second", owner_name: body.owner_name },
    ]);
  });

  it("pages through the queue by Link, and says of a cursor that names nothing that it is none", async () => {
    const made: string[] = [];
    for (let i = 0; i < 3; i += 1) made.push((await create({ wait_seconds: 0 })).body.id);
    const places: [string, number][] = [];
    let path: string | undefined = "queue?limit=2";
    for (let pages = 0; path !== undefined && pages < 3; pages += 1) {
      const page: { headers: Headers; body: QueueEntry[] } = await call<QueueEntry[]>("GET", path);
      places.push(...page.body.map(({ session_id, position }): [string, number] => [session_id, position]));
      path = /<\/api\/v1\/([^>]+)>; rel="next"/.exec(page.headers.get("link") ?? "")?.[1];
    }
    expect(path).toBeUndefined();
    expect(places).toEqual(made.map((id, at) => [id, at + 1]));
    const unknown = await call<Problem>("GET", `queue?cursor=ses_${"0".repeat(26)}`);
    expect([unknown.status, unknown.body.code]).toEqual([404, "session-not-found"]);
    expect((await call("GET", "queue?cursor=2")).status).toBe(400);
    expect((await call("GET", "queue?limit=1001")).status).toBe(400);
  });

  it("pages through sessions by Link", async () => {
    await host({ maxSandboxes: 5 });
    for (let i = 0; i < 5; i += 1) await create({ wait_seconds: 0 });
    const seen: string[] = [];
    let path: string | undefined = "sessions?limit=2";
    for (let pages = 0; path !== undefined && pages < 5; pages += 1) {
      const page: { headers: Headers; body: Session[] } = await call<Session[]>("GET", path);
      const { headers, body } = page;
      seen.push(...body.map(({ id }) => id));
      path = /<\/api\/v1\/([^>]+)>; rel="next"/.exec(headers.get("link") ?? "")?.[1];
    }
    expect(seen).toHaveLength(5);
    expect(new Set(seen).size).toBe(5);
    expect(path).toBeUndefined();
  });

  it.each([
    "sessions?limit=0",
    "sessions?cursor=%00",
    "sessions?cursor=zzz",
    "sessions?status=dead",
    "sessions?limit=1&limit=2",
    "sessions?owner=1",
  ])("refuses the query %s", async (path) => {
    expect(await call<Problem>("GET", path)).toMatchObject({
      status: 400,
      body: { code: "invalid-request" },
    });
  });
});
