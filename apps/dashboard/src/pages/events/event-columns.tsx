/** The columns of the list of events. */
import type { FleetEvent } from "@wolfpack/api-contract";
import { eventWords } from "../../fleet/event-words.ts";
import { ActorName, SessionName, WolfName } from "../../fleet/names.tsx";
import { Mark } from "../../ui/badge.tsx";
import type { Column } from "../../ui/table.tsx";
import { plain } from "../../ui/text.ts";
import { Time } from "../../ui/time.tsx";

const nothing = <span className="muted">–</span>;

/** `open` is stable. */
export const columnsFor = (open: (event: FleetEvent) => void): readonly Column<FleetEvent>[] => [
  {
    id: "event",
    header: "Event",
    cell: (event) => {
      const { tone, text } = eventWords(event);
      return (
        <span className="events-event">
          <Mark tone={tone} />
          <span className="two-lines">
            <button type="button" className="row-link log-open" title={text} onClick={() => open(event)}>
              <span>{text}</span>
            </button>
            <code className="events-kind">{plain(event.kind, 80)}</code>
          </span>
        </span>
      );
    },
  },
  {
    id: "wolf",
    header: "Wolf",
    width: "11rem",
    keepFrom: 4,
    cell: ({ wolf_instance_id: id, wolf_name: said }) =>
      id ? <WolfName id={id} said={said} className="over" /> : nothing,
  },
  {
    id: "session",
    header: "Session",
    width: "11rem",
    keepFrom: 3,
    cell: ({ session_id: id, session_name: said }) =>
      id ? <SessionName id={id} said={said} className="over" /> : nothing,
  },
  {
    id: "actor",
    header: "By",
    width: "13rem",
    keepFrom: 2,
    cell: ({ actor, actor_name: said }) =>
      actor ? <ActorName kind={actor.kind} id={actor.id} said={said} /> : nothing,
  },
  {
    id: "at",
    header: "When",
    width: "7rem",
    align: "end",
    cell: ({ at }) => <Time at={at} />,
  },
];
