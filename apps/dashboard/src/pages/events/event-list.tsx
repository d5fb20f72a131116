/** The events that fit one filter: the newest page, what comes live on top, older ones below. */
import type { FleetEvent } from "@wolfpack/api-contract";
import { useCallback, useMemo, useRef, useState } from "react";
import { call, nextCursor } from "../../api/client.ts";
import { useFeed } from "../../api/feed.ts";
import { whenEvent } from "../../api/live.ts";
import { useSearchField } from "../../app/search.ts";
import { Icon } from "../../ui/icon.tsx";
import { LogFoot } from "../../ui/log.tsx";
import { Empty, Failure } from "../../ui/states.tsx";
import { Table } from "../../ui/table.tsx";
import { many } from "../../ui/text.ts";
import { columnsFor } from "./event-columns.tsx";
import { EventDetails } from "./event-details.tsx";
import { type EventFilter, filterQuery, fits } from "./event-filter.ts";

const PAGE = 100;
const ROW_PX = 56;
const rowKey = ({ id }: FleetEvent) => id;

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
    async (cursor: string | undefined, signal?: AbortSignal) => {
      const input = { query: { ...query, limit: PAGE, cursor } as never };
      const { body, headers } = await call("listEvents", input, { signal });
      return { rows: body, next: nextCursor(headers) };
    },
    [query],
  );
  const listen = useCallback(
    (hear: (event: FleetEvent) => void) => whenEvent((event) => fits(event, filter) && hear(event)),
    [filter],
  );
  const hold = paused || away;
  const log = useFeed<FleetEvent>({ key: ["events", query], read, listen, hold });
  const { rows, held, cursor, loaded } = log.feed;
  const columns = useMemo(() => columnsFor((event) => setOpenId(event.id)), [setOpenId]);
  const opened = openId ? [...held, ...rows].find(({ id }) => id === openId) : undefined;

  function showNews(): void {
    onResume();
    frame.current?.querySelector(".table-scroll")?.scrollTo({ top: 0 });
  }

  return (
    <div
      ref={frame}
      className="log-list"
      onScrollCapture={(event) => setAway((event.target as HTMLElement).scrollTop > ROW_PX)}
    >
      {log.head.error && (
        <div className="log-failure">
          <Failure error={log.head.error} retry={() => void log.head.refetch()} />
        </div>
      )}
      {hold && held.length > 0 && (
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
      )}
      <Table
        label="Events"
        rows={rows}
        columns={columns}
        rowKey={rowKey}
        rowHeight={ROW_PX}
        maxHeight="max(24rem, calc(100dvh - 16rem))"
        onEnd={() => void log.older()}
        loading={!loaded && !log.head.error}
        empty={
          !loaded ? null : isFiltered ? (
            <Empty title="No event fits">
              <button type="button" className="button" onClick={onReset}>
                Show all
              </button>
            </Empty>
          ) : (
            <Empty title="Nothing has happened in the last 30 days" icon="events" />
          )
        }
      />
      <LogFoot shown={rows.length} loaded={loaded} more={cursor !== undefined} log={log} />
      {opened && (
        <EventDetails event={opened} onClose={() => setOpenId("")} onOnly={(only) => onFilter(only)} />
      )}
      {openId && !opened && loaded && (
        <p className="log-gone muted small" role="status">
          The event of this link is not among those shown; it may be an older one.{" "}
          <button type="button" className="button button-plain" onClick={() => setOpenId("")}>
            Never mind
          </button>
        </p>
      )}
    </div>
  );
}
