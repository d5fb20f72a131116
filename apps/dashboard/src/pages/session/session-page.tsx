/** One session: its screen and clipboard, why it is where it is, what became of it, how long it lives, how it ends. */

import { Link, useParams } from "@tanstack/react-router";
import type { Session } from "@wolfpack/api-contract";
import { useState } from "react";
import { useMayWith } from "../../api/people.ts";
import { useMay, useRead } from "../../api/queries.ts";
import {
  failureMeaning,
  isLive,
  nameOf,
  ownerOf,
  stateOfSession,
  wishOf,
} from "../../fleet/session-words.ts";
import { Badge } from "../../ui/badge.tsx";
import { CopyButton } from "../../ui/controls.tsx";
import { Icon } from "../../ui/icon.tsx";
import { Loaded, Skeleton } from "../../ui/states.tsx";
import { many, plain, sentence } from "../../ui/text.ts";
import { Time } from "../../ui/time.tsx";
import { ClipboardCard } from "./clipboard.tsx";
import { Ending } from "./ending.tsx";
import { Explanation, WolfLink } from "./explanation.tsx";
import { LifeCard } from "./life.tsx";
import { ScreenCard } from "./screen.tsx";
import { TimelineCard } from "./steps.tsx";
import "./session.css";

/** Its place in the queue, and whether it can be reached, change without an event of its own. */
const AGAIN_MS = 10_000;

export default function SessionPage() {
  const { id = "" } = useParams({ strict: false });
  const session = useRead("getSession", { params: { id } }, { refetchInterval: AGAIN_MS });
  return (
    <div className="page">
      <Link to="/sessions" className="session-back row small">
        <Icon name="back" size={14} />
        Sessions
      </Link>
      {session.data === undefined && <h1 className="unseen">Session</h1>}
      <Loaded query={session} skeleton={<SessionSkeleton />}>
        {(shown) => <Shown key={shown.id} session={shown} />}
      </Loaded>
    </div>
  );
}

function Shown({ session }: { session: Session }) {
  const mayStop = useMayWith("session.stop", session.owner_id);
  const mayLook = useMayWith("session.look", session.owner_id);
  const mayTouch = useMayWith("session.touch", session.owner_id);
  const { word, tone, reason } = stateOfSession(session);
  const live = isLive(session);
  // It may end while somebody looks: then its card stays, and nothing jumps.
  const [wasLive] = useState(live);
  return (
    <>
      <div className="page-head">
        <h1 className="wrap">{nameOf(session)}</h1>
        <span role="status">
          <Badge tone={tone}>{word}</Badge>
        </span>
        {reason && session.status !== "failed" && <span className="muted wrap">{reason}</span>}
        {mayStop && live && (
          <div className="page-actions">
            <Ending session={session} />
          </div>
        )}
      </div>
      {session.failure && <FailureNotice session={session} failure={session.failure} />}
      <div className="session-grid">
        <div className="stack">
          {wasLive && <ScreenCard session={session} mayLook={mayLook} />}
          <section className="card" aria-labelledby="why-title">
            <div className="card-head">
              <h2 id="why-title">{whyTitle(session)}</h2>
            </div>
            <Explanation
              explanation={session.placement}
              taken={session.wolf_instance_id}
              takenWord={live ? "Here" : "Was here"}
              weights={session.spec.weights}
            />
          </section>
        </div>
        <div className="stack">
          <AboutCard session={session} />
          {live && <LifeCard session={session} mayTouch={mayTouch} />}
          {live && (mayLook || mayTouch) && (
            <ClipboardCard session={session} mayLook={mayLook} mayTouch={mayTouch} />
          )}
          <TimelineCard session={session} />
        </div>
      </div>
    </>
  );
}

function whyTitle({ status, wolf_instance_id }: Session): string {
  if (status === "queued") return "Why it waits";
  if (wolf_instance_id === null) return "Why it went nowhere";
  return status === "stopped" || status === "failed" ? "Why it was there" : "Why it is here";
}

type FailureOf = NonNullable<Session["failure"]>;

function FailureNotice({ session, failure }: { session: Session; failure: FailureOf }) {
  const mayCreate = useMay("session.create");
  const { attempts } = session;
  const meaning = failureMeaning(failure.code);
  return (
    <div className="failure" role="alert">
      <Icon name="warning" size={20} />
      <div className="failure-text">
        <p className="failure-title">{sentence(failure.code)}</p>
        <p className="wrap">{plain(failure.reason, 1000)}</p>
        {meaning && <p className="muted small">{meaning}</p>}
        {attempts > 1 && <p className="muted small">After {many(attempts, "attempt")}.</p>}
      </div>
      {mayCreate && (
        <Link to="/sessions/new" search={{ from: session.id } as never} className="button">
          Make another
        </Link>
      )}
    </div>
  );
}

function AboutCard({ session }: { session: Session }) {
  const { id, owner_id, wolf_instance_id: wolf, spec, created_at, started_at, ended_at } = session;
  const wish = wishOf(session);
  return (
    <section className="card" aria-labelledby="about-title">
      <div className="card-head">
        <h2 id="about-title">About</h2>
      </div>
      <dl className="facts">
        <dt>Id</dt>
        <dd className="session-id">
          <code>{plain(id)}</code>
          <CopyButton text={id} label="Copy the id" />
        </dd>
        <dt>Owner</dt>
        <dd title={plain(owner_id)}>{ownerOf(session)}</dd>
        <dt>Wolf</dt>
        <dd>
          {wolf ? <WolfLink id={wolf} /> : <span className="muted">{ended_at ? "none" : "none yet"}</span>}
        </dd>
        <dt>Image</dt>
        <dd>
          <code>{plain(spec.image)}</code>
        </dd>
        <dt>Asked for</dt>
        <dd>{wish.length === 0 ? "any wolf" : wish.join(", ")}</dd>
        <dt>Priority</dt>
        <dd className="figures">{spec.priority}</dd>
        <dt>PIN</dt>
        <dd>{session.pin_required ? "asked of whoever joins" : "none"}</dd>
        <dt>Made</dt>
        <dd>
          <Time at={created_at} />
        </dd>
        <dt>{ended_at ? "Ended" : "Runs since"}</dt>
        <dd>
          <Time at={ended_at ?? started_at} never="not yet" />
        </dd>
      </dl>
    </section>
  );
}

function SessionSkeleton() {
  return (
    <>
      <Skeleton lines={1} height="2.25rem" />
      <div className="session-grid">
        <div className="card">
          <Skeleton lines={1} height="min(50vw, 24rem)" />
        </div>
        <div className="card">
          <Skeleton lines={8} />
        </div>
      </div>
    </>
  );
}
