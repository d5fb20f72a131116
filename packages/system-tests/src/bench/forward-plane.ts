/** Process: one of two control planes on one database. */

import { freePort } from "@wolfpack/control-plane/free-ports";
import {
  type ControlPlane,
  compose,
  createLogger,
  migrate,
  newId,
  readConfig,
} from "@wolfpack/control-plane/parts";
import { serveCalls } from "./process.ts";

const PLENTY = "1000000";

let plane: ControlPlane | undefined;

/** Resolves to the port and to a key of an admin. */
async function open({ url, dataDir, token }: { url: string; dataDir: string; token: string }) {
  await migrate(url);
  const port = await freePort();
  const config = readConfig({
    PORT: String(port),
    HOST: "127.0.0.1",
    DATABASE_URL: url,
    DATA_DIR: dataDir,
    API_KEY_SECRET: "a secret of the bench, which is not one",
    RUNNER_TOKEN: token,
    LEGACY_RUNNER_TOKEN: "allow",
    WOLFPACK_REPLICA_URL: `http://127.0.0.1:${port}`,
    WOLFPACK_REQUESTS_PER_MINUTE_PER_ADDRESS: PLENTY,
    WOLFPACK_REQUESTS_PER_MINUTE_PER_CREDENTIAL: PLENTY,
  });
  plane = compose(config, url, createLogger("fatal"));
  const user = await plane.identity.createUser({ name: newId("usr"), role: "admin" });
  const nobody = { kind: "user", role: "admin", scopes: null, credentialId: newId("key") } as const;
  const { key } = await plane.identity.createApiKey({ ...nobody, userId: user.id }, { name: "bench" });
  return { port: await plane.listen(), key };
}

serveCalls({ open, close: () => plane?.stop() });
