/** Why a session is where it is, or would go somewhere, or nowhere: the explanation as tables. */
import type { PlacementExplanation, PlacementPreview } from "@wolfpack/api-contract";
import { fact, factsText, type Section } from "../output/facts.ts";
import type { OneView } from "../output/output.ts";
import { printable, wrapped } from "../output/printable.ts";
import type { Paint, Tone } from "../output/style.ts";
import { type Column, tableText } from "../output/table.ts";
import { count } from "../output/words.ts";
import { type WolfNames, wolfNamed } from "./session-view.ts";

interface Options {
  width: number | undefined;
  paint: Paint;
}
type Drawn = (options: Options) => Section;

/** What each filter looks at, in the order in which they are asked. */
const filterWords: Record<PlacementExplanation["removed"][number]["filter"], string> = {
  intent: "no new sessions wanted there (cordoned, draining, …)",
  connectivity: "not connected",
  health: "not healthy",
  quarantine: "in quarantine",
  tunnel: "no tunnel",
  capabilities: "their Wolf lacks what sessions need",
  reconciled: "not yet compared with what they run",
  gpu_type: "another kind of GPU",
  gpu_model: "another model of GPU",
  labels: "other labels",
  region: "another region",
  avoided: "tried already for this session",
  capacity: "no free slot",
  vram: "too little video memory",
  encoder_sessions: "no free video stream",
};

export function explanationSections(
  { text, policy, candidates, removed, ranked, counterfactuals }: PlacementExplanation,
  names: WolfNames,
  taken: string | null,
): Drawn[] {
  const sections: Drawn[] = [
    ({ width }) => ({
      title: "Why",
      text: `${wrapped(printable(withNames(text, names)), (width ?? 100) - 2).join("\n")}\n`,
      facts: [
        fact("policy", policy),
        fact("looked at", count(candidates, "wolf", "wolves")),
        fact(
          "fit",
          String(
            Math.max(
              0,
              removed.reduce((left, { count: many }) => left - many, candidates),
            ),
          ),
        ),
      ],
    }),
  ];
  if (removed.length > 0)
    sections.push(({ width, paint }) => ({
      title: "Left out",
      text: tableText(
        [
          { title: "FILTER", of: ({ filter }) => filter },
          { title: "WOLVES", of: ({ count: many }) => String(many), align: "right" },
          { title: "BECAUSE", of: ({ filter }) => filterWords[filter] ?? "–", shrinkTo: 10 },
        ],
        removed,
        { width: inner(width), paint },
      ),
    }));
  if (ranked.length > 0) sections.push(rankedSection(ranked, names, taken));
  if (counterfactuals.length > 0)
    sections.push(({ width }) => ({
      title: "What would have to change",
      text: counterfactuals
        .map((one) => wrapped(printable(withNames(one.text, names)), (width ?? 100) - 4))
        .map(([first = "", ...others]) => [`- ${first}`, ...others.map((line) => `  ${line}`)].join("\n"))
        .map((one) => `${one}\n`)
        .join(""),
    }));
  return sections;
}

/** A share of free slots beside a share of taken ones needs another word than that. */
const partWords: Readonly<Record<string, string>> = { load: "room", packing: "fullness" };

type Ranked = PlacementExplanation["ranked"][number];
/** Whatever the scores are, those of one tier are taken before any of the next. */
const tierWords: Record<NonNullable<Ranked["tier"]>, string> = {
  "as-wished": "as wished",
  "other-region": "another region",
  degraded: "degraded",
  "degraded-other-region": "degraded, another region",
};

/** Nothing to be said: all are as wished, or the explanation is of before. */
function tierColumn(ranked: readonly Ranked[]): Column<Ranked>[] {
  if (ranked.every(({ tier = "as-wished" }) => tier === "as-wished")) return [];
  const of = ({ tier }: Ranked) => (tier === undefined ? "–" : (tierWords[tier] ?? tier));
  return [{ title: "TIER", of, shrinkTo: 14 }];
}

function rankedSection(
  ranked: PlacementExplanation["ranked"],
  names: WolfNames,
  taken: string | null,
): Drawn {
  const partsText = (parts: Record<string, number>) =>
    Object.entries(parts)
      .map(([part, value]) => `${partWords[part] ?? part} ${value.toFixed(2)}`)
      .join(", ");
  return ({ width, paint }) => ({
    title: "Ranked",
    text: tableText(
      [
        { title: "", of: ({ wolf_instance_id: id }) => (id === taken ? { text: "→", tone: "good" } : "") },
        { title: "WOLF", of: ({ wolf_instance_id: id }) => wolfNamed(id, names), shrinkTo: 12 },
        ...tierColumn(ranked),
        { title: "LOAD", of: ({ load }) => `${Math.round(load * 100)} %`, align: "right" },
        { title: "SCORE", of: ({ score }) => score.toFixed(2), align: "right" },
        { title: "MADE OF", of: ({ parts }) => partsText(parts), shrinkTo: 10 },
      ],
      ranked,
      { width: inner(width), paint },
    ),
  });
}

const inner = (width: number | undefined) => (width === undefined ? undefined : width - 2);

/** Texts of the control plane name wolves by their ids. */
const withNames = (text: string, names: WolfNames): string =>
  text.replace(/wlf_[0-9A-HJKMNP-TV-Z]{26}/g, (id) => names.get(id) ?? id);

const outcomeTones: Record<PlacementPreview["outcome"], Tone> = {
  placed: "good",
  queued: "warn",
  refused: "bad",
  impossible: "bad",
};

function answerOf(preview: PlacementPreview, names: WolfNames): string {
  const { outcome, wolf_instance_id: id, queue_position: position, refusal } = preview;
  switch (outcome) {
    case "placed":
      return `It would run on ${wolfNamed(id, names)}.`;
    case "queued":
      return `It would wait in the queue${position === null ? "" : `, as number ${position}`}.`;
    case "refused":
      return refusal === null ? "It would be refused." : `It would be refused${refusalText(refusal)}.`;
    case "impossible":
      return "No wolf that is known could ever take it.";
    default:
      return `It would be ${String(outcome)}.`;
  }
}

type Refusal = NonNullable<PlacementPreview["refusal"]>;
const refusalWords: Record<Refusal["code"], string> = {
  "quota-exceeded": "you may have no more sessions at once",
  "rate-limited": "you may create no more within a minute",
  "queue-full": "there is no room, and no more may wait in the queue",
  "no-capacity": "there is no room, and it is not to wait",
};

function refusalText({ code, current, limit, text }: Refusal): string {
  const figures = current === null || limit === null ? "" : `${current} of ${limit}; `;
  return `: ${refusalWords[code] ?? text} (${figures}${code})`;
}

export function previewOne(names: WolfNames): OneView<PlacementPreview> {
  return {
    name: ({ wolf_instance_id: id }) => wolfNamed(id, names),
    text: (preview, options) =>
      `${options.paint(outcomeTones[preview.outcome], printable(answerOf(preview, names)))}\n\n${factsText(
        explanationSections(preview.explanation, names, preview.wolf_instance_id).map((draw) =>
          draw(options),
        ),
        options,
      )}`,
  };
}

export function explanationOne(names: WolfNames, taken: string | null): OneView<PlacementExplanation> {
  return {
    name: () => wolfNamed(taken, names),
    text: (explanation, options) =>
      factsText(
        explanationSections(explanation, names, taken).map((draw) => draw(options)),
        options,
      ),
  };
}

/** Every wolf that an explanation names. */
export const wolvesNamed = ({ text, ranked, counterfactuals }: PlacementExplanation): string[] => [
  ...ranked.map(({ wolf_instance_id: id }) => id),
  ...counterfactuals.flatMap(({ wolf_instance_id: id }) => (id === null ? [] : [id])),
  ...[text, ...counterfactuals.map((one) => one.text)].flatMap(
    (words) => words.match(/wlf_[0-9A-HJKMNP-TV-Z]{26}/g) ?? [],
  ),
];
