/** Process: the balancer of the tests in front of a bench's replicas. */
import { startBalancer } from "../balancer.ts";
import { serveCalls } from "./process.ts";

/** One that does not listen is asked again a second later. */
const CHECK_EVERY_MS = 1000;

serveCalls({
  async listen(ports: number[]) {
    const backends = ports.map((port) => ({ host: "127.0.0.1", port }));
    const { port } = await startBalancer({ backends, checkEveryMs: CHECK_EVERY_MS, fall: 1, rise: 1 });
    return port;
  },
});
