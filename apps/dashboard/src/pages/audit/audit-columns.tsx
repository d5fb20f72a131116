/** The columns of the audit log. */
import type { AuditEvent } from "@wolfpack/api-contract";
import { auditWords } from "../../fleet/audit-words.ts";
import { ActorName, SessionName, UserName, WolfName } from "../../fleet/names.tsx";
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
          <button
            type="button"
            className="row-link log-open"
            title={auditWords(entry)}
            onClick={() => open(entry)}
          >
            <span>{auditWords(entry)}</span>
          </button>
          <code className="audit-code">
            {plain(entry.action, 80)}
            {entry.code && `: ${plain(entry.code, 80)}`}
          </code>
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
    cell: ({ actor, actor_id: id, actor_name: said }) => <ActorName kind={actor} id={id} said={said} />,
  },
  {
    id: "object",
    header: "Object",
    width: "13rem",
    keepFrom: 3,
    cell: ({ object, object_name: said }) => <ObjectName id={object} said={said} />,
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

interface ObjectNameProps {
  id: string | null;
  said: string | null | undefined;
}

export function ObjectName({ id, said }: ObjectNameProps) {
  if (!id) return <span className="muted">–</span>;
  if (id.startsWith("wlf_")) return <WolfName id={id} said={said} className="over" />;
  if (id.startsWith("usr_")) return <UserName id={id} said={said} />;
  if (id.startsWith("ses_")) return <SessionName id={id} said={said} className="over" />;
  if (said) return <span title={plain(id)}>{plain(said)}</span>;
  return <code title={plain(id)}>{shortId(id)}</code>;
}
