/** A new session: what is wished for, beside it what would happen now and why, live; then it is made and its page followed. */

import { Link, useNavigate, useSearch } from "@tanstack/react-router";
import { type FormEvent, useCallback, useState } from "react";
import { type ApiFailure, call } from "../../api/client.ts";
import { useMay } from "../../api/queries.ts";
import { Icon } from "../../ui/icon.tsx";
import { Empty, Failure } from "../../ui/states.tsx";
import { useToasts } from "../../ui/toast.tsx";
import { createAttempts } from "./attempts.ts";
import { LifeFields, PlaceFields, SandboxFields } from "./fields.tsx";
import { type Draft, draftOf, newKey, problemsOf, requestOf } from "./form.ts";
import { PreviewCard, usePreview } from "./preview.tsx";
import "./create-session.css";

const randomBytes = (bytes: Uint8Array) => crypto.getRandomValues(bytes as Uint8Array<ArrayBuffer>);

export default function CreateSessionPage() {
  const mayCreate = useMay("session.create");
  return (
    <div className="page">
      <Link to="/sessions" className="create-back row small">
        <Icon name="back" size={14} />
        Sessions
      </Link>
      <div className="page-head">
        <h1>New session</h1>
      </div>
      {mayCreate ? <Form /> : <Empty title="You may look at sessions, not make them" icon="sessions" />}
    </div>
  );
}

function Form() {
  const search = useSearch({ strict: false }) as Record<string, string | undefined>;
  const navigate = useNavigate();
  const toasts = useToasts();
  const [draft, setDraft] = useState(() => draftOf(search));
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<ApiFailure>();
  const change = useCallback((part: Partial<Draft>) => {
    setError(undefined);
    setDraft((before) => ({ ...before, ...part }));
  }, []);
  const { create, preview: wish, problems: own } = requestOf(draft);
  const isValid = Object.keys(own).length === 0;
  const preview = usePreview(wish, isValid);
  const refused = preview.isRefused ? preview.query.error?.problem : undefined;
  const problems = { ...problemsOf(refused), ...problemsOf(error?.problem), ...own };
  const canCreate = isValid && !preview.isHopeless;

  const [attempts] = useState(() => createAttempts(() => newKey(randomBytes)));
  async function submit(event: FormEvent): Promise<void> {
    event.preventDefault();
    if (busy || !canCreate) return;
    setBusy(true);
    setError(undefined);
    const headers = { "idempotency-key": attempts.keyOf(JSON.stringify(create)) };
    try {
      const { body: session } = await call("createSession", { body: create }, { headers });
      toasts.done(session.status === "queued" ? "It waits for a wolf" : "Its desktop is being made");
      await navigate({ to: "/sessions/$id", params: { id: session.id } });
    } catch (cause) {
      const failure = cause as ApiFailure;
      attempts.failed(failure);
      const failed = failure.problem?.session_id;
      if (typeof failed === "string") {
        toasts.failed("It did not start", failure);
        await navigate({ to: "/sessions/$id", params: { id: failed } });
        return;
      }
      setError(failure);
    } finally {
      setBusy(false);
    }
  }

  const fields = { draft, change, problems };
  return (
    <form className="create-grid" onSubmit={submit} noValidate>
      <div className="stack">
        <SandboxFields {...fields} />
        <PlaceFields {...fields} />
        <LifeFields {...fields} />
      </div>
      <div className="create-side">
        <PreviewCard preview={preview} isValid={isValid} isPlaced={Object.keys(problems).length > 0}>
          {error && <Failure error={error} />}
          <button
            type="submit"
            className="button button-primary create-go"
            disabled={busy || !canCreate}
            aria-busy={busy}
          >
            {busy ? "Creating …" : "Create session"}
          </button>
        </PreviewCard>
      </div>
    </form>
  );
}
