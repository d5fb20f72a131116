/** The events that fit one filter: the newest page, what comes live on top, older ones below. */
import type { FleetEvent } from "@wolfpack/api-contract";
import { useCallback, useMemo, useRef, useState } from "react";
import { readPage } from "../../api/client.ts";
import { useFeed } from "../../api/feed.ts";
import { whenEvent } from "../../api/live.ts";
import { useSearchField } from "../../app/search.ts";
import { Icon } from "../../ui/icon.tsx";
import { LogList } from "../../ui/log.tsx";
import { many } from "../../ui/text.ts";
import { columnsFor } from "./event-columns.tsx";
import { EventDetails } from "./event-details.tsx";
import { type EventFilter, filterQuery, fits } from "./event-filter.ts";

const PAGE = 100;
const ROW_PX = 56;

interface EventListProps {
  /** Stays the same: another filter is another list. */
  filter: EventFilter;
  isFiltered: boolean;
  paused: boolean;
  onResume: () => void;
  onFilter: (filter: Partial<EventFilter>) => void;
  onReset: () => void;
}

export function EventList({ filter, isFiltered, paused, onResume, onFilter, onReset }: EventListProps) {
  const frame = useRef<HTMLDivElement>(null);
  const [away, setAway] = useState(false);
  const [openId, setOpenId] = useSearchField("event");
  const query = useMemo(() => filterQuery(filter), [filter]);
  const read = useCallback(
    (cursor: string | undefined, signal?: AbortSignal) =>
      readPage<FleetEvent>("listEvents", { ...query, limit: PAGE, cursor }, signal),
    [query],
  );
  const listen = useCallback(
    (hear: (event: FleetEvent) => void) => whenEvent((event) => fits(event, filter) && hear(event)),
    [filter],
  );
  const hold = paused || away;
  const log = useFeed<FleetEvent>({ key: ["events", query], read, listen, hold });
  const { rows, held } = log.feed;
  const columns = useMemo(() => columnsFor((event) => setOpenId(event.id)), [setOpenId]);
  const opened = openId ? [...held, ...rows].find(({ id }) => id === openId) : undefined;

  function showNews(): void {
    onResume();
    frame.current?.querySelector(".table-scroll")?.scrollTo({ top: 0 });
  }

  const close = () => setOpenId("");
  return (
    <LogList
      label="Events"
      log={log}
      columns={columns}
      rowHeight={ROW_PX}
      onAway={setAway}
      frame={frame}
      empty={{
        isFiltered,
        onReset,
        filtered: "No event fits",
        none: "Nothing has happened in the last 30 days",
        icon: "events",
      }}
      missing={openId && !opened ? { word: "event", onClose: close } : undefined}
      news={
        hold &&
        held.length > 0 && (
          <button
            type="button"
            className="button button-primary log-news"
            onClick={showNews}
            aria-live="polite"
          >
            <Icon name="up" />
            {log.feed.gap ? "More than " : ""}
            {many(held.length, "new event")}
          </button>
        )
      }
    >
      {opened && <EventDetails event={opened} onClose={close} onOnly={onFilter} />}
    </LogList>
  );
}
