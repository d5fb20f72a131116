/** What operators do to a wolf: each asks first, says what will happen, and shows why not. */

import { useQueryClient } from "@tanstack/react-query";
import { useNavigate } from "@tanstack/react-router";
import type { WolfInstance } from "@wolfpack/api-contract";
import { type ReactNode, useState } from "react";
import { call } from "../../api/client.ts";
import { keyOf, useMay } from "../../api/queries.ts";
import { wolfChanged, wolfRemoved } from "../../api/wolves.ts";
import { Choice, Field, Menu, type MenuItem } from "../../ui/controls.tsx";
import { Confirm } from "../../ui/dialog.tsx";
import { many, plain } from "../../ui/text.ts";
import { useToasts } from "../../ui/toast.tsx";
import { offered, type Step } from "./offered.ts";

const words: Record<Step, string> = {
  cordon: "Cordon",
  uncordon: "Take back",
  drain: "Drain",
  maintain: "Maintenance",
  retire: "Retire",
  readmit: "End quarantine",
  remove: "Remove",
};
/** As buttons; the rest is in the menu. */
const beside: readonly Step[] = ["cordon", "uncordon", "drain", "retire"];
const grave: readonly Step[] = ["retire", "remove"];

export function Steering({ wolf }: { wolf: WolfInstance }) {
  const maySteer = useMay("wolf.steer");
  const mayRemove = useMay("wolf.remove");
  const [asking, setAsking] = useState<Step>();
  if (!maySteer) return null;
  const steps = offered(wolf).filter((step) => step !== "remove" || mayRemove);
  const inMenu: MenuItem[] = steps
    .filter((step) => !beside.includes(step))
    .map((step) => ({
      label: `${words[step]} …`,
      danger: grave.includes(step),
      onSelect: () => setAsking(step),
    }));
  return (
    <div className="page-actions">
      {steps
        .filter((step) => beside.includes(step))
        .map((step) => (
          <button
            key={step}
            type="button"
            className={grave.includes(step) ? "button button-danger" : "button"}
            onClick={() => setAsking(step)}
          >
            {words[step]}
          </button>
        ))}
      {inMenu.length > 0 && <Menu label="More" items={inMenu} />}
      {asking && <Ask step={asking} wolf={wolf} onClose={() => setAsking(undefined)} />}
    </div>
  );
}

const HOUR = "3600";
const deadlines = [
  ["0", "now"],
  ["900", "15 minutes"],
  ["1800", "30 minutes"],
  [HOUR, "1 hour"],
  ["14400", "4 hours"],
  ["86400", "1 day"],
] as const;
const afterwards = [
  ["cordoned", "stay, without new sessions"],
  ["maintenance", "go into maintenance"],
  ["retired", "be retired"],
] as const;

function Ask({ step, wolf, onClose }: { step: Step; wolf: WolfInstance; onClose: () => void }) {
  const client = useQueryClient();
  const navigate = useNavigate();
  const toasts = useToasts();
  const [reason, setReason] = useState("");
  const [deadline, setDeadline] = useState<string>(HOUR);
  const [then, setThen] = useState<string>("cordoned");
  const name = plain(wolf.name);
  // Nobody is retired with sessions: they have until the deadline, and the page shows how far that is.
  const isLater = step === "retire" && wolf.connected_sandboxes > 0;

  async function run(): Promise<void> {
    const params = { id: wolf.id };
    const body = reason.trim() === "" ? {} : { reason: reason.trim() };
    if (step === "remove") {
      await call("deleteWolf", { params });
      toasts.done(`${name} is removed`);
      wolfRemoved(client, wolf.id);
      await navigate({ to: "/" });
      return;
    }
    const { body: changed } =
      step === "drain" || isLater
        ? await call("drainWolf", {
            params,
            body: {
              ...body,
              deadline_seconds: Number(deadline),
              // biome-ignore lint/suspicious/noThenProperty: a word of the API, in an object that nobody awaits
              then: isLater ? "retired" : (then as "cordoned"),
            },
          })
        : await call(`${step}Wolf`, { params, body });
    client.setQueryData(keyOf("getWolf", { params }), changed);
    wolfChanged(client, wolf.id);
    toasts.done(isLater ? `${name} is being drained, and retired then` : done[step](name));
  }

  return (
    <Confirm
      open
      onOpenChange={(open) => open || onClose()}
      title={`${words[step]}: ${name}`}
      description={what(step, wolf)}
      confirm={words[step]}
      danger={grave.includes(step)}
      {...(grave.includes(step) ? { typed: wolf.name } : {})}
      onConfirm={run}
    >
      {(step === "drain" || isLater) && (
        <div className="wolf-drain-choices">
          <Field label="Sessions have until then">
            {(ids) => <Choice {...ids} value={deadline} onChange={setDeadline} options={deadlines} />}
          </Field>
          {!isLater && (
            <Field label="Then it is to">
              {(ids) => <Choice {...ids} value={then} onChange={setThen} options={afterwards} />}
            </Field>
          )}
        </div>
      )}
      {step !== "remove" && step !== "uncordon" && step !== "readmit" && (
        <Field label="Reason" hint="For whoever looks at the wolf. May be left empty.">
          {(ids) => (
            <input
              {...ids}
              className="input"
              maxLength={200}
              autoComplete="off"
              value={reason}
              onChange={(event) => setReason(event.target.value)}
            />
          )}
        </Field>
      )}
    </Confirm>
  );
}

const done: Record<Exclude<Step, "remove">, (name: string) => string> = {
  cordon: (name) => `${name} gets no new sessions`,
  uncordon: (name) => `${name} takes sessions again`,
  drain: (name) => `${name} is being drained`,
  maintain: (name) => `${name} is in maintenance`,
  retire: (name) => `${name} is retired`,
  readmit: (name) => `The quarantine of ${name} has ended`,
};

function what(step: Step, { connected_sandboxes: live, intent }: WolfInstance): ReactNode {
  const running = live === 0 ? "Nothing runs on it now." : `${many(live, "session")} on it now.`;
  switch (step) {
    case "cordon":
      return `It gets no new sessions; what runs goes on.${intent === "draining" ? " Its drain stops." : ""} ${running}`;
    case "uncordon":
      return "It gets sessions again: undoes cordon, drain, maintenance and retirement.";
    case "drain":
      return `It gets no new sessions. What still runs at the deadline is moved where its disconnect policy says replace, else stopped. ${running}`;
    case "maintain":
      return `It gets no new sessions, and its absence is nothing to be alarmed about. ${running}`;
    case "retire":
      return live === 0
        ? `It leaves the fleet and keeps its history. ${running}`
        : `It leaves the fleet and keeps its history, once nothing lives on it: until the deadline its sessions may go on, then they are moved or stopped. ${running}`;
    case "readmit":
      return "It gets sessions at once, and what led to the quarantine is forgotten.";
    case "remove":
      return `It is deleted with its history, and its agent's keys open nothing any more. Refused while sessions live on it. ${running}`;
  }
}
