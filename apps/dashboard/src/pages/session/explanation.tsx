/** Why a session is where it is, or would go there, or goes nowhere: what took wolves away, how the others scored, what would help. */

import { Link } from "@tanstack/react-router";
import type { PlacementExplanation } from "@wolfpack/api-contract";
import { useRead } from "../../api/queries.ts";
import {
  changesOf,
  filterRows,
  policyOf,
  scoreTable,
  scoreText,
  weightText,
} from "../../fleet/placement-words.ts";
import { Badge } from "../../ui/badge.tsx";
import { Icon } from "../../ui/icon.tsx";
import { count, many, plain, shortId } from "../../ui/text.ts";
import "./explanation.css";

interface ExplanationProps {
  explanation: PlacementExplanation;
  /** The wolf that it went to, or would. */
  taken: string | null;
  /** How that wolf is marked: `Here`. */
  takenWord: string;
  weights?: Readonly<Record<string, number>> | null;
}

export function Explanation({ explanation, taken, takenWord, weights }: ExplanationProps) {
  const { ranked, candidates, counterfactuals } = explanation;
  return (
    <div className="stack">
      <p className="explain-text wrap">{plain(explanation.text, 1000)}</p>
      {candidates > 0 && <Filters explanation={explanation} />}
      {ranked.length > 0 && (
        <Scores explanation={explanation} taken={taken} takenWord={takenWord} weights={weights ?? null} />
      )}
      {counterfactuals.length > 0 && <Changes explanation={explanation} />}
    </div>
  );
}

function Filters({ explanation }: { explanation: PlacementExplanation }) {
  const { candidates } = explanation;
  const rows = filterRows(explanation);
  const fitting = rows.at(-1)?.left ?? candidates;
  return (
    <table className="explain-table">
      <caption>Which wolves could take it</caption>
      <thead>
        <tr>
          <th scope="col">Filter</th>
          <th scope="col" className="explain-figure">
            Left out
          </th>
          <th scope="col" className="explain-figure">
            Remain
          </th>
          <th scope="col" className="explain-share">
            <span className="unseen">Share that remains</span>
          </th>
        </tr>
      </thead>
      <tbody>
        <tr>
          <th scope="row">All wolves</th>
          <td className="explain-figure muted">–</td>
          <td className="explain-figure">{count(candidates)}</td>
          <Share left={candidates} of={candidates} />
        </tr>
        {rows.map(({ id, what, note, removed, left }) => (
          <tr key={id}>
            <th scope="row">
              {what}
              {note && <span className="explain-note">{note}</span>}
            </th>
            <td className="explain-figure">−{count(removed)}</td>
            <td className="explain-figure">{count(left)}</td>
            <Share left={left} of={candidates} />
          </tr>
        ))}
      </tbody>
      <tfoot>
        <tr>
          <th scope="row">{fitting === 0 ? "None fits" : "Fit"}</th>
          <td />
          <td className="explain-figure">{count(fitting)}</td>
          <td />
        </tr>
      </tfoot>
    </table>
  );
}

function Share({ left, of }: { left: number; of: number }) {
  return (
    <td className="explain-share" aria-hidden="true">
      <span className="explain-track">
        <span style={{ width: `${of > 0 ? Math.min(100, (100 * left) / of) : 0}%` }} />
      </span>
    </td>
  );
}

interface ScoresProps {
  explanation: PlacementExplanation;
  taken: string | null;
  takenWord: string;
  weights: Readonly<Record<string, number>> | null;
}

function Scores({ explanation, taken, takenWord, weights }: ScoresProps) {
  const { columns, hasTiers, rows } = scoreTable(explanation, taken, weights);
  return (
    <section
      className="explain-scroll"
      aria-label="Scores"
      // biome-ignore lint/a11y/noNoninteractiveTabindex: whoever has no mouse scrolls it by the keyboard
      tabIndex={0}
    >
      <table className="explain-table">
        <caption>
          <span className="explain-caption">
            The best of them, by {policyOf(explanation.policy)}
            <span className="explain-note">
              Each part is from 0, the worst, to 1, the best.
              {hasTiers && " A wolf of a better tier goes first, whatever its score."}
            </span>
          </span>
        </caption>
        <thead>
          <tr>
            <th scope="col">Wolf</th>
            {hasTiers && <th scope="col">Tier</th>}
            <th scope="col" className="explain-figure">
              Load
            </th>
            {columns.map(({ id, header, weight }) => (
              <th key={id} scope="col" className="explain-figure">
                {header}
                {weight !== undefined && <span className="explain-weight"> × {weightText(weight)}</span>}
              </th>
            ))}
            <th scope="col" className="explain-figure">
              Score
            </th>
          </tr>
        </thead>
        <tbody>
          {rows.map(({ wolf, tier, load, score, parts, isTaken }) => (
            <tr key={wolf} className={isTaken ? "explain-taken" : undefined}>
              <th scope="row">
                <span className="row">
                  <WolfLink id={wolf} />
                  {isTaken && <Badge tone="ok">{takenWord}</Badge>}
                </span>
              </th>
              {hasTiers && <td>{tier}</td>}
              <td className="explain-figure">{Math.round(load * 100)} %</td>
              {parts.map((part, index) => (
                <td key={columns[index]?.id} className="explain-figure">
                  {scoreText(part)}
                </td>
              ))}
              <td className="explain-figure">
                <strong>{scoreText(score)}</strong>
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </section>
  );
}

function Changes({ explanation }: { explanation: PlacementExplanation }) {
  const changes = changesOf(explanation.counterfactuals);
  return (
    <section aria-label="What would help">
      <h3>{many(changes.length, "change")} that would help</h3>
      <ul className="explain-changes">
        {changes.map(({ what, before, wolf, after }) => (
          <li key={`${what} ${before} ${wolf}`}>
            <Icon name="right" size={14} />
            <span className="wrap">
              <strong>{what}.</strong> {before} {wolf && <WolfLink id={wolf} />}
              {after}
            </span>
          </li>
        ))}
      </ul>
    </section>
  );
}

/** By its name, as soon as that is known; a wolf that is no more has only its id. */
export function WolfLink({ id }: { id: string }) {
  const { data } = useRead("getWolf", { params: { id } }, { staleTime: 60_000, retry: false });
  return (
    <Link to="/wolves/$id" params={{ id }} className="wrap explain-link">
      {plain(data?.name) || shortId(id)}
    </Link>
  );
}
