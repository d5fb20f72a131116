/**
 * A table that sorts, and draws only the rows in sight: ten thousand cost as much as fifty. It is a real <table>, so that
 * readers of screens know rows and columns; arrow keys lead from row to row.
 */
import {
  type ColumnDef,
  createSortedRowModel,
  rowSortingFeature,
  type SortingState,
  tableFeatures,
  useTable,
} from "@tanstack/react-table";
import { defaultRangeExtractor, type Range, useVirtualizer } from "@tanstack/react-virtual";
import {
  type FocusEvent,
  Fragment,
  type KeyboardEvent,
  memo,
  type ReactNode,
  useCallback,
  useMemo,
  useRef,
  useState,
} from "react";
import { Icon } from "./icon.tsx";
import { Skeleton } from "./states.tsx";
import "./table.css";

export interface Column<Row> {
  id: string;
  header: string;
  /** What it is sorted by; without one it cannot be sorted. Null and undefined come last. */
  value?: (row: Row) => string | number | null | undefined;
  cell: (row: Row) => ReactNode;
  /** CSS width; the columns share what is left over. Default: as wide as the others. */
  width?: string;
  align?: "start" | "end";
  /** Where the table is narrow: 2 goes below 64rem, 3 below 48rem, 4 below 32rem. Default: always shown. */
  keepFrom?: 2 | 3 | 4;
}

export interface Sort {
  id: string;
  desc: boolean;
}

export interface TableProps<Row> {
  /** What it lists, for those who do not see it. */
  label: string;
  rows: readonly Row[];
  /** Stable between renders, such as a constant of the module or a memo. */
  columns: readonly Column<Row>[];
  /** Stable as well. */
  rowKey: (row: Row) => string;
  /** Controlled with `onSort`; else this is how it begins. */
  sort?: Sort | undefined;
  onSort?: (sort: Sort | undefined) => void;
  /** Shown instead of rows. */
  empty?: ReactNode;
  loading?: boolean;
  /** Of every row, in pixels: cells are one line, or two small ones with 56. */
  rowHeight?: number;
  /** The tallest it may be before it scrolls by itself, as a sum of CSS lengths. */
  maxHeight?: string;
  /** Called when the last rows come into sight, to read more. */
  onEnd?: () => void;
}

const features = tableFeatures({ rowSortingFeature, sortedRowModel: createSortedRowModel() });
const OVERSCAN = 8;
/** Beyond the last row in sight. */
const END_ROWS = 20;
const SKELETON_ROWS = 8;
/** The window without what stands above a table. */
const HEIGHT_MAX = "100dvh - 9rem";
/** Of `th`, in table.css. */
const HEAD_HEIGHT = "2.375rem";
/** Until a row that the keyboard leads to is drawn. */
const FOCUS_FRAMES_MAX = 10;

const compare = (a: unknown, b: unknown): number => {
  if (typeof a === "number" && typeof b === "number") return a - b;
  return collator.compare(String(a), String(b));
};
const collator = new Intl.Collator("en", { numeric: true, sensitivity: "base" });

export function Table<Row extends object>(props: TableProps<Row>) {
  const { label, rows, columns, rowKey, empty, loading, rowHeight = 44, onEnd } = props;
  const scroller = useRef<HTMLDivElement>(null);
  const [ownSort, setOwnSort] = useState(props.sort);
  const sort = props.onSort ? props.sort : ownSort;
  const setSort = props.onSort ?? setOwnSort;
  const sorting = useMemo<SortingState>(() => (sort ? [sort] : []), [sort]);
  const definitions = useMemo(() => columns.map((column) => definitionOf(column)), [columns]);
  const table = useTable({
    features,
    columns: definitions,
    data: rows,
    getRowId: rowKey,
    state: { sorting },
    sortDescFirst: false,
  });
  const sorted = table.getRowModel().rows;
  /** Of the row that has the focus; it stays drawn out of sight, or the keyboard would lose its place. */
  const focused = useRef<string>(undefined);
  const virtualizer = useVirtualizer({
    count: sorted.length,
    getScrollElement: () => scroller.current,
    estimateSize: () => rowHeight,
    getItemKey: useCallback((index: number) => sorted[index]?.id ?? index, [sorted]),
    overscan: OVERSCAN,
    rangeExtractor: useCallback(
      (range: Range) => {
        const drawn = defaultRangeExtractor(range);
        if (focused.current === undefined) return drawn;
        return withIndex(
          drawn,
          sorted.findIndex(({ id }) => id === focused.current),
        );
      },
      [sorted],
    ),
    onChange({ range }) {
      if (onEnd && range && range.endIndex >= sorted.length - END_ROWS) onEnd();
    },
  });
  const items = virtualizer.getVirtualItems();
  const after = virtualizer.getTotalSize() - (items.at(-1)?.end ?? 0);
  const isEmpty = sorted.length === 0;

  const onFocus = (event: FocusEvent<HTMLTableSectionElement>) => {
    const row = event.target.closest<HTMLElement>("tr[data-index]");
    focused.current = row ? sorted[Number(row.dataset.index)]?.id : undefined;
  };
  const onBlur = () => {
    focused.current = undefined;
  };
  const onKeyDown = (event: KeyboardEvent<HTMLTableSectionElement>) => {
    const row = (event.target as HTMLElement).closest<HTMLElement>("tr[data-index]");
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (!row || step === undefined || (event.target as HTMLElement).matches("input, select, textarea"))
      return;
    const index = Number(row.dataset.index) + step;
    if (index < 0 || index >= sorted.length) return;
    event.preventDefault();
    const focus = () => {
      const place = scroller.current?.querySelector<HTMLElement>(`tr[data-index="${index}"] :is(a, button)`);
      place?.focus({ preventScroll: true });
      return place !== null && place !== undefined;
    };
    const soon = (frames: number) => {
      if (!focus() && frames > 0) requestAnimationFrame(() => soon(frames - 1));
    };
    virtualizer.scrollToIndex(index);
    soon(FOCUS_FRAMES_MAX);
  };

  return (
    <section
      className="table-scroll"
      ref={scroller}
      style={{ maxHeight: wholeRows(props.maxHeight ?? HEIGHT_MAX, rowHeight) }}
      aria-label={label}
      // biome-ignore lint/a11y/noNoninteractiveTabindex: whoever has no mouse scrolls it by the keyboard
      tabIndex={0}
    >
      <table className="table" aria-rowcount={sorted.length + 1}>
        <colgroup>
          {columns.map(({ id, width, keepFrom }) => (
            <col key={id} className={keep(keepFrom)} style={width ? { width } : undefined} />
          ))}
        </colgroup>
        <thead>
          <tr aria-rowindex={1}>
            {columns.map((column) => (
              <HeaderCell key={column.id} column={column} sort={sort} onSort={setSort} />
            ))}
          </tr>
        </thead>
        <tbody onKeyDown={onKeyDown} onFocus={onFocus} onBlur={onBlur}>
          {items.map(({ index, key, start }, at) => {
            const row = sorted[index];
            if (!row) return null;
            const gap = start - (items[at - 1]?.end ?? 0);
            return (
              <Fragment key={key}>
                {gap > 0 && <Spacer height={gap} />}
                <BodyRow
                  index={index}
                  row={row.original as Row}
                  columns={columns as readonly Column<object>[]}
                  height={rowHeight}
                />
              </Fragment>
            );
          })}
          {after > 0 && <Spacer height={after} />}
        </tbody>
      </table>
      {isEmpty && (
        <div className="table-instead">
          {loading ? <Skeleton lines={SKELETON_ROWS} height="1.375rem" /> : empty}
        </div>
      )}
    </section>
  );
}

/** Its head and as many rows as fit: what is cut through the middle of a row looks broken. */
const wholeRows = (height: string, rowHeight: number) =>
  `calc(${HEAD_HEIGHT} + round(down, ${height} - ${HEAD_HEIGHT}, ${rowHeight}px))`;

/** Ascending, and each once. */
function withIndex(drawn: number[], index: number): number[] {
  if (index < 0 || drawn.includes(index)) return drawn;
  const after = drawn.findIndex((one) => one > index);
  return after < 0 ? [...drawn, index] : [...drawn.slice(0, after), index, ...drawn.slice(after)];
}

function definitionOf<Row extends object>({ id, value }: Column<Row>): ColumnDef<typeof features, Row> {
  return {
    id,
    accessorFn: (row) => value?.(row) ?? undefined,
    enableSorting: value !== undefined,
    sortUndefined: "last",
    sortFn: (a, b, column) => compare(a.getValue(column), b.getValue(column)),
  };
}

const keep = (from: number | undefined) => (from === undefined ? undefined : `keep-${from}`);

interface HeaderCellProps<Row> {
  column: Column<Row>;
  sort: Sort | undefined;
  onSort: (sort: Sort | undefined) => void;
}

/** Up, down, and as it came. */
function HeaderCell<Row>({ column, sort, onSort }: HeaderCellProps<Row>) {
  const { id, header, value, align, keepFrom } = column;
  const mine = sort?.id === id ? sort : undefined;
  const classes = [keep(keepFrom), align === "end" && "cell-end"].filter(Boolean).join(" ");
  const next = mine === undefined ? { id, desc: false } : mine.desc ? undefined : { id, desc: true };
  const direction = mine === undefined ? "none" : mine.desc ? "descending" : "ascending";
  return (
    <th scope="col" className={classes} aria-sort={value ? direction : undefined}>
      {value ? (
        <button type="button" className="table-sort" onClick={() => onSort(next)}>
          <span className="clip">{header}</span>
          <span className={mine ? "table-arrow" : "table-arrow table-arrow-off"}>
            <Icon name={mine?.desc ? "down" : "up"} size={12} />
          </span>
        </button>
      ) : (
        <span className="clip">{header}</span>
      )}
    </th>
  );
}

interface BodyRowProps {
  row: object;
  index: number;
  columns: readonly Column<object>[];
  height: number;
}

/** Drawn again only when its row is another object: whoever changes one gives a new one. */
const BodyRow = memo(function BodyRow({ row, index, columns, height }: BodyRowProps) {
  return (
    <tr data-index={index} aria-rowindex={index + 2} style={{ height }}>
      {columns.map(({ id, cell, align, keepFrom }) => (
        <td key={id} className={[keep(keepFrom), align === "end" && "cell-end"].filter(Boolean).join(" ")}>
          {cell(row)}
        </td>
      ))}
    </tr>
  );
});

/** One cell: a wider one would call columns back that are left out where there is little room. */
function Spacer({ height }: { height: number }) {
  return (
    <tr className="table-spacer">
      <td style={{ height }} />
    </tr>
  );
}
