/** Making a join token, and showing it once with the commands for its host. */
import type { CreatedJoinToken } from "@wolfpack/api-contract";
import { useState } from "react";
import { call } from "../../api/client.ts";
import { Choice, Field } from "../../ui/controls.tsx";
import { plain } from "../../ui/text.ts";
import { parseLabels, tokenLives, wholeNumber, wolfNameError } from "./access-words.ts";
import { AgentCommandsPanel } from "./agent-commands-panel.tsx";
import { FormDialog, Options } from "./form-dialog.tsx";
import { useRefresh } from "./refresh.ts";
import { SecretDialog } from "./secret-dialog.tsx";

const USES_MAX = 1000;
const kinds = [
  ["one", "One host, by name", "Best: it enrols this name only, also when the name has had another key"],
  [
    "any",
    "Any hosts",
    "For many at once, such as the nodes of Kubernetes; names that are taken wait for approval",
  ],
] as const;

export function TokenDialog({ onClose }: { onClose: () => void }) {
  const [kind, setKind] = useState<"one" | "any">("one");
  const [name, setName] = useState("");
  const [uses, setUses] = useState("1");
  const [labelText, setLabelText] = useState("");
  const [life, setLife] = useState<string>(tokenLives[1][0]);
  const [made, setMade] = useState<CreatedJoinToken>();
  const refresh = useRefresh("listJoinTokens");
  if (made)
    return (
      <SecretDialog
        title={made.wolf_name === null ? "Join token" : `Join token for ${plain(made.wolf_name, 63)}`}
        what="join token"
        secret={made.token}
        wide
        onClose={onClose}
      >
        <AgentCommandsPanel token={made} />
      </SecretDialog>
    );

  const labels = parseLabels(labelText);
  const usesMax = wholeNumber(uses, 1, USES_MAX);
  const nameError = name === "" ? undefined : wolfNameError(name);
  const isOne = kind === "one";
  const complete = isOne ? name !== "" && nameError === undefined : usesMax !== undefined;
  async function create(): Promise<void> {
    if ("error" in labels) return;
    // Not by a mutation of the cache, which would keep the answer.
    const { body } = await call("createJoinToken", {
      body: {
        ...(isOne ? { wolf_name: name } : { uses_max: usesMax }),
        labels: labels.labels,
        expires_in_seconds: Number(life),
      } as never,
    });
    void refresh();
    setMade(body);
  }
  return (
    <FormDialog
      title="New join token"
      description="With it a GPU host becomes a wolf: it gets a key of its own, and the token is used up."
      submit="Create"
      disabled={!complete || "error" in labels}
      onClose={onClose}
      onSubmit={create}
    >
      <Options legend="For" name="kind" value={kind} options={kinds} onChange={setKind} />
      {isOne ? (
        <Field
          label="Name of the wolf"
          hint="As it will be called in the fleet, such as gpu-1"
          error={nameError}
        >
          {(ids) => (
            <input
              {...ids}
              className="input"
              autoComplete="off"
              spellCheck={false}
              value={name}
              onChange={(event) => setName(event.target.value.trim())}
            />
          )}
        </Field>
      ) : (
        <Field
          label="Hosts"
          hint="How many may enrol with it"
          error={usesMax === undefined ? `A whole number from 1 to ${USES_MAX}` : undefined}
        >
          {(ids) => (
            <input
              {...ids}
              className="input"
              inputMode="numeric"
              value={uses}
              onChange={(event) => setUses(event.target.value)}
            />
          )}
        </Field>
      )}
      <Field label="Expires">
        {(ids) => <Choice {...ids} value={life} onChange={setLife} options={tokenLives} />}
      </Field>
      <Field
        label="Labels"
        hint="zone=eu-1a, tier=gold; sessions may ask for them. May be left empty."
        error={"error" in labels ? labels.error : undefined}
      >
        {(ids) => (
          <input
            {...ids}
            className="input"
            autoComplete="off"
            spellCheck={false}
            value={labelText}
            onChange={(event) => setLabelText(event.target.value)}
          />
        )}
      </Field>
    </FormDialog>
  );
}
