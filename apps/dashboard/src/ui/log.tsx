/** What the pages of logs are made of: how far back a list goes, one entry with all that it says. */
import type { ReactNode } from "react";
import { CopyButton } from "./controls.tsx";
import { jsonText } from "./json-text.ts";
import { count, plain } from "./text.ts";
import "./log.css";

interface LogFootProps {
  shown: number;
  loaded: boolean;
  more: boolean;
  log: { older: () => Promise<void>; olderBusy: boolean; olderError: Error | undefined };
}

/** How far back the list goes. */
export function LogFoot({ shown, loaded, more, log }: LogFootProps) {
  return (
    <div className="log-foot small muted">
      <span className="figures">{loaded && shown > 0 ? `${count(shown)} shown` : "\u00a0"}</span>
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
        <span className="push">{loaded && shown > 0 ? "There is nothing older" : ""}</span>
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
