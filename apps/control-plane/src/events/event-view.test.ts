/** Which events are shown to whom: the rule in the program and the one in SQL are the same. */
import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import { type Role, roles, type Scope, scopes } from "@wolfpack/api-contract";
import { type TestDatabase, testDatabase } from "../../test/database.ts";
import type { UserPrincipal } from "../identity/principal.ts";
import { newId } from "../ids.ts";
import { prismaEventStore } from "./event-store.prisma.ts";
import type { EventStore, FleetEventRecord } from "./event-store.ts";
import { type EventFilter, filterOf, shows, sightOf } from "./event-view.ts";

const [anna, bert] = [newId("usr"), newId("usr")];
const user = (role: Role, only: Scope[] | null = null): UserPrincipal => ({
  kind: "user",
  userId: anna,
  role,
  scopes: only,
  credentialId: newId("key"),
});

let database: TestDatabase;
let store: EventStore;
let all: FleetEventRecord[];
const sessionId = newId("ses");
const wolfId = newId("wlf");
beforeAll(async () => {
  database = await testDatabase();
  store = prismaEventStore(database.prisma);
  const kinds = ["session.running", "session", "wolf.health", "fleet.frozen", "queue.left", "placement.made"];
  const guarded = [
    "user.changed",
    "api-key.created",
    "web-session.opened",
    "join-token.used",
    "agent-key.revoked",
    "users.many",
  ];
  for (const kind of [...kinds, ...guarded])
    for (const ownerId of [anna, bert, null])
      for (const about of [sessionId, newId("ses"), null])
        await database.prisma.fleetEvent.create({
          data: {
            id: newId("evt"),
            at: new Date(),
            kind,
            session_id: about,
            owner_id: ownerId,
            wolf_instance_id: about === null ? wolfId : null,
            actor: "user",
            actor_id: ownerId,
          },
        });
  all = await store.between(-1n, 1000n, 1000);
});
afterAll(() => database.drop());

const principals = [
  ...roles.map((role) => [role, user(role)] as const),
  ...scopes.map((scope) => [`an admin's key of scope ${scope}`, user("admin", [scope])] as const),
  ...scopes.map((scope) => [`a user's key of scope ${scope}`, user("user", [scope])] as const),
];
const filters: EventFilter[] = [
  {},
  filterOf({ kind: "session.*" }),
  filterOf({ kind: "session" }),
  filterOf({ kind: "%" }),
  filterOf({ kind: "_.*" }),
  filterOf({ session_id: sessionId }),
  filterOf({ wolf_instance_id: wolfId, actor_id: bert }),
  filterOf({ kind: "api-key.created", actor_id: anna }),
  filterOf({ actor_id: anna }),
  filterOf({ actor_id: bert }),
];

describe("what is shown", () => {
  it.each(principals)(
    "to %s is the same in the program and in SQL, whatever is asked for",
    async (_who, one) => {
      for (const filter of filters) {
        const view = { ...filter, sight: sightOf(one) };
        const found = await store.between(-1n, 1000n, 1000, view);
        const idsOf = (events: FleetEventRecord[]) => events.map(({ id }) => id);
        expect([filter, idsOf(found)]).toEqual([filter, idsOf(all.filter((event) => shows(view, event)))]);
      }
    },
  );

  const seenBy = (one: UserPrincipal) => {
    const seen = all.filter((event) => shows({ sight: sightOf(one) }, event));
    return new Set(seen.map(({ kind, ownerId }) => `${kind} ${ownerId === anna ? "own" : "other"}`));
  };

  it("to an admin is everything", () => {
    expect(seenBy(user("admin")).size).toBe(24);
  });

  it("to a user is nothing of others' keys, of users and of tokens", () => {
    const seen = seenBy(user("user"));
    expect(seen).toContain("api-key.created own");
    expect(seen).toContain("web-session.opened own");
    for (const hidden of [
      "web-session.opened other",
      "api-key.created other",
      "user.changed own",
      "join-token.used own",
      "agent-key.revoked own",
    ])
      expect(seen).not.toContain(hidden);
  });

  it("of what somebody else did is asked in vain by users and viewers", () => {
    const found = (role: Role, actorId: string) =>
      all.some((event) => shows({ actorId, sight: sightOf(user(role)) }, event));
    expect(roles.map((role) => [role, found(role, anna), found(role, bert)]).toSorted()).toEqual([
      ["admin", true, true],
      ["operator", true, true],
      ["user", true, false],
      ["viewer", true, false],
    ]);
  });

  it("to nobody but admins is what a newer replica tells of, and this one knows nothing about", () => {
    expect(seenBy(user("admin"))).toContain("users.many other");
    for (const one of [user("operator"), user("user"), user("viewer"), user("admin", ["read"])])
      expect([...seenBy(one)].filter((shown) => shown.startsWith("users.many"))).toEqual([]);
  });

  it("to an operator are agents' keys too, and to a key that may not read them, none", () => {
    expect(seenBy(user("operator"))).toContain("agent-key.revoked other");
    expect(seenBy(user("admin", ["read"]))).not.toContain("agent-key.revoked other");
    expect(seenBy(user("admin", ["read"]))).toContain("session.running other");
  });
});
