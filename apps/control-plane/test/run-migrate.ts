/** A process that migrates a database; tests kill it in the middle. */
import { migrate } from "../src/database/migrate.prisma.ts";

const [url = "", folder] = process.argv.slice(2);
await migrate(url, folder);
