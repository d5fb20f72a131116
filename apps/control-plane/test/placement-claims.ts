/** What the sentence of a placement claims, read back as a person would, and whether it is true of the wolves that fit. */
import type { Candidate } from "../src/placement/candidate.ts";
import type { Wish } from "../src/placement/wish.ts";
import type { Expected } from "./placement-model.ts";

/** The best by what the sentence praises; lower is better. */
type Better = (wolf: Candidate) => number;

const load = ({ slots }: Candidate) => slots.claimed / slots.max;
const isHealthy = ({ health }: Candidate) => health === "ok";

const SENTENCE = new RegExp(
  [
    "^(?<name>name-w\\d+) (?:\\((?<claimed>\\d+) of (?<max>\\d+)\\) )?",
    "(?:is the only one of (?<only>\\d+) wolves that fits",
    "|is the only (?<healthyOne>healthy )?one(?: in region (?<regionOne>\\w+))? among ",
    "|(?<praise>has the .+?|was drawn from the \\d+ with the lowest load) of ",
    "(?:the (?<peers>\\d+) (?<healthy>healthy )?ones(?: in region (?<region>\\w+))? among )?)",
    "(?:(?:the (?<fitting>\\d+) of )?(?<all>\\d+) wol(?:f|ves)(?: that fit)?)?",
    "(?: for GPU \\w+)?(?<noHealthier> and no healthier one fits)?",
    "(?: and (?<nobody>none|no healthy one) in region (?<without>\\w+) fits)?",
    "(?:; passed over: (?<passed>[^;]+?))?(?:; left out: .+)?\\.$",
  ].join(""),
);

const passedOver: Record<string, (wolf: Candidate, wish: Wish) => boolean> = {
  "in another region": (wolf, { region }) => isHealthy(wolf) && wolf.region !== region,
  degraded: (wolf, { region, policy }) =>
    !isHealthy(wolf) && (policy === "weighted" || region === null || wolf.region === region),
  "degraded and in another region": (wolf, { region }) => !isHealthy(wolf) && wolf.region !== region,
};

/** All that it claims and that is not so; empty: it is true. `fitting`: all wolves that fit. */
export function untrue(text: string, wish: Wish, wolves: readonly Candidate[], expected: Expected): string[] {
  const said = SENTENCE.exec(text)?.groups;
  if (said === undefined) return ["it is not a sentence that anybody knows"];
  const fitting = expected.ranked.map(({ id }) => wolves.find((wolf) => wolf.id === id) as Candidate);
  const taken = fitting.find(({ name }) => name === said.name);
  if (taken === undefined) return ["the wolf does not fit"];
  const isOnly = said.only !== undefined;
  const isOnlyPeer = !isOnly && said.praise === undefined;
  const region = said.region ?? said.regionOne;
  const isHealthyAsked = (said.healthy ?? said.healthyOne) !== undefined;
  const peers = fitting.filter(
    (wolf) => (!isHealthyAsked || isHealthy(wolf)) && (region === undefined || wolf.region === region),
  );
  const better = betterOf(said.praise, expected);
  const drawnOf = Number(/^was drawn from the (\d+)/.exec(said.praise ?? "")?.[1] ?? 1);
  const passed = (said.passed ?? "").split(", ").filter(Boolean).map(entryOf);
  const claims: [string, boolean][] = [
    ["how many there are", Number(said.only ?? said.all) === wolves.length],
    ["how many fit", isOnly || Number(said.fitting ?? said.all) === fitting.length],
    ["it is the only one", !isOnly || fitting.length === 1],
    ["it is the only one of its kind", !isOnlyPeer || peers.length === 1],
    ["how many of its kind fit", peers.length === (isOnlyPeer ? 1 : Number(said.peers ?? fitting.length))],
    ["it is of its kind", peers.includes(taken)],
    ["its slots", said.max === undefined || isSlots(taken, said.claimed, said.max)],
    ["it is among the best", peers.filter((other) => better(other) < better(taken)).length < drawnOf],
    ["so many were there to draw from", drawnOf <= peers.length],
    ["no healthier one fits", (said.noHealthier !== undefined) === !fitting.some(isHealthy)],
    ["who fits in the region", isRegretTrue(said, fitting)],
    ["another region is regretted", isRegretSaid(said, wish, taken)],
    ...passed.map(({ count, words }): [string, boolean] => [
      `passed over: ${words}`,
      count === fitting.filter((wolf) => passedOver[words]?.(wolf, wish) === true).length,
    ]),
    [
      "all that were passed over are named",
      passed.reduce((sum, { count }) => sum + count, 0) === fitting.length - peers.length,
    ],
  ];
  return claims.filter(([, holds]) => !holds).map(([claim]) => claim);
}

function betterOf(praise: string | undefined, expected: Expected): Better {
  const scores = new Map(expected.ranked.map(({ id, score }) => [id, score]));
  if (praise === undefined) return () => 0;
  if (praise.startsWith("has the highest score")) return ({ id }) => -(scores.get(id) ?? 0);
  if (praise.startsWith("has the lowest cost"))
    return ({ costPerHour }) => costPerHour ?? Number.POSITIVE_INFINITY;
  return praise.startsWith("has the highest load") ? (wolf) => -load(wolf) : load;
}

function entryOf(text: string): { count: number; words: string } {
  const [count = "", ...words] = text.split(" ");
  return { count: Number(count), words: words.join(" ") };
}

const isSlots = ({ slots }: Candidate, claimed: string | undefined, max: string | undefined) =>
  slots.claimed === Number(claimed) && slots.max === Number(max);

type Said = Record<string, string | undefined>;

function isRegretTrue({ nobody, without }: Said, fitting: readonly Candidate[]): boolean {
  if (nobody === undefined) return true;
  const there = fitting.filter(({ region }) => region === without);
  return nobody === "none" ? there.length === 0 : there.length > 0 && !there.some(isHealthy);
}

const isRegretSaid = ({ without }: Said, { region, policy }: Wish, taken: Candidate) =>
  without === (region === null || policy === "weighted" || taken.region === region ? undefined : region);
