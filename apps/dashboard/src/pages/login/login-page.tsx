/** An API key, shown once; the browser keeps a cookie instead of it. */
import { useQueryClient } from "@tanstack/react-query";
import { useNavigate, useSearch } from "@tanstack/react-router";
import { type FormEvent, useState } from "react";
import { ApiFailure, call } from "../../api/client.ts";
import { keyOf } from "../../api/queries.ts";
import { Brand } from "../../app/brand.tsx";
import { tellOtherTabs } from "../../app/identity.ts";
import { Field } from "../../ui/controls.tsx";
import { Icon } from "../../ui/icon.tsx";
import { safeNext } from "./safe-next.ts";
import "./login.css";

export function LoginPage() {
  const client = useQueryClient();
  const navigate = useNavigate();
  const { next, over } = useSearch({ strict: false }) as { next?: string; over?: string };
  const [key, setKey] = useState("");
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<string>();

  async function submit(event: FormEvent): Promise<void> {
    event.preventDefault();
    setBusy(true);
    setError(undefined);
    try {
      const { body } = await call("createWebSession", { body: { key: key.trim() } });
      client.clear();
      tellOtherTabs();
      // Only what comes back with the cookie says that the browser has kept it.
      const { body: me } = await call("getMe");
      client.setQueryData(keyOf("getMe"), me ?? body.user);
      await navigate({ to: safeNext(next) as never, replace: true });
    } catch (cause) {
      setError(wordsOf(cause));
    } finally {
      setBusy(false);
    }
  }

  return (
    <main className="login">
      <form className="card login-card" onSubmit={submit}>
        <Brand />
        <h1 className="unseen">Sign in to Wolfpack</h1>
        {over && <p className="muted">Your session here is over. Sign in again to go on.</p>}
        <Field
          label="API key"
          hint="It is shown to the control plane once. The browser keeps a cookie for 12 hours, not the key."
          error={error}
        >
          {(ids) => (
            <input
              {...ids}
              className="input"
              type="password"
              name="api-key"
              autoComplete="current-password"
              // biome-ignore lint/a11y/noAutofocus: the only field of the page
              autoFocus
              required
              placeholder="wpk_…"
              value={key}
              onChange={(event) => setKey(event.target.value)}
            />
          )}
        </Field>
        <button type="submit" className="button button-primary" disabled={busy} aria-busy={busy}>
          <Icon name="access" />
          {busy ? "Signing in …" : "Sign in"}
        </button>
        <p className="muted small">
          No key yet? An admin makes one under Access, or with <code>POST /api/v1/api-keys</code>. The first
          admin's is in the file <code>admin-api-key</code> of the control plane's data directory.
        </p>
      </form>
    </main>
  );
}

function wordsOf(cause: unknown): string {
  if (!(cause instanceof ApiFailure)) return "This failed for a reason that nobody foresaw.";
  if (cause.code === "unauthenticated" && cause.message.includes("bearer"))
    return "The browser did not keep the cookie: it does so only over https, or for localhost.";
  if (cause.code === "unauthenticated") return "This is no valid API key.";
  if (cause.code === "rate-limited") return "Too many attempts: wait a minute.";
  return `${cause.title}: ${cause.message}`;
}
