/** `wolfctl queue`: who waits for a wolf. */
import type { QueueEntry } from "@wolfpack/api-contract";
import type { Command } from "commander";
import type { ListView } from "../output/output.ts";
import { age, duration } from "../output/words.ts";
import type { Binder } from "../run.ts";
import { watched } from "../watch.ts";
import { watchOption } from "./options.ts";

const QUEUE_SHOWN_MAX = 200;
const NOBODY = "Nobody waits.";

export function queueCommand(program: Command, bind: Binder): void {
  program
    .command("queue")
    .description("Sessions that wait for a wolf, next first")
    .addOption(watchOption())
    .action(
      bind<{ watch?: string | boolean }, []>(async (run, { watch }) => {
        let full = false;
        const draw = async () => {
          const { body } = await run.connection().call("listQueue", { query: { limit: QUEUE_SHOWN_MAX } });
          full = body.length === QUEUE_SHOWN_MAX;
          return { text: run.out.listText(body, queueList(run.edges.now())), shown: body };
        };
        await watched(run, watch, draw, NOBODY);
        if (full) await run.out.note(`These are the next ${QUEUE_SHOWN_MAX}; there may be more.`);
      }),
    );
}

function queueList(nowMs: number): ListView<QueueEntry> {
  return {
    none: NOBODY,
    name: ({ session_id }) => session_id,
    columns: [
      { title: "#", of: ({ position }) => String(position), align: "right" },
      { title: "SESSION", of: ({ name, session_id }) => name || session_id, shrinkTo: 10 },
      { title: "OWNER", of: ({ owner_name, owner_id }) => owner_name || owner_id, shrinkTo: 6, spare: 2 },
      { title: "PRIO", of: ({ priority }) => String(priority), align: "right", spare: 1 },
      { title: "WAITS", of: ({ queued_at }) => age(queued_at, nowMs), align: "right" },
      { title: "LEFT", of: ({ deadline }) => duration(Date.parse(deadline) - nowMs), align: "right" },
      { title: "BECAUSE", of: ({ text }) => text, shrinkTo: 12 },
      { title: "ID", of: ({ session_id }) => session_id, spare: 3 },
    ],
  };
}
