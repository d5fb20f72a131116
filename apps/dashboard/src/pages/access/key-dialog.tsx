/** Making an API key, and showing it once. */
import type { CreatedApiKey, Scope, User } from "@wolfpack/api-contract";
import { useState } from "react";
import { call } from "../../api/client.ts";
import { useMe } from "../../api/queries.ts";
import { Choice, Field } from "../../ui/controls.tsx";
import { plain } from "../../ui/text.ts";
import { keyLives, scopeNames, scopeWords } from "./access-words.ts";
import { FormDialog, Options } from "./form-dialog.tsx";
import { useRefresh } from "./refresh.ts";
import { SecretDialog } from "./secret-dialog.tsx";

interface KeyDialogProps {
  /** Whose it will be; left out: of whoever is signed in. */
  owner?: Pick<User, "id" | "name"> | undefined;
  /** The owner was made a moment ago and has none yet. */
  isNew?: boolean;
  onClose: () => void;
}

const NAME_MAX = 100;
const reach = [
  ["all", "Everything that its user may do", "Or what the key you signed in with may, if that is less"],
  ["some", "Only some of it", "Best for programs: what it does not need, nobody can do with it"],
] as const;

export function KeyDialog({ owner, isNew = false, onClose }: KeyDialogProps) {
  const [name, setName] = useState(isNew ? "first key" : "");
  const [limited, setLimited] = useState<"all" | "some">("all");
  const [scopes, setScopes] = useState<readonly Scope[]>(["read"]);
  const [life, setLife] = useState<string>(isNew ? "" : keyLives[3][0]);
  const [made, setMade] = useState<CreatedApiKey>();
  const me = useMe();
  const refresh = useRefresh("listApiKeys");
  const isMine = owner === undefined || owner.id === me?.id;
  const whose = isMine ? "" : ` of ${plain(owner.name, 60)}`;
  if (made)
    return (
      <SecretDialog title={`API key${whose}`} what="API key" secret={made.key} onClose={onClose}>
        <p className="small muted">
          Sent as <code>Authorization: Bearer …</code>, or typed in where this dashboard asks for it.
        </p>
      </SecretDialog>
    );

  async function create(): Promise<void> {
    // Not by a mutation of the cache, which would keep the answer.
    const { body } = await call("createApiKey", {
      body: {
        name: name.trim(),
        ...(isMine ? {} : { user_id: owner.id }),
        ...(life === "" ? {} : { expires_in_seconds: Number(life) }),
        ...(limited === "all" ? {} : { scopes: [...scopes] }),
      },
    });
    void refresh();
    setMade(body);
  }
  const toggle = (scope: Scope, on: boolean) =>
    setScopes(scopeNames.filter((one) => (one === scope ? on : scopes.includes(one))));
  return (
    <FormDialog
      title={isNew ? `A first key${whose}` : `New API key${whose}`}
      description={isNew ? "The user is made. Without a key nobody can sign in as them." : undefined}
      submit="Create"
      disabled={name.trim() === "" || (limited === "some" && scopes.length === 0)}
      onClose={onClose}
      onSubmit={create}
    >
      <Field label="Name" hint="What it is for: one for every program.">
        {(ids) => (
          <input
            {...ids}
            className="input"
            maxLength={NAME_MAX}
            autoComplete="off"
            value={name}
            onChange={(event) => setName(event.target.value)}
          />
        )}
      </Field>
      <Field label="Expires">
        {(ids) => <Choice {...ids} value={life} onChange={setLife} options={keyLives} />}
      </Field>
      <Options legend="It may do" name="reach" value={limited} options={reach} onChange={setLimited} />
      {limited === "some" && (
        <fieldset className="access-options access-scopes">
          <legend className="unseen">Scopes</legend>
          {scopeNames.map((scope) => (
            <label key={scope} className="check">
              <input
                type="checkbox"
                checked={scopes.includes(scope)}
                onChange={(event) => toggle(scope, event.target.checked)}
              />
              <span>
                <code>{scope}</code> <span className="small muted">{scopeWords[scope]}</span>
              </span>
            </label>
          ))}
        </fieldset>
      )}
    </FormDialog>
  );
}
