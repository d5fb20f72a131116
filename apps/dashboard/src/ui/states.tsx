/** What stands where there is nothing to show: while it loads, when it is empty, when it failed. None of them moves what is around it. */

import { problemMeanings } from "virtual:contract";
import type { ReactNode } from "react";
import { ApiFailure } from "../api/client.ts";
import { Icon, type IconName } from "./icon.tsx";
import { plain } from "./text.ts";
import "./states.css";

/** Grey lines of the height that the real ones will have. */
export function Skeleton({ lines = 3, height = "1.25rem" }: { lines?: number; height?: string }) {
  return (
    <div className="skeleton" role="status" aria-label="Loading">
      {Array.from({ length: lines }, (_unused, line) => (
        // biome-ignore lint/suspicious/noArrayIndexKey: they are all alike
        <span key={line} style={{ height, width: `${[92, 78, 85, 64, 88][line % 5]}%` }} />
      ))}
    </div>
  );
}

interface EmptyProps {
  title: string;
  icon?: IconName;
  /** What may be done about it. */
  children?: ReactNode;
}

export function Empty({ title, icon = "search", children }: EmptyProps) {
  return (
    <div className="empty">
      <span className="empty-icon">
        <Icon name={icon} size={22} />
      </span>
      <p className="empty-title">{title}</p>
      {children && <div className="muted">{children}</div>}
    </div>
  );
}

/** A failed read, in the API's own words, with what may be done about it. */
export function Failure({ error, retry }: { error: Error; retry?: () => void }) {
  const failure = error instanceof ApiFailure ? error : undefined;
  const meaning = failure && (problemMeanings as Record<string, string | undefined>)[failure.code];
  return (
    <div className="failure" role="alert">
      <Icon name="warning" size={20} />
      <div className="failure-text">
        <p className="failure-title">{failure ? plain(failure.title) : "This page failed"}</p>
        <p className="wrap">{plain(error.message, 1000)}</p>
        {meaning && <p className="muted small">{meaning}</p>}
        {failure?.requestId && (
          <p className="muted small">
            Request <code>{plain(failure.requestId)}</code>
          </p>
        )}
      </div>
      {retry && (
        <button type="button" className="button" onClick={retry}>
          Try again
        </button>
      )}
    </div>
  );
}

interface LoadedProps<Data> {
  query: { data: Data | undefined; error: Error | null; refetch: () => unknown };
  /** While there is neither an answer nor a failure. */
  skeleton?: ReactNode;
  children: (data: Data) => ReactNode;
}

/** Not for this reader any more, or not there: what was read before must not stay. */
const isRefused = (error: Error | null): boolean =>
  error instanceof ApiFailure && (error.status === 401 || error.status === 403 || error.status === 404);

/** A read in all its states; what was there before a failure stays, with a line that says so, unless the answer is a refusal. */
export function Loaded<Data>({ query, skeleton = <Skeleton />, children }: LoadedProps<Data>) {
  const { data, error, refetch } = query;
  if (data === undefined || isRefused(error)) {
    return error ? <Failure error={error} retry={() => void refetch()} /> : skeleton;
  }
  return (
    <>
      {error && <Failure error={error} retry={() => void refetch()} />}
      {children(data)}
    </>
  );
}
