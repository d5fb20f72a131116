/** Before the first test file of a run. */
import { startPostgresOfTheRun } from "./postgres-of-the-run.ts";

export default startPostgresOfTheRun;
