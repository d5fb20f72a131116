/** What creating it would be answered now, in words, as a function of the preview. */
import type { PlacementPreview } from "@wolfpack/api-contract";
import type { Tone } from "../../ui/badge.tsx";
import { count, many, plain } from "../../ui/text.ts";

export interface Verdict {
  tone: Tone;
  title: string;
  text: string;
}

export function verdictOf({ outcome, queue_position: position, refusal }: PlacementPreview): Verdict {
  switch (outcome) {
    case "placed":
      return { tone: "ok", title: "It would start on", text: "There is room for it." };
    case "queued":
      return {
        tone: "warning",
        title: position === null ? "It would wait" : `It would wait at place ${count(position)}`,
        text: "It starts as soon as there is room, or when something changes.",
      };
    case "impossible":
      return {
        tone: "danger",
        title: "No wolf could ever take it",
        text: "What it asks for has to change.",
      };
    default:
      return {
        tone: "danger",
        title: "It would be refused",
        text: refusal ? refusalText(refusal) : "The control plane does not say why.",
      };
  }
}

function refusalText({ code, text, current, limit }: NonNullable<PlacementPreview["refusal"]>): string {
  if (code === "no-capacity") return "There is no room, and it is not to wait.";
  if (current === null || limit === null) return plain(text, 1000);
  switch (code) {
    case "quota-exceeded":
      return `You have ${many(current, "session")} and may have ${count(limit)} at once: one has to end first.`;
    case "rate-limited":
      return `You have created ${many(current, "session")} within a minute and may create ${count(limit)}: wait a moment.`;
    case "queue-full":
      return `There is no room, and ${count(current)} of ${count(limit)} places in the queue are taken.`;
    default:
      return plain(text, 1000);
  }
}
