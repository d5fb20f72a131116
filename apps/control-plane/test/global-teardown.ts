/** After the last test file of a run. */
import { stopPostgresOfTheRun } from "./postgres-of-the-run.ts";

export default stopPostgresOfTheRun;
