/** `wolfctl queue`: who waits for a wolf. */
import type { QueueEntry } from "@wolfpack/api-contract";
import type { Command } from "commander";
import type { ListView } from "../output/output.ts";
import { age, duration } from "../output/words.ts";
import { listed, readLimit } from "../pages.ts";
import type { Binder } from "../run.ts";
import { watched } from "../watch.ts";
import { limitOption, watchOption } from "./options.ts";

const NOBODY = "Nobody waits.";

export function queueCommand(program: Command, bind: Binder): void {
  program
    .command("queue")
    .description("Sessions that wait for a wolf, next first")
    .addOption(limitOption("1000"))
    .addOption(watchOption())
    .action(
      bind<{ limit: string; watch?: string | boolean }, []>(async (run, { limit, watch }) => {
        const wanted = readLimit(limit);
        const connection = run.connection();
        let more = false;
        const draw = async () => {
          const found = await listed(wanted, (page) => connection.call("listQueue", { query: page }));
          more = found.more;
          const shown = onceEach(found.items);
          return { text: run.out.listText(shown, queueList(run.edges.now())), shown };
        };
        await watched(run, watch, draw, NOBODY);
        if (more) await run.out.note(`There are more than ${wanted}: --limit all shows them.`);
      }),
    );
}

/** Who got another place between two pages is in both: where it was read last counts. */
function onceEach(entries: readonly QueueEntry[]): QueueEntry[] {
  const last = new Map(entries.map((entry) => [entry.session_id, entry]));
  return entries.filter((entry) => last.get(entry.session_id) === entry);
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
