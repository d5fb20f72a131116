/** Events: what happens to sessions, wolves, the fleet and who may use it, as it happens. */
import { eventKinds } from "virtual:contract";
import { useMemo, useState } from "react";
import { MaySee } from "../../app/may-see.tsx";
import { useSearchField } from "../../app/search.ts";
import { useLiveState } from "../../app/shell.tsx";
import { isWolfId } from "../../fleet/ids.ts";
import { useUserName, useWolfName } from "../../fleet/names.tsx";
import { useResolved } from "../../fleet/resolve.ts";
import { Unresolved } from "../../fleet/resolved.tsx";
import { Badge } from "../../ui/badge.tsx";
import { Choice } from "../../ui/controls.tsx";
import { FilterField } from "../../ui/filter-field.tsx";
import { Icon } from "../../ui/icon.tsx";
import { Empty } from "../../ui/states.tsx";
import { plain } from "../../ui/text.ts";
import { type EventFilter, filterErrors, kindOptions } from "./event-filter.ts";
import { EventList } from "./event-list.tsx";
import "./events.css";

export default function Page() {
  return (
    <MaySee title="Events" actions={["event.read"]}>
      <EventsPage />
    </MaySee>
  );
}

function EventsPage() {
  const [kind, setKind] = useSearchField("kind");
  const [wolf, setWolf] = useSearchField("wolf");
  const [session, setSession] = useSearchField("session");
  const [actor, setActor] = useSearchField("actor");
  const [, setEvent] = useSearchField("event");
  const [paused, setPaused] = useState(false);
  const filter = useMemo(() => ({ kind, wolf, session, actor }), [kind, wolf, session, actor]);
  const errors = filterErrors(filter);
  const isFiltered = Boolean(kind || wolf || session || actor);
  const setters = { kind: setKind, wolf: setWolf, session: setSession, actor: setActor };
  const apply = (wanted: Partial<EventFilter>) => {
    setEvent("");
    for (const [name, value] of Object.entries(wanted)) setters[name as keyof EventFilter](value ?? "");
  };
  const reset = () => apply({ kind: "", wolf: "", session: "", actor: "" });

  return (
    <div className="page">
      <div className="page-head">
        <h1>Events</h1>
        <Pace paused={paused} />
        <div className="page-actions">
          <button type="button" className="button" onClick={() => setPaused(!paused)}>
            <Icon name={paused ? "right" : "pause"} />
            {paused ? "Go on" : "Pause"}
          </button>
        </div>
      </div>
      <div className="card card-flush">
        <div className="card-head events-tools">
          <Choice
            label="Kind of event"
            value={kind}
            onChange={setKind}
            options={kindOptions(Object.keys(eventKinds), kind)}
          />
          <FilterField
            label="Wolf, by name or id"
            placeholder="Wolf"
            value={wolf}
            onChange={setWolf}
            error={errors.wolf}
          />
          <FilterField
            label="Session, by id"
            placeholder="Session ses_…"
            value={session}
            onChange={setSession}
            error={errors.session}
          />
          <FilterField
            label="Actor: a user or wolf, by name or id"
            placeholder="Actor"
            value={actor}
            onChange={setActor}
          />
          {isFiltered && (
            <button type="button" className="button button-plain push" onClick={reset}>
              Show all
            </button>
          )}
        </div>
        <FilterWords wolf={wolf} actor={actor} />
        {Object.keys(errors).length > 0 ? (
          <div className="log-instead">
            <Empty title="This filter cannot be">{Object.values(errors).join(". ")}.</Empty>
          </div>
        ) : (
          <Found
            filter={filter}
            isFiltered={isFiltered}
            paused={paused}
            onResume={() => setPaused(false)}
            onFilter={apply}
            onReset={reset}
          />
        )}
      </div>
    </div>
  );
}

function Pace({ paused }: { paused: boolean }) {
  const live = useLiveState();
  if (paused) return <Badge tone="warning">Paused</Badge>;
  if (live === "live") return <Badge tone="ok">Live</Badge>;
  return live === "polling" ? (
    <Badge tone="warning">Every 5 s</Badge>
  ) : (
    <Badge tone={live === "offline" ? "danger" : "info"}>
      {live === "offline" ? "Offline" : "Connecting"}
    </Badge>
  );
}

/** Ids of a filter in words. */
function FilterWords({ wolf, actor }: { wolf: string; actor: string }) {
  const wolfName = useWolfName(wolf);
  const userName = useUserName(actor);
  const actorWolf = useWolfName(actor);
  const words = [
    isWolfId(wolf) && wolfName && `of the wolf ${plain(wolfName)}`,
    actor && userName && `by ${plain(userName)}`,
    actor && actorWolf && `by the agent of ${plain(actorWolf)}`,
  ].filter(Boolean);
  if (words.length === 0) return null;
  return <p className="log-words small muted">Events {words.join(", ")}</p>;
}

type FoundProps = Parameters<typeof EventList>[0];

/** Another filter is another list. */
function Found(props: FoundProps) {
  const { filter } = props;
  const resolution = useResolved(filter.wolf, filter.actor);
  const [wolf, actor] = resolution.state === "ready" ? [resolution.wolf, resolution.actor] : ["", ""];
  const resolved = useMemo(() => ({ ...filter, wolf, actor }), [filter, wolf, actor]);
  if (resolution.state !== "ready") return <Unresolved resolution={resolution} />;
  return <EventList {...props} key={JSON.stringify(resolved)} filter={resolved} />;
}
