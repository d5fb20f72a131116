/** A new session: what is wished for, beside it what would happen now and why, live; then it is made and its page followed. */

import { Link, useNavigate, useSearch } from "@tanstack/react-router";
import { type FormEvent, useCallback, useState } from "react";
import { type ApiFailure, call } from "../../api/client.ts";
import { useMay, useRead } from "../../api/queries.ts";
import type { Search } from "../../app/search.ts";
import { nameOf } from "../../fleet/session-words.ts";
import { Icon } from "../../ui/icon.tsx";
import { Empty, Failure, Loaded, Skeleton } from "../../ui/states.tsx";
import { useToasts } from "../../ui/toast.tsx";
import { againOf } from "./again.ts";
import { createAttempts } from "./attempts.ts";
import { LifeFields, PlaceFields, SandboxFields, usePriorityMax } from "./fields.tsx";
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
      {mayCreate ? <Wish /> : <Empty title="You may look at sessions, not make them" icon="sessions" />}
    </div>
  );
}

/** What a link fills in: a few fields by their names, or all of them `from` another session. */
function Wish() {
  const search = useSearch({ strict: false }) as Search;
  return search.from ? <FormFrom key={search.from} id={search.from} /> : <Form begin={draftOf(search)} />;
}

function FormFrom({ id }: { id: string }) {
  const priorityMax = usePriorityMax();
  // As it was when the form was opened: what is filled in must not change under somebody's hands.
  const session = useRead("getSession", { params: { id } }, { staleTime: Number.POSITIVE_INFINITY });
  return (
    <Loaded query={session} skeleton={<Skeleton lines={12} height="2rem" />}>
      {(shown) => {
        const { draft, missing } = againOf(shown, priorityMax);
        return (
          <>
            <div className="create-from" role="note">
              <p>
                Filled in as{" "}
                <Link to="/sessions/$id" params={{ id: shown.id }}>
                  {nameOf(shown)}
                </Link>{" "}
                was asked for.{missing.length > 0 && " Not carried over:"}
              </p>
              {missing.length > 0 && (
                <ul>
                  {missing.map((one) => (
                    <li key={one} className="wrap">
                      {one}
                    </li>
                  ))}
                </ul>
              )}
            </div>
            <Form begin={draft} />
          </>
        );
      }}
    </Loaded>
  );
}

function Form({ begin }: { begin: Draft }) {
  const navigate = useNavigate();
  const toasts = useToasts();
  const [draft, setDraft] = useState(begin);
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
