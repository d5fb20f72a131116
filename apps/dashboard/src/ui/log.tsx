/** What the pages of logs are made of: how far back a list goes, one entry with all that it says. */
import { type ReactNode, type Ref, useSyncExternalStore } from "react";
import { CopyButton } from "./controls.tsx";
import { jsonText } from "./json-text.ts";
import { Empty, Failure } from "./states.tsx";
import { type Column, Table } from "./table.tsx";
import { count, plain } from "./text.ts";
import "./log.css";

interface Log<Row> {
  feed: { rows: readonly Row[]; loaded: boolean; cursor: string | undefined };
  head: { error: Error | null; refetch: () => unknown };
  older: () => Promise<void>;
  olderBusy: boolean;
  olderError: Error | undefined;
}

interface LogListProps<Row> {
  label: string;
  log: Log<Row>;
  columns: readonly Column<Row>[];
  /** Pixels, where there is room; on a phone rows are higher. */
  rowHeight: number;
  /** Told with every scroll whether the newest row is out of sight. */
  onAway: (away: boolean) => void;
  /** Where nothing is shown: because of the filter, or because there is nothing. */
  empty: { filtered: string; none: string; icon: "audit" | "events" } & Filtered;
  /** What a link asks for and is not among the rows: `event`, `entry`. */
  missing: { word: string; onClose: () => void } | undefined;
  /** Above the table. */
  news?: ReactNode;
  frame?: Ref<HTMLDivElement>;
  /** Dialogs. */
  children?: ReactNode;
}
interface Filtered {
  isFiltered: boolean;
  onReset: () => void;
}

/** Four lines of what happened; log.css has the same width. */
const NARROW_ROW_PX = 76;
const narrow = matchMedia("(max-width: 32rem)");
function whenNarrow(listener: () => void): () => void {
  narrow.addEventListener("change", listener);
  return () => narrow.removeEventListener("change", listener);
}
const useNarrow = () => useSyncExternalStore(whenNarrow, () => narrow.matches);

const rowKey = ({ id }: { id: string }) => id;

/** Rows of a log, the newest first: how it failed, what came, its table, how far back it goes. */
export function LogList<Row extends { id: string }>(props: LogListProps<Row>) {
  const { label, log, columns, onAway, empty, missing, news, frame, children } = props;
  const rowHeight = useNarrow() ? NARROW_ROW_PX : props.rowHeight;
  const { rows, loaded, cursor } = log.feed;
  return (
    <div
      ref={frame}
      className="log-list"
      onScrollCapture={(event) => onAway((event.target as HTMLElement).scrollTop > rowHeight)}
    >
      {log.head.error && (
        <div className="log-failure">
          <Failure error={log.head.error} retry={() => void log.head.refetch()} />
        </div>
      )}
      {news}
      <Table
        label={label}
        rows={rows}
        columns={columns}
        rowKey={rowKey}
        rowHeight={rowHeight}
        maxHeight="max(24rem, calc(100dvh - 16rem))"
        onEnd={() => void log.older()}
        loading={!loaded && !log.head.error}
        empty={
          !loaded ? null : empty.isFiltered ? (
            <Empty title={empty.filtered}>
              <button type="button" className="button" onClick={empty.onReset}>
                Show all
              </button>
            </Empty>
          ) : (
            <Empty title={empty.none} icon={empty.icon} />
          )
        }
      />
      {/* Below rows only: what stood below the room for them would jump when they come. */}
      {loaded && <LogFoot shown={rows.length} more={cursor !== undefined} log={log} />}
      {children}
      {missing && loaded && (
        <p className="log-gone muted small" role="status">
          The {missing.word} of this link is not among those shown; it may be an older one.{" "}
          <button type="button" className="button button-plain" onClick={missing.onClose}>
            Never mind
          </button>
        </p>
      )}
    </div>
  );
}

interface LogFootProps {
  shown: number;
  more: boolean;
  log: Pick<Log<unknown>, "older" | "olderBusy" | "olderError">;
}

/** How far back the list goes. */
function LogFoot({ shown, more, log }: LogFootProps) {
  return (
    <div className="log-foot small muted">
      <span className="figures">{shown > 0 ? `${count(shown)} shown` : "\u00a0"}</span>
      {log.olderError && (
        <span role="alert">Older ones could not be read: {plain(log.olderError.message)}</span>
      )}
      {more ? (
        <button
          type="button"
          className="button push"
          disabled={log.olderBusy}
          onClick={() => void log.older()}
        >
          {log.olderBusy ? "Reading …" : "Older"}
        </button>
      ) : (
        <span className="push">{shown > 0 ? "There is nothing older" : ""}</span>
      )}
    </div>
  );
}

/** A text of the contract, in which words of the API stand between backticks. */
export function Meaning({ text }: { text: string }) {
  return (
    <>
      {text.split("`").map((part, index) =>
        // biome-ignore lint/suspicious/noArrayIndexKey: a text does not change its order
        index % 2 === 1 ? <code key={index}>{part}</code> : part,
      )}
    </>
  );
}

export function Fact({ name, children }: { name: string; children: ReactNode }) {
  return (
    <>
      <dt>{name}</dt>
      <dd>{children}</dd>
    </>
  );
}

export function Id({ id }: { id: string }) {
  return (
    <span className="log-id">
      <code className="wrap">{plain(id)}</code>
      <CopyButton text={id} label="Copy the id" />
    </span>
  );
}

export function Detail({ detail }: { detail: unknown }) {
  if (detail === null || detail === undefined || Object.keys(detail).length === 0) return null;
  return (
    <section aria-label="Detail">
      <h3 className="log-detail-head">Detail</h3>
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: whoever has no mouse scrolls it by the keyboard */}
      <pre className="log-json" tabIndex={0}>
        {jsonText(detail)}
      </pre>
    </section>
  );
}
