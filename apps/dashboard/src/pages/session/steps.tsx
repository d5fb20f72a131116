/** The state timeline of a session. */
import type { Session } from "@wolfpack/api-contract";
import { useMemo } from "react";
import { useMay, useRead } from "../../api/queries.ts";
import { Mark } from "../../ui/badge.tsx";
import { Loaded, Skeleton } from "../../ui/states.tsx";
import { duration, millis, plain } from "../../ui/text.ts";
import { Lasting, Time } from "../../ui/time.tsx";
import { WolfLink } from "./explanation.tsx";
import { type Step, timelineOf } from "./timeline.ts";

const EVENTS_MAX = 200;

export function TimelineCard({ session }: { session: Session }) {
  const mayRead = useMay("event.read");
  const events = useRead(
    "listEvents",
    { query: { session_id: session.id, newest_first: "true", limit: EVENTS_MAX } },
    { enabled: mayRead },
  );
  return (
    <section className="card" aria-labelledby="timeline-title">
      <div className="card-head">
        <h2 id="timeline-title">Timeline</h2>
        {events.data && events.data.length >= EVENTS_MAX && (
          <span className="muted small">the newest {EVENTS_MAX} events</span>
        )}
      </div>
      {mayRead ? (
        <Loaded query={events} skeleton={<Skeleton lines={4} height="2.25rem" />}>
          {(found) => <Steps session={session} events={found} />}
        </Loaded>
      ) : (
        <Steps session={session} events={none} />
      )}
    </section>
  );
}

type Events = Parameters<typeof timelineOf>[1];
const none: Events = [];

function Steps({ session, events }: { session: Session; events: Events }) {
  const steps = useMemo(() => timelineOf(session, events), [session, events]);
  const last = steps.findLast(({ isState }) => isState);
  return (
    <ol className="session-steps">
      {steps.map((step) => (
        <li key={step.id} className={step.isState ? "session-step" : "session-step session-step-minor"}>
          <span className="session-step-mark">
            <Mark tone={step.tone} />
          </span>
          <div className="session-step-text">
            <p className="session-step-head">
              <span>
                <strong>{step.title}</strong>
                {step.wolf && (
                  <span className="muted">
                    {" on "}
                    <WolfLink id={step.wolf} />
                  </span>
                )}
              </span>
              <span className="muted small session-step-at">
                <Time at={step.at} />
              </span>
            </p>
            {step.details.map((line) => (
              <p key={line} className="muted small wrap">
                {plain(line)}
              </p>
            ))}
            <LastedLine step={step} isNow={step === last && session.ended_at === null} />
          </div>
        </li>
      ))}
    </ol>
  );
}

function LastedLine({ step, isNow }: { step: Step; isNow: boolean }) {
  if (isNow)
    return (
      <p className="muted small">
        for <Lasting since={step.at} /> so far
      </p>
    );
  if (step.lastedMs === null) return null;
  return (
    <p className="muted small figures">
      for {step.lastedMs < 60_000 ? millis(step.lastedMs) : duration(step.lastedMs)}
    </p>
  );
}
