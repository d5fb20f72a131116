/** Process: a whole control plane with ten thousand wolves, of which one changes when it is told to. */
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

const PLENTY = "1000000";
/** In one statement. */
const CHUNK = 1000;

let plane: ControlPlane | undefined;
let change: ((at: number, to: "active" | "cordoned") => Promise<void>) | undefined;

/** Resolves to the port and an admin's key. */
async function open({ url, dataDir, wolves }: { url: string; dataDir: string; wolves: number }) {
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
  const port = await plane.listen();
  // Afterwards: at its start it asks what became of the tunnels of those it finds.
  const prisma = createPrisma(url);
  const ids = Array.from({ length: wolves }, () => newId("wlf"));
  const columns = {
    connectivity: "connected",
    last_heartbeat: systemClock.now(),
    gpu_type: "nvidia",
    gpu_model: "NVIDIA L40S",
    region: "eu-central",
    labels: { rack: "r1" },
  };
  for (let from = 0; from < wolves; from += CHUNK) {
    const chunk = ids.slice(from, from + CHUNK);
    const data = chunk.map((id, at) => ({
      id,
      name: `wolf-${String(from + at).padStart(5, "0")}`,
      ...columns,
    }));
    await prisma.wolfInstance.createMany({ data });
  }
  let key = "";
  await plane.identity.resetAdminKey((made) => {
    key = made;
  });
  const store = prismaWolfStore(prisma);
  change = async (at, to) => {
    // The reason says when: a page on this machine knows how long it took.
    const reason = (performance.timeOrigin + performance.now()).toFixed(3);
    await store.changeIntent(ids[at] ?? "", { from: ["active", "cordoned"], to, reason }, systemClock.now());
  };
  return { port, key };
}

serveCalls({
  open,
  change: ({ at, to }: { at: number; to: "active" | "cordoned" }) => change?.(at, to),
  close: () => plane?.stop(),
});
