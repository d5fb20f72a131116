/** One event with everything that it says. */

import { eventKinds } from "virtual:contract";
import type { FleetEvent } from "@wolfpack/api-contract";
import { eventWords } from "../../fleet/event-words.ts";
import { ActorName, SessionName, UserName, WolfName } from "../../fleet/names.tsx";
import { Badge } from "../../ui/badge.tsx";
import { Dialog } from "../../ui/dialog.tsx";
import { Detail, Fact, Id, Meaning } from "../../ui/log.tsx";
import { absolute, plain, sentence } from "../../ui/text.ts";
import { Time } from "../../ui/time.tsx";
import type { EventFilter } from "./event-filter.ts";

interface EventDetailsProps {
  event: FleetEvent;
  onClose: () => void;
  /** Shows only what has the same of one of these. */
  onOnly: (filter: Partial<EventFilter>) => void;
}

export function EventDetails({ event, onClose, onOnly }: EventDetailsProps) {
  const { kind, at, wolf_instance_id: wolf, session_id: session, actor, object_id: object } = event;
  const { tone, text } = eventWords(event);
  const only = (name: keyof EventFilter, value: string, words: string) => (
    <button type="button" className="button" onClick={() => onOnly({ [name]: value })}>
      {words}
    </button>
  );
  return (
    <Dialog
      open
      wide
      onOpenChange={(open) => open || onClose()}
      title={text}
      description={
        <>
          <code>{plain(kind, 80)}</code>{" "}
          <Meaning text={eventKinds[kind] ?? "A kind of event that this page does not know."} />
        </>
      }
      actions={
        <>
          {only("kind", kind, "Only this kind")}
          {wolf && only("wolf", wolf, "Only this wolf")}
          {session && only("session", session, "Only this session")}
          {actor?.id && only("actor", actor.id, "Only this actor")}
        </>
      }
    >
      <dl className="facts">
        <Fact name="When">
          <Time at={at} /> <span className="muted">{absolute(Date.parse(at))}</span>
        </Fact>
        {event.cause && (
          <Fact name="Cause">
            <Badge tone={tone}>{sentence(event.cause)}</Badge>
          </Fact>
        )}
        {actor && (
          <Fact name="By">
            <ActorName kind={actor.kind} id={actor.id} said={event.actor_name} />
          </Fact>
        )}
        {wolf && (
          <Fact name="Wolf">
            <WolfName id={wolf} said={event.wolf_name} /> <Id id={wolf} />
          </Fact>
        )}
        {session && (
          <Fact name="Session">
            <SessionName id={session} said={event.session_name} /> <Id id={session} />
          </Fact>
        )}
        {event.owner_id && (
          <Fact name="Owner">
            <UserName id={event.owner_id} said={event.owner_name} />
          </Fact>
        )}
        {object && (
          <Fact name="About">
            <Id id={object} />
          </Fact>
        )}
        {event.request_id && (
          <Fact name="Request">
            <Id id={event.request_id} />
          </Fact>
        )}
        <Fact name="Event">
          <Id id={event.id} />
        </Fact>
      </dl>
      <Detail detail={event.detail} />
    </Dialog>
  );
}
