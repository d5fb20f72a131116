/** One entry of the audit log with everything that it says. */

import { problemMeanings } from "virtual:contract";
import type { AuditEvent } from "@wolfpack/api-contract";
import { auditWords } from "../../fleet/audit-words.ts";
import { ActorName } from "../../fleet/names.tsx";
import { Badge } from "../../ui/badge.tsx";
import { Dialog } from "../../ui/dialog.tsx";
import { Detail, Fact, Id, Meaning } from "../../ui/log.tsx";
import { absolute, plain, sentence } from "../../ui/text.ts";
import { Time } from "../../ui/time.tsx";
import { ObjectName, toneOfResult } from "./audit-columns.tsx";
import type { AuditFilter } from "./audit-filter.ts";

interface AuditDetailsProps {
  entry: AuditEvent;
  onClose: () => void;
  /** Shows only what has the same of one of these. */
  onOnly: (filter: Partial<AuditFilter>) => void;
}

export function AuditDetails({ entry, onClose, onOnly }: AuditDetailsProps) {
  const { action, result, code, object, actor, actor_id: actorId } = entry;
  const meaning = code ? (problemMeanings as Record<string, string | undefined>)[code] : undefined;
  const only = (filter: Partial<AuditFilter>, words: string) => (
    <button type="button" className="button" onClick={() => onOnly(filter)}>
      {words}
    </button>
  );
  return (
    <Dialog
      open
      wide
      onOpenChange={(open) => open || onClose()}
      title={auditWords(entry)}
      description={<code>{plain(action, 80)}</code>}
      actions={
        <>
          {only({ action }, "Only this action")}
          {actorId && only({ actor: actorId }, "Only this actor")}
          {object && only({ object }, "Only this object")}
        </>
      }
    >
      <dl className="facts">
        <Fact name="Result">
          <Badge tone={toneOfResult(result)}>{sentence(result)}</Badge>
        </Fact>
        {code && (
          <Fact name="Because">
            <code>{plain(code)}</code>{" "}
            {meaning && (
              <span className="muted">
                <Meaning text={meaning} />
              </span>
            )}
          </Fact>
        )}
        <Fact name="When">
          <Time at={entry.at} /> <span className="muted">{absolute(Date.parse(entry.at))}</span>
        </Fact>
        <Fact name="By">
          <ActorName kind={actor} id={actorId} said={entry.actor_name} />
        </Fact>
        {actorId && (
          <Fact name="Actor's id">
            <Id id={actorId} />
          </Fact>
        )}
        {entry.credential_id && (
          <Fact name="Credential">
            <Id id={entry.credential_id} />
          </Fact>
        )}
        {object && (
          <>
            <Fact name="Object">
              <ObjectName id={object} said={entry.object_name} />
            </Fact>
            <Fact name="Object's id">
              <Id id={object} />
            </Fact>
          </>
        )}
        {entry.address && <Fact name="From">{plain(entry.address)}</Fact>}
        <Fact name="Request">
          <Id id={entry.request_id} />
        </Fact>
        <Fact name="Replica">
          <code className="wrap">{plain(entry.replica)}</code>
        </Fact>
        <Fact name="Entry">
          <Id id={entry.id} />
        </Fact>
      </dl>
      <Detail detail={entry.detail} />
    </Dialog>
  );
}
