/** `wolfctl placements`: where a session would go, and why one is where it is. */
import type { PlacementPreviewRequest } from "@wolfpack/api-contract";
import type { Command } from "commander";
import { wolfNames } from "../lookup.ts";
import type { Binder } from "../run.ts";
import { explanationOne, previewOne, wolvesNamed } from "../views/placement-view.ts";
import { sessionId } from "./sessions.ts";
import { type WishFlags, wishOf, wishOptions } from "./wish.ts";

export function placementsCommand(program: Command, bind: Binder): void {
  const placements = program
    .command("placements")
    .alias("placement")
    .description("Which wolf a session gets, and why");
  wishOptions(
    placements.command("preview").description("Where a session would go now, and why; nothing is taken"),
  ).action(
    bind<WishFlags, []>(async (run, flags) => {
      const body = wishOf(flags) as PlacementPreviewRequest;
      const { body: preview } = await run.connection().call("previewPlacement", { body });
      const ids =
        run.out.format === "json" || run.out.format === "yaml" ? [] : wolvesNamed(preview.explanation);
      const names = await wolfNames(run.connection(), [preview.wolf_instance_id, ...ids]);
      // Where it would wait there is no name to say.
      if (run.out.format === "name" && preview.wolf_instance_id === null) return;
      await run.out.one(preview, previewOne(names));
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
