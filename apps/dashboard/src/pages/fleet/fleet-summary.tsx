/** Counts and capacity in four cards, and the notice that evictions are frozen. */
import { Link } from "@tanstack/react-router";
import { type ReactNode, useState } from "react";
import { useCommand, useMay, useRead } from "../../api/queries.ts";
import type { Summary } from "../../fleet/summary.ts";
import { Mark, type Tone } from "../../ui/badge.tsx";
import { Confirm } from "../../ui/dialog.tsx";
import { Icon } from "../../ui/icon.tsx";
import { count, many, percent } from "../../ui/text.ts";
import { Time } from "../../ui/time.tsx";
import { useToasts } from "../../ui/toast.tsx";

interface Part {
  label: string;
  value: number;
  tone: Tone;
  /** The number above says it: drawn, and not said again below. */
  said?: true;
}

export function FleetSummary({ summary, loading }: { summary: Summary; loading: boolean }) {
  const { data: fleet } = useRead("getFleet");
  const { slots } = summary;
  const taken = slots.used + slots.other;
  const sessions = fleet?.sessions ?? {};
  const running = sessions.running ?? 0;
  const coming = (sessions.placed ?? 0) + (sessions.starting ?? 0);
  const lost = sessions.lost ?? 0;
  const queued = fleet?.queue_length ?? 0;
  const dash = loading ? "–" : undefined;
  return (
    <div className="fleet-summary">
      <Figure
        title="Wolves online"
        value={dash ?? count(summary.online)}
        of={dash ?? `of ${count(summary.wolves)}`}
        parts={[
          { label: "online", value: summary.online, tone: "ok", said: true },
          { label: "degraded", value: summary.degraded, tone: "warning" },
          { label: "offline", value: summary.offline, tone: "danger" },
        ]}
        foot={summary.wolves > 0 && summary.online === summary.wolves && "All of them"}
      />
      <Figure
        title="Free slots"
        value={dash ?? count(Math.max(0, slots.max - taken))}
        of={dash ?? `of ${count(slots.max)}`}
        parts={[
          { label: "taken", value: slots.used, tone: "info" },
          ...(slots.other > 0 ? [{ label: "by others", value: slots.other, tone: "neutral" as const }] : []),
        ]}
        whole={slots.max}
        foot={
          summary.heldBack > 0
            ? `${many(summary.heldBack, "wolf", "wolves")} held back`
            : `${percent(taken, slots.max)} in use`
        }
      />
      <Figure
        title="Sessions running"
        value={fleet ? count(running) : "–"}
        of={<Link to="/sessions">Show</Link>}
        parts={[
          { label: "running", value: running, tone: "ok" },
          { label: "starting", value: coming, tone: "info" },
          { label: "lost", value: lost, tone: "danger" },
        ]}
      />
      <Figure
        title="In the queue"
        value={fleet ? count(queued) : "–"}
        of={<Link to="/queue">Show</Link>}
        parts={[]}
        foot={queued === 0 ? "Nobody waits" : "Waiting for a wolf"}
      />
    </div>
  );
}

interface FigureProps {
  title: string;
  value: string;
  of: ReactNode;
  parts: readonly Part[];
  /** What the bar stands for; default: the sum of its parts. */
  whole?: number;
  foot?: ReactNode;
}

function Figure({ title, value, of, parts, whole, foot }: FigureProps) {
  const sum = whole ?? parts.reduce((total, part) => total + part.value, 0);
  const shown = parts.filter((part) => part.value > 0);
  const named = shown.filter(({ said }) => !said);
  return (
    <section className="card fleet-figure">
      <h2>{title}</h2>
      <p className="fleet-number">
        <span className="figures">{value}</span> <span className="muted fleet-of">{of}</span>
      </p>
      <div className="fleet-bar" aria-hidden="true">
        {shown.map(({ label, value: size, tone }) => (
          <span
            key={label}
            className={`fleet-part fleet-${tone}`}
            style={{ width: `${(100 * size) / Math.max(1, sum)}%` }}
          />
        ))}
      </div>
      <p className="fleet-foot small muted figures">
        {named.map(({ label, value: size, tone }) => (
          <span key={label} className="row">
            <Mark tone={tone} />
            {count(size)} {label}
          </span>
        ))}
        {foot && <span>{foot}</span>}
        {shown.length === 0 && !foot && <span>None</span>}
      </p>
    </section>
  );
}

/** Most wolves left at once: none is given up until somebody says that it is real. */
export function FrozenNotice() {
  const { data: fleet } = useRead("getFleet");
  const may = useMay("wolf.steer");
  const unfreeze = useCommand("unfreezeFleet");
  const toasts = useToasts();
  const [asking, setAsking] = useState(false);
  if (!fleet?.evictions_frozen) return null;
  return (
    <div className="fleet-frozen" role="alert">
      <Icon name="warning" size={20} />
      <div>
        <strong>Evictions are frozen.</strong> Most wolves left within a minute,{" "}
        <Time at={fleet.frozen_since} />: the fault may be here. No session of a lost wolf is given up.
      </div>
      {may && (
        <button type="button" className="button push" onClick={() => setAsking(true)}>
          The loss is real …
        </button>
      )}
      <Confirm
        open={asking}
        onOpenChange={setAsking}
        title="Lift the freeze?"
        description="For ten minutes sessions of lost wolves follow their disconnect policies: they are moved, stopped, or wait."
        confirm="Lift the freeze"
        danger
        onConfirm={async () => {
          await unfreeze.mutateAsync(undefined as never);
          toasts.done("The freeze is lifted for ten minutes");
        }}
      />
    </div>
  );
}
