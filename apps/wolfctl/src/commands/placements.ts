/** `wolfctl placements`: where a session would go, and why one is where it is. */
import type { PlacementPreviewRequest } from "@wolfpack/api-contract";
import type { Command } from "commander";
import { wolfNames } from "../lookup.ts";
import type { Binder } from "../run.ts";
import { explanationOne, previewOne, wolvesNamed } from "../views/placement-view.ts";
import { sessionId } from "./sessions.ts";
import { type QueueFlags, queueOf, queueOptions, type WishFlags, wishOf, wishOptions } from "./wish.ts";

export function placementsCommand(program: Command, bind: Binder): void {
  const placements = program
    .command("placements")
    .alias("placement")
    .description("Which wolf a session gets, and why");
  const preview = placements
    .command("preview")
    .description("Where a session would go now, and why; nothing is taken");
  queueOptions(wishOptions(preview)).action(
    bind<WishFlags & QueueFlags, []>(async (run, flags) => {
      const body = { ...wishOf(flags), ...queueOf(flags) } as PlacementPreviewRequest;
      const { body: answer } = await run.connection().call("previewPlacement", { body });
      const ids =
        run.out.format === "json" || run.out.format === "yaml" ? [] : wolvesNamed(answer.explanation);
      const names = await wolfNames(run.connection(), [answer.wolf_instance_id, ...ids]);
      // Where it would wait or be refused there is no name to say.
      if (run.out.format === "name" && answer.wolf_instance_id === null) return;
      await run.out.one(answer, previewOne(names));
    }),
  );
  placements
    .command("explain")
    .description("Why a session is where it is, or why it waits")
    .argument("<session>", "id")
    .action(
      bind<object, [string]>(async (run, _flags, id) => {
        const { body: session } = await run
          .connection()
          .call("getSession", { params: { id: sessionId(id) } });
        const { placement, wolf_instance_id: taken } = session;
        const names = await wolfNames(run.connection(), [taken, ...wolvesNamed(placement)]);
        await run.out.one(placement, explanationOne(names, taken));
      }),
    );
}
