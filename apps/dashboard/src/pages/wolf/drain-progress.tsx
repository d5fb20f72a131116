/** How far a drain, or what has followed it, has come, live. */
import type { WolfInstance } from "@wolfpack/api-contract";
import { LoadBar } from "../../ui/load-bar.tsx";
import { many, plain } from "../../ui/text.ts";
import { Time } from "../../ui/time.tsx";

type Drain = NonNullable<WolfInstance["drain"]>;

export function DrainProgress({ wolf, drain }: { wolf: WolfInstance; drain: Drain }) {
  const { sessions_at_start: before, sessions_left: left } = drain;
  const gone = Math.max(0, before - left);
  return (
    <section className="card wolf-drain" aria-label="Drain">
      <div className="row-wrap">
        <strong>Draining</strong>
        <span className="muted">
          {left === 0 ? "Nothing is left on it" : `${many(left, "session")} left`}; began{" "}
          <Time at={drain.started_at} />, what is left is moved or stopped <Time at={drain.deadline} />
        </span>
        <span className="push muted">then {drain.then}</span>
      </div>
      <LoadBar
        label={`Drain of ${plain(wolf.name)}`}
        used={before === 0 ? 1 : gone}
        max={Math.max(1, before)}
        text={before === 0 ? "empty" : `${gone} of ${before} gone`}
        warnAt={2}
        fullAt={2}
      />
    </section>
  );
}

/** There is no deadline any more: a wolf is retired when nothing is left. */
export function Retired({ wolf }: { wolf: WolfInstance }) {
  const { connected_sandboxes: left } = wolf;
  return (
    <section className="card wolf-drain" aria-label="Retirement">
      <div className="row-wrap">
        <strong>Retired</strong>
        <span className="muted">
          {left === 0 ? "Nothing is left on it" : `${many(left, "session")} left`}; it gets no sessions, and
          keeps its history until it is removed or taken back
        </span>
      </div>
    </section>
  );
}
