/** The clipboard of a session: read when asked, and written. Always text. */
import type { Session } from "@wolfpack/api-contract";
import { useState } from "react";
import { type ApiFailure, call } from "../../api/client.ts";
import { useCommand } from "../../api/queries.ts";
import { CopyButton, Field } from "../../ui/controls.tsx";
import { Icon } from "../../ui/icon.tsx";
import { Failure } from "../../ui/states.tsx";
import { count } from "../../ui/text.ts";
import { useToasts } from "../../ui/toast.tsx";
import { clipboardProblem } from "./clipboard-text.ts";

interface ClipboardProps {
  session: Session;
  mayLook: boolean;
  mayTouch: boolean;
}

export function ClipboardCard({ session, mayLook, mayTouch }: ClipboardProps) {
  const { id, status, reachable } = session;
  const toasts = useToasts();
  const [text, setText] = useState("");
  const [reading, setReading] = useState(false);
  const [error, setError] = useState<ApiFailure>();
  const send = useCommand("setClipboard");
  const isThere = status === "running" && reachable;
  const problem = clipboardProblem(text);

  async function read(): Promise<void> {
    setReading(true);
    setError(undefined);
    try {
      const { body } = await call("getClipboard", { params: { id } });
      setText(String(body.text));
      toasts.done(body.text === "" ? "The session's clipboard is empty" : "The clipboard was read");
    } catch (cause) {
      setError(cause as ApiFailure);
    } finally {
      setReading(false);
    }
  }

  async function write(): Promise<void> {
    setError(undefined);
    try {
      await send.mutateAsync({ params: { id }, body: { text } });
      toasts.done("The session's clipboard has this text now");
    } catch (cause) {
      setError(cause as ApiFailure);
    }
  }

  return (
    <section className="card" aria-labelledby="clipboard-title">
      <div className="card-head">
        <h2 id="clipboard-title">Clipboard</h2>
        {text !== "" && (
          <span className="push session-copy">
            <CopyButton text={text} label="Copy to this machine" />
          </span>
        )}
      </div>
      <div className="stack session-clipboard">
        <Field
          label="Text"
          error={problem}
          hint={
            text === ""
              ? "Read it from the session, or type what to send."
              : `${count(text.length)} characters`
          }
        >
          {(ids) => (
            <textarea
              {...ids}
              className="input mono"
              rows={4}
              spellCheck={false}
              value={text}
              onChange={(event) => setText(event.target.value)}
            />
          )}
        </Field>
        <div className="row-wrap">
          {mayLook && (
            <button
              type="button"
              className="button"
              disabled={!isThere || reading}
              onClick={() => void read()}
            >
              <Icon name="down" />
              {reading ? "Reading …" : "Read from session"}
            </button>
          )}
          {mayTouch && (
            <button
              type="button"
              className="button"
              disabled={!isThere || problem !== undefined || send.isPending}
              onClick={() => void write()}
            >
              <Icon name="up" />
              {send.isPending ? "Sending …" : "Send to session"}
            </button>
          )}
        </div>
        {error && <Failure error={error} />}
      </div>
    </section>
  );
}
