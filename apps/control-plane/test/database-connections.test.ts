/** How many connections a replica has to its database, as PostgreSQL counts them: operators plan `max_connections` with it. */
import { afterEach, beforeEach, expect, it } from "@jest/globals";
import { CONNECTIONS_PER_REPLICA } from "../src/database/notifications.ts";
import { startControlPlane, type TestControlPlane } from "./control-plane.ts";
import { until } from "./tunnel-requests.ts";

let api: TestControlPlane;
beforeEach(async () => {
  api = await startControlPlane();
});
afterEach(() => api.stop());

it("are as many as are promised, and no more, when all that can be asked at once is asked", async () => {
  // Its own; the test's client has another pool on the same database.
  const held = async () => {
    const [row] = await api.database.prisma.$queryRaw<{ count: bigint }[]>`
      SELECT count(*) FROM pg_stat_activity
      WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid()`;
    return Number(row?.count);
  };
  const headers = { authorization: `Bearer ${api.adminKey}` };
  let most = 0;
  await until(async () => {
    const asked = Array.from({ length: 60 }, () => fetch(`${api.url}/api/v1/sessions`, { headers }));
    most = Math.max(most, await held());
    for (const answer of await Promise.all(asked)) expect(answer.status).toBe(200);
    return most >= CONNECTIONS_PER_REPLICA;
  });
  expect(most).toBe(CONNECTIONS_PER_REPLICA);
});
