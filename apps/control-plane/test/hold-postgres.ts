/** A process that owns an embedded PostgreSQL until it is killed; tests kill it. It ignores SIGINT, as a busy owner would. */
import { startEmbeddedPostgres } from "../src/database/embedded-postgres.ts";

process.on("SIGINT", () => undefined);
const [dataDir = ""] = process.argv.slice(2);
const { url } = await startEmbeddedPostgres({ dataDir });
process.stdout.write(`${url}\n`);
setInterval(() => undefined, 60_000);
