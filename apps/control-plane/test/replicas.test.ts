/** Replicas that share one PostgreSQL: real control planes, real tunnels, real Wolf emulators. */
import { afterEach, beforeEach, describe, expect, it } from "@jest/globals";
import type { Problem, Session, WolfInstance } from "@wolfpack/api-contract";
import { KNOWN_PATH } from "../src/replicas/internal-wire.ts";
import { createReplicaCredentials, REPLICA_FIELD } from "../src/replicas/replica-credential.ts";
import { API_KEY_SECRET } from "./control-plane.ts";
import { eventually } from "./host.ts";
import { type Replicas, testReplicas } from "./some-replicas.ts";

let replicas: Replicas;

beforeEach(async () => {
  replicas = await testReplicas();
});

afterEach(() => replicas.stop());

describe("a wolf whose tunnel another replica holds", () => {
  it("gets a session, shows its screen, and gives it up, all asked of the wrong replica", async () => {
    const [a, b] = await replicas.two();
    const wolf = await replicas.host(b);
    await eventually(
      async () => (await replicas.call<WolfInstance>(a, "GET", `wolf-instances/${wolf.wolfId}`)).body,
      ({ reconciled }) => reconciled === true,
    );
    const made = await eventually(
      () => replicas.call<Session>(a, "POST", "sessions", { queue: false }),
      ({ status }) => status === 201,
    );
    expect(made.body).toMatchObject({ status: "running", wolf_instance_id: wolf.wolfId });
    const { id } = made.body;
    const screenshot = await replicas.call<ArrayBuffer>(a, "GET", `external-agents/${id}/screenshot`);
    expect(screenshot.status).toBe(200);
    expect(Buffer.from(screenshot.body).subarray(1, 4).toString()).toBe("PNG");
    const stopped = await replicas.call<Session>(a, "DELETE", `sessions/${id}`);
    expect([200, 202, 204]).toContain(stopped.status);
    await eventually(
      async () => (await replicas.call<Session>(b, "GET", `sessions/${id}`)).body.status,
      (status) => status === "stopped",
    );
  });
});

describe("paths for replicas", () => {
  it.each([
    ["nothing", undefined],
    ["a user's key", "key"],
    ["a credential of another secret", "other-secret"],
    ["a credential for another path", "other-path"],
    ["a credential of a replica without a lease", "no-lease"],
  ])("are closed to whoever shows %s", async (_, what) => {
    const a = await replicas.start();
    const path = "/internal/v1/wolves/wlf_01KB00000000000000000000W1/look";
    const [self] = await replicas.list(a);
    const to = self?.id ?? "";
    const stranger = "rep_01KB00000000000000000000R1";
    const sign = (secret: string, of: string) =>
      createReplicaCredentials(secret, stranger).sign(to, "POST", of, Date.now());
    const shown = {
      key: replicas.adminKey,
      "other-secret": sign("another secret of thirty-two characters", path),
      "other-path": sign(API_KEY_SECRET, "/internal/v1/other"),
      "no-lease": sign(API_KEY_SECRET, path),
    }[what ?? ""];
    const headers = {
      authorization: `Bearer ${replicas.adminKey}`,
      ...(shown && { [REPLICA_FIELD]: shown }),
    };
    const answer = await fetch(`${a.url}${path}`, { method: "POST", headers });
    expect(answer.status).toBe(403);
    expect(((await answer.json()) as Problem).code).toBe("replica-refused");
  });
});

describe("a replica that asks whether it was taken for gone", () => {
  it("is answered by the database of the one that it asks, also when its lease has ended", async () => {
    const a = await replicas.start();
    const [self] = await replicas.list(a);
    const asking = "rep_01KB00000000000000000000K2";
    const credentials = createReplicaCredentials(API_KEY_SECRET, asking);
    const status = async () => {
      const credential = credentials.sign(self?.id ?? "", "GET", KNOWN_PATH, Date.now());
      return (await fetch(`${a.url}${KNOWN_PATH}`, { headers: { [REPLICA_FIELD]: credential } })).status;
    };
    expect(await status()).toBe(410);
    await replicas.database.prisma.$executeRaw`
      INSERT INTO replica (id, url, version, secret_print, started_at, lease_until)
      SELECT ${asking}, 'http://127.0.0.1:9', version, secret_print, now(), now() - interval '1 ms' FROM replica`;
    expect(await status()).toBe(204);
    // It was gone for longer than the other one could renew its own lease.
    await eventually(status, (now) => now === 410);
    expect((await fetch(`${a.url}${KNOWN_PATH}`)).status).toBe(403);
  });
});

describe("membership", () => {
  it("refuses a replica with another secret while one lives, and says so", async () => {
    await replicas.start();
    const other = replicas.start({ apiKeySecret: "another secret of at least thirty-two characters" });
    await expect(other).rejects.toThrow(/has another API_KEY_SECRET/);
  });

  it("refuses a replica at the URL of one that lives, and leaves that one alone", async () => {
    const [first, second] = await replicas.two();
    const replicaUrl = first.url;
    await expect(replicas.start({ replicaUrl })).rejects.toMatchObject({ code: "URL_TAKEN" });
    expect(await replicas.list(second)).toHaveLength(2);
    expect(first.lines.join("")).not.toContain("taken for gone");
  });

  it("lets a replica take the URL of one that was killed, within its lease", async () => {
    const a = await replicas.start();
    const url = "http://127.0.0.1:9";
    await replicas.database.prisma.$executeRaw`
      INSERT INTO replica (id, url, version, secret_print, started_at, lease_until)
      SELECT 'rep_01KB00000000000000000000K1', ${url}, version, secret_print, now(), now() + interval '1 hour' FROM replica`;
    await replicas.start({ replicaUrl: url });
    expect((await replicas.list(a)).map((row) => row.id)).not.toContain("rep_01KB00000000000000000000K1");
  });

  it("makes a replica whose row was removed begin anew, and its agents come back", async () => {
    const [a, b] = await replicas.two();
    const wolf = await replicas.host(b);
    const wolfAt = async () =>
      (await replicas.call<WolfInstance>(a, "GET", `wolf-instances/${wolf.wolfId}`)).body.tunnel;
    const before = await eventually(wolfAt, (tunnel) => tunnel !== null);
    await replicas.database.prisma.$executeRaw`DELETE FROM replica WHERE id = ${before?.replica}`;
    expect(await wolf.tunnel.goingAway).toMatchObject({ reason: "the replica was taken for gone" });
    await wolf.dial();
    await eventually(wolfAt, (tunnel) => tunnel !== null && tunnel.epoch > (before?.epoch ?? 0));
    expect(b.lines.some((line) => line.includes("taken for gone"))).toBe(true);
    expect(await replicas.list(a)).toHaveLength(2);
  });
});

describe("a replica that goes while another one is there", () => {
  it("serves whoever still comes until nobody listens any more, and refuses nobody in between", async () => {
    const [leaving] = await replicas.two({ drainNoticeMs: 50 });
    const statuses = new Set<number>();
    const asks = async () => {
      try {
        for (;;) statuses.add((await replicas.call(leaving, "GET", "replicas")).status);
      } catch (error) {
        return (error as { cause?: { code?: string } }).cause?.code;
      }
    };
    const all = Promise.all(Array.from({ length: 8 }, asks));
    await leaving.stop();
    expect(new Set(await all)).not.toContain(undefined);
    expect([...statuses]).toEqual([200]);
  });
});
