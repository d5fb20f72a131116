/** A column of moments, such as when a key ends. */
import type { Column } from "../../ui/table.tsx";
import { Time } from "../../ui/time.tsx";

type Moments<Row> = { [Key in keyof Row]: Row[Key] extends string | null ? Key : never }[keyof Row];

export function timeColumn<Row extends object>(
  field: Moments<Row>,
  { id, header, width = "7.5rem", keepFrom }: Pick<Column<Row>, "id" | "header" | "width" | "keepFrom">,
): Column<Row> {
  const at = (row: Row) => row[field] as string | null;
  const value = (row: Row) => {
    const text = at(row);
    return text === null ? null : Date.parse(text);
  };
  const kept = keepFrom === undefined ? {} : { keepFrom };
  return { id, header, width, ...kept, value, cell: (row) => <Time at={at(row)} /> };
}
