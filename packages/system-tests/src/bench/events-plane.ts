/** Process: a whole control plane whose wolves change all the time. */
import { setTimeout as pause } from "node:timers/promises";
import {
  type ControlPlane,
  compose,
  createLogger,
  createPrisma,
  migrate,
  newId,
  prismaWolfStore,
  readConfig,
  systemClock,
} from "@wolfpack/control-plane/parts";
import { serveCalls } from "./process.ts";

const WOLVES = 1000;
const PLENTY = "1000000";
/** Changes are made this often, some at once: a timer for each would not keep its time. */
const TICK_MS = 20;

let plane: ControlPlane | undefined;
let flooded: ((events: number) => Promise<unknown>) | undefined;
let change: ((at: number) => Promise<void>) | undefined;

/** At once: more of them would be dropped for a reader that takes them, too. */
const FLOOD_TOGETHER = 50;
const FLOOD_EVENT_BYTES = 2000;

/** Keys of one user: more of them could not all have as many streams as a credential may. */
const KEYS_PER_USER = 3;

/** Resolves to the port, as many keys of admins, and the ids of all wolves, in the order in which they change. */
async function open({ url, dataDir, keys }: { url: string; dataDir: string; keys: number }) {
  await migrate(url);
  const config = readConfig({
    PORT: "0",
    HOST: "127.0.0.1",
    DATABASE_URL: url,
    DATA_DIR: dataDir,
    API_KEY_SECRET: "a secret of the bench, which is not one",
    WOLFPACK_REQUESTS_PER_MINUTE_PER_ADDRESS: PLENTY,
    WOLFPACK_REQUESTS_PER_MINUTE_PER_CREDENTIAL: PLENTY,
  });
  plane = compose(config, url, createLogger("error"));
  const secrets: string[] = [];
  const nobody = { kind: "user", role: "admin", scopes: null, credentialId: newId("key") } as const;
  let userId = "";
  for (let at = 0; at < keys; at += 1) {
    const name = `reader-${at}`;
    if (at % KEYS_PER_USER === 0) userId = (await plane.identity.createUser({ name, role: "admin" })).id;
    secrets.push((await plane.identity.createApiKey({ ...nobody, userId }, { name })).key);
  }
  const prisma = createPrisma(url);
  const ids = Array.from({ length: WOLVES }, () => newId("wlf"));
  const columns = { connectivity: "connected", last_heartbeat: systemClock.now() };
  await prisma.wolfInstance.createMany({ data: ids.map((id) => ({ id, name: id, ...columns })) });
  const wolves = prismaWolfStore(prisma);
  flooded = (events) => prisma.$executeRaw`
    INSERT INTO fleet_event (id, at, kind, detail)
    SELECT new_event_id(), now(), 'wolf.intent', jsonb_build_object('reason', repeat('x', ${FLOOD_EVENT_BYTES}::int))
    FROM generate_series(1, ${events}::int)`;
  change = async (at) => {
    const to = Math.floor(at / WOLVES) % 2 === 0 ? "cordoned" : "active";
    // The reason says when: readers on this machine know how long it took.
    const reason = String(performance.timeOrigin + performance.now());
    const plan = { from: ["active", "cordoned"], to, reason } as const;
    await wolves.changeIntent(ids[at % WOLVES] ?? "", { ...plan, from: [...plan.from] }, systemClock.now());
  };
  return { port: await plane.listen(), keys: secrets, wolves: ids };
}

/** So many changes a second, for so long; resolves to how many there were, and to the seconds it took. */
async function run({ from, perSecond, seconds }: { from: number; perSecond: number; seconds: number }) {
  const began = performance.now();
  const total = perSecond * seconds;
  const writing: Promise<void>[] = [];
  for (let done = 0; done < total; ) {
    const due = Math.min(total, Math.floor(((performance.now() - began) / 1000) * perSecond));
    for (; done < due; done += 1) writing.push(change?.(from + done) ?? Promise.resolve());
    await pause(TICK_MS);
  }
  await Promise.all(writing);
  return { changes: total, seconds: (performance.now() - began) / 1000 };
}

/** So many large events that no wolf has, at a pace that readers keep up with. */
async function flood({ events }: { events: number }): Promise<void> {
  for (let made = 0; made < events; made += FLOOD_TOGETHER) {
    await flooded?.(FLOOD_TOGETHER);
    await pause(TICK_MS);
  }
}

serveCalls({ open, flood, run, close: () => plane?.stop() });
