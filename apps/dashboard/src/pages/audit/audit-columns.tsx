/** The columns of the audit log. */
import type { AuditEvent } from "@wolfpack/api-contract";
import { ActorName, UserName, WolfName } from "../../fleet/names.tsx";
import { Badge, Mark, type Tone } from "../../ui/badge.tsx";
import type { Column } from "../../ui/table.tsx";
import { plain, sentence, shortId } from "../../ui/text.ts";
import { Time } from "../../ui/time.tsx";

/** A denied call is what somebody wants to find here; a failed one was nobody's wrong. */
const tones: Record<AuditEvent["result"], Tone> = { allowed: "ok", failed: "warning", denied: "danger" };
export const toneOfResult = (result: string): Tone => tones[result as AuditEvent["result"]] ?? "neutral";

/** `open` is stable. */
export const columnsFor = (open: (entry: AuditEvent) => void): readonly Column<AuditEvent>[] => [
  {
    id: "action",
    header: "Action",
    cell: (entry) => (
      <span className="audit-action">
        <span className="audit-narrow">
          <Mark tone={toneOfResult(entry.result)} />
        </span>
        <span className="two-lines">
          <button type="button" className="row-link log-open" onClick={() => open(entry)}>
            {plain(entry.action, 80)}
          </button>
          <span>
            <span className="audit-narrow">{sentence(entry.result)} </span>
            {plain(entry.code)}
          </span>
        </span>
      </span>
    ),
  },
  {
    id: "result",
    header: "Result",
    width: "8rem",
    keepFrom: 4,
    cell: ({ result }) => <Badge tone={toneOfResult(result)}>{sentence(result)}</Badge>,
  },
  {
    id: "actor",
    header: "By",
    width: "14rem",
    keepFrom: 4,
    cell: ({ actor, actor_id: id }) => <ActorName kind={actor} id={id} />,
  },
  {
    id: "object",
    header: "Object",
    width: "13rem",
    keepFrom: 3,
    cell: ({ object }) => <ObjectName id={object} />,
  },
  {
    id: "address",
    header: "From",
    width: "9rem",
    keepFrom: 2,
    cell: ({ address }) => <span className="figures">{plain(address, 60) || "–"}</span>,
  },
  {
    id: "at",
    header: "When",
    width: "7rem",
    align: "end",
    cell: ({ at }) => <Time at={at} />,
  },
];

export function ObjectName({ id }: { id: string | null }) {
  if (!id) return <span className="muted">–</span>;
  if (id.startsWith("wlf_")) return <WolfName id={id} className="over" />;
  if (id.startsWith("usr_")) return <UserName id={id} />;
  return <code title={plain(id)}>{shortId(id)}</code>;
}
