/** The columns of the list of events. */
import { Link } from "@tanstack/react-router";
import type { FleetEvent } from "@wolfpack/api-contract";
import { eventWords } from "../../fleet/event-words.ts";
import { ActorName, WolfName } from "../../fleet/names.tsx";
import { Mark } from "../../ui/badge.tsx";
import type { Column } from "../../ui/table.tsx";
import { plain, shortId } from "../../ui/text.ts";
import { Time } from "../../ui/time.tsx";

const nothing = <span className="muted">–</span>;

/** `open` is stable. */
export const columnsFor = (open: (event: FleetEvent) => void): readonly Column<FleetEvent>[] => [
  {
    id: "event",
    header: "Event",
    cell: (event) => {
      // Who did it has a column of its own.
      const { tone, text } = eventWords({ ...event, actor: null });
      return (
        <span className="events-event">
          <Mark tone={tone} />
          <span className="two-lines">
            <button type="button" className="row-link log-open" onClick={() => open(event)}>
              {plain(event.kind, 80)}
            </button>
            <span title={text}>{text || aboutOf(event)}</span>
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
    cell: ({ wolf_instance_id: id }) => (id ? <WolfName id={id} className="over" /> : nothing),
  },
  {
    id: "session",
    header: "Session",
    width: "11rem",
    keepFrom: 3,
    cell: ({ session_id: id }) =>
      id ? (
        <Link to="/sessions/$id" params={{ id }} className="over mono" title={plain(id)}>
          {shortId(id)}
        </Link>
      ) : (
        nothing
      ),
  },
  {
    id: "actor",
    header: "By",
    width: "13rem",
    keepFrom: 2,
    cell: ({ actor }) => (actor ? <ActorName kind={actor.kind} id={actor.id} /> : nothing),
  },
  {
    id: "at",
    header: "When",
    width: "7rem",
    align: "end",
    cell: ({ at }) => <Time at={at} />,
  },
];

function aboutOf({ object_id, session_id, wolf_instance_id }: FleetEvent): string {
  return shortId(object_id ?? session_id ?? wolf_instance_id ?? "");
}
