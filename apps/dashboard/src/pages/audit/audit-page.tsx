/** Audit: every call that changed something, and every one that was denied. */
import { auditActions, calls } from "virtual:contract";
import { useMemo } from "react";
import { MaySee } from "../../app/may-see.tsx";
import { useSearchField } from "../../app/search.ts";
import { actionWords } from "../../fleet/audit-words.ts";
import { useUserName, useWolfName } from "../../fleet/names.tsx";
import { useResolved } from "../../fleet/resolve.ts";
import { Unresolved } from "../../fleet/resolved.tsx";
import { Choice } from "../../ui/controls.tsx";
import { FilterField } from "../../ui/filter-field.tsx";
import { Icon } from "../../ui/icon.tsx";
import { Empty } from "../../ui/states.tsx";
import { plain } from "../../ui/text.ts";
import { type AuditFilter, auditErrors, exportPath, instantOf, localOf } from "./audit-filter.ts";
import { AuditList } from "./audit-list.tsx";
import "./audit.css";

export default function Page() {
  return (
    <MaySee title="Audit" actions={["audit.read"]}>
      <AuditPage />
    </MaySee>
  );
}

const results = [
  ["", "Any result"],
  ["allowed", "Allowed"],
  ["failed", "Failed"],
  ["denied", "Denied"],
] as const;
const actionOptions: readonly (readonly [string, string])[] = [
  ["", "Any action"],
  ...[...auditActions].sort().map((action) => [action, `${actionWords(action)} (${action})`] as const),
];
/** What a link asks for stays chosen, also where this build does not know it. */
const withChosen = (options: readonly (readonly [string, string])[], chosen: string) =>
  options.some(([value]) => value === chosen) ? options : [...options, [chosen, plain(chosen, 60)] as const];

function AuditPage() {
  const [actor, setActor] = useSearchField("actor");
  const [action, setAction] = useSearchField("action");
  const [object, setObject] = useSearchField("object");
  const [result, setResult] = useSearchField("result");
  const [since, setSince] = useSearchField("since");
  const [until, setUntil] = useSearchField("until");
  const [, setEntry] = useSearchField("entry");
  const filter = useMemo(
    () => ({ actor, action, object, result, since, until }),
    [actor, action, object, result, since, until],
  );
  const setters = {
    actor: setActor,
    action: setAction,
    object: setObject,
    result: setResult,
    since: setSince,
    until: setUntil,
  };
  const errors = auditErrors(filter);
  // A name that is not resolved yet fits nothing, which is better than everything.
  const resolution = useResolved("", actor);
  const exported = resolution.state === "ready" ? resolution.actor : actor;
  const wrong = Object.values(errors);
  const isFiltered = Object.values(filter).some(Boolean);
  const apply = (wanted: Partial<AuditFilter>) => {
    setEntry("");
    for (const [name, value] of Object.entries(wanted)) setters[name as keyof AuditFilter](value ?? "");
  };
  const reset = () => apply({ actor: "", action: "", object: "", result: "", since: "", until: "" });

  return (
    <div className="page">
      <div className="page-head">
        <h1>Audit</h1>
        <span className="muted audit-sub">Every change, and every call that was denied</span>
        <div className="page-actions">
          {wrong.length > 0 ? (
            <button type="button" className="button" disabled>
              <Icon name="down" />
              Export
            </button>
          ) : (
            <a
              className="button"
              href={exportPath(calls.exportAuditEvents.path, { ...filter, actor: exported })}
              download="wolfpack-audit.ndjson"
            >
              <Icon name="down" />
              Export
            </a>
          )}
        </div>
      </div>
      <div className="card card-flush">
        <div className="card-head audit-tools">
          <Choice
            label="Action"
            value={action}
            onChange={setAction}
            options={withChosen(actionOptions, action)}
          />
          <Choice label="Result" value={result} onChange={setResult} options={withChosen(results, result)} />
          <FilterField
            label="Actor: a user or wolf, by name or id"
            placeholder="Actor"
            value={actor}
            onChange={setActor}
          />
          <FilterField label="Object, by id" placeholder="Object’s id" value={object} onChange={setObject} />
          <div className="audit-times">
            <FilterField
              type="datetime-local"
              label="From"
              value={localOf(since)}
              onChange={(local) => setSince(instantOf(local))}
              error={errors.since}
            />
            <FilterField
              type="datetime-local"
              label="Until"
              value={localOf(until)}
              onChange={(local) => setUntil(instantOf(local))}
              error={errors.until}
            />
          </div>
          {isFiltered && (
            <button type="button" className="button button-plain push" onClick={reset}>
              Show all
            </button>
          )}
        </div>
        <FilterWords actor={actor} />
        {wrong.length > 0 ? (
          <div className="log-instead">
            <Empty title="This filter cannot be">{wrong.join(". ")}.</Empty>
          </div>
        ) : (
          <Found filter={filter} isFiltered={isFiltered} onFilter={apply} onReset={reset} />
        )}
      </div>
    </div>
  );
}

/** Ids of a filter in words. */
function FilterWords({ actor }: { actor: string }) {
  const user = useUserName(actor);
  const wolf = useWolfName(actor);
  if (actor === "" || (user === undefined && wolf === undefined)) return null;
  return (
    <p className="log-words small muted">
      {wolf ? `Done by the agent of ${plain(wolf)}` : `Done by ${plain(user)}`}
    </p>
  );
}

type FoundProps = Parameters<typeof AuditList>[0];

/** Another filter is another list. */
function Found(props: FoundProps) {
  const { filter } = props;
  const resolution = useResolved("", filter.actor);
  const actor = resolution.state === "ready" ? resolution.actor : "";
  const resolved = useMemo(() => ({ ...filter, actor }), [filter, actor]);
  if (resolution.state !== "ready") return <Unresolved resolution={resolution} />;
  return <AuditList {...props} key={JSON.stringify(resolved)} filter={resolved} />;
}
