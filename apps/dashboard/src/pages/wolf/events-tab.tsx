/** What happened to a wolf and on it, the newest first. */

import { Link } from "@tanstack/react-router";
import type { WolfInstance } from "@wolfpack/api-contract";
import { useRead } from "../../api/queries.ts";
import { eventWords } from "../../fleet/event-words.ts";
import { Mark } from "../../ui/badge.tsx";
import { Empty, Failure, Skeleton } from "../../ui/states.tsx";
import { plain } from "../../ui/text.ts";
import { Time } from "../../ui/time.tsx";

const SHOWN = 100;

export default function EventsTab({ wolf }: { wolf: WolfInstance }) {
  const events = useRead("listEvents", {
    query: { wolf_instance_id: wolf.id, newest_first: "true", limit: SHOWN },
  });
  return (
    <section className="card" aria-label="Events">
      <div className="card-head">
        <h2>Events</h2>
        <Link to="/events" search={{ wolf: wolf.id } as never} className="push small">
          Show all
        </Link>
      </div>
      {events.error && <Failure error={events.error} retry={() => void events.refetch()} />}
      {events.data === undefined && !events.error && <Skeleton lines={8} />}
      {events.data?.length === 0 && <Empty title="Nothing has happened in the last 30 days" icon="events" />}
      <ol className="wolf-events">
        {events.data?.map((event) => {
          const { tone, text } = eventWords(event);
          return (
            <li key={event.id} className="wolf-event">
              <Mark tone={tone} />
              <span className="wolf-event-text">
                {event.session_id ? (
                  <Link to="/sessions/$id" params={{ id: event.session_id }} className="wrap wolf-event-link">
                    {text}
                  </Link>
                ) : (
                  <span className="wrap">{text}</span>
                )}{" "}
                <code className="wolf-event-kind">{plain(event.kind, 80)}</code>
              </span>
              <span className="muted small wolf-event-at">
                <Time at={event.at} />
              </span>
            </li>
          );
        })}
      </ol>
    </section>
  );
}
