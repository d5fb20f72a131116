/** When a session ends by itself, and how its end is put off. */

import { useQueryClient } from "@tanstack/react-query";
import type { Session } from "@wolfpack/api-contract";
import { useState } from "react";
import { serverNow } from "../../api/client.ts";
import { keyOf, useCommand } from "../../api/queries.ts";
import { disconnectOf } from "../../fleet/session-words.ts";
import { Choice, Field } from "../../ui/controls.tsx";
import { Confirm } from "../../ui/dialog.tsx";
import { absolute, clockTime, duration } from "../../ui/text.ts";
import { Time, useTicking } from "../../ui/time.tsx";
import { useExact } from "../../ui/time-form.ts";
import { useToasts } from "../../ui/toast.tsx";
import { remaining } from "./remaining.ts";

/** Of a session that lives. */
export function LifeCard({ session, mayTouch }: { session: Session; mayTouch: boolean }) {
  const [extending, setExtending] = useState(false);
  const { spec, queue, status_deadline, expires_at, idle_at, status } = session;
  return (
    <section className="card" aria-labelledby="life-title">
      <div className="card-head">
        <h2 id="life-title">Life</h2>
        {mayTouch && status !== "stopping" && (
          <button type="button" className="button push" onClick={() => setExtending(true)}>
            Extend
          </button>
        )}
      </div>
      <dl className="facts">
        {queue && (
          <>
            <dt>Waits</dt>
            <dd>
              ends <Remaining until={queue.deadline} />
            </dd>
          </>
        )}
        {status_deadline && status !== "queued" && (
          <>
            <dt>Given up</dt>
            <dd>
              <Time at={status_deadline} /> <span className="muted small">if it is still {status} then</span>
            </dd>
          </>
        )}
        <dt>Time to live</dt>
        <dd>
          {expires_at ? (
            <>
              ends <Remaining until={expires_at} />
            </>
          ) : spec.ttl_seconds === null ? (
            "without limit"
          ) : (
            `${duration(spec.ttl_seconds * 1000)} from when it runs`
          )}
        </dd>
        <dt>Idle time</dt>
        <dd>
          {spec.idle_timeout_seconds === null
            ? "without limit"
            : `${duration(spec.idle_timeout_seconds * 1000)} without use`}
          {idle_at && (
            <>
              ; ends <Remaining until={idle_at} />
            </>
          )}
        </dd>
        <dt>Without its wolf</dt>
        <dd>{disconnectOf(spec.disconnect_policy)}</dd>
      </dl>
      {extending && <Extend session={session} onClose={() => setExtending(false)} />}
    </section>
  );
}

/** `in 1 h 59 min`: what is left matters to more than its largest unit. Exactly when, for those who have chosen that. */
function Remaining({ until }: { until: string }) {
  const untilMs = Date.parse(until);
  const exact = useExact();
  const text = useTicking((nowMs) => (exact ? clockTime(untilMs) : remaining(untilMs - nowMs)));
  return (
    <time className={exact ? "figures time-exact" : "figures"} dateTime={until} title={absolute(untilMs)}>
      {text}
    </time>
  );
}

const HOUR = "3600";
const lives = [
  ["900", "15 minutes"],
  [HOUR, "1 hour"],
  ["7200", "2 hours"],
  ["14400", "4 hours"],
  ["28800", "8 hours"],
  ["86400", "1 day"],
  ["604800", "7 days"],
  ["2592000", "30 days"],
] as const;

function Extend({ session, onClose }: { session: Session; onClose: () => void }) {
  const client = useQueryClient();
  const toasts = useToasts();
  const extend = useCommand("extendSession");
  const [seconds, setSeconds] = useState<string>(HOUR);
  const untilMs = serverNow() + Number(seconds) * 1000;
  const isSooner = session.expires_at !== null && untilMs < Date.parse(session.expires_at);
  return (
    <Confirm
      open
      onOpenChange={(open) => open || onClose()}
      title="Extend its time to live"
      description="Counted from now, in place of what was set before. Its idle time stays as it is."
      confirm="Extend"
      onConfirm={async () => {
        const params = { id: session.id };
        const { body } = await extend.mutateAsync({ params, body: { ttl_seconds: Number(seconds) } });
        client.setQueryData(keyOf("getSession", { params }), body);
        toasts.done(
          "It lives until then",
          body.expires_at ? absolute(Date.parse(body.expires_at)) : undefined,
        );
      }}
    >
      <Field
        label="From now on"
        hint={isSooner ? `That is sooner than now: ${absolute(untilMs)}` : `Until ${absolute(untilMs)}`}
      >
        {(ids) => <Choice {...ids} value={seconds} onChange={setSeconds} options={lives} />}
      </Field>
    </Confirm>
  );
}
