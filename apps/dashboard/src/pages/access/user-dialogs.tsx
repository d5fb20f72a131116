/** Making a user, changing what one may do, taking it back for a while. */
import type { Role, User } from "@wolfpack/api-contract";
import { useState } from "react";
import { call } from "../../api/client.ts";
import { useMay, useMe } from "../../api/queries.ts";
import { Field } from "../../ui/controls.tsx";
import { Confirm } from "../../ui/dialog.tsx";
import { plain, sentence } from "../../ui/text.ts";
import { useToasts } from "../../ui/toast.tsx";
import { roleNames, roleWords, wholeNumber } from "./access-words.ts";
import { FormDialog, Options } from "./form-dialog.tsx";
import { KeyDialog } from "./key-dialog.tsx";
import { useRefresh } from "./refresh.ts";

const NAME_MAX = 100;
const QUOTA_MAX = 100_000;
const roleOptions = roleNames.map((role) => [role, sentence(role), roleWords[role]] as const);

export function NewUser({ onClose }: { onClose: () => void }) {
  const [name, setName] = useState("");
  const [role, setRole] = useState<Role>("user");
  const [made, setMade] = useState<User>();
  const mayKey = useMay("api-key.create");
  const refresh = useRefresh("listUsers");
  const toasts = useToasts();
  if (made) return <KeyDialog owner={made} isNew onClose={onClose} />;
  async function create(): Promise<void> {
    const { body } = await call("createUser", { body: { name: name.trim(), role } });
    toasts.done(`${body.name} is a user now`);
    void refresh();
    if (mayKey) setMade(body);
    else onClose();
  }
  return (
    <FormDialog
      title="New user"
      submit="Create"
      disabled={name.trim() === ""}
      onClose={onClose}
      onSubmit={create}
    >
      <Field label="Name" hint="Each name once; it cannot be changed.">
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
      <Options legend="Role" name="role" value={role} options={roleOptions} onChange={setRole} />
    </FormDialog>
  );
}

const textOf = (quota: number | null): string => (quota === null ? "" : String(quota));

export function EditUser({ user, onClose }: { user: User; onClose: () => void }) {
  const [role, setRole] = useState(user.role);
  const [sessions, setSessions] = useState(textOf(user.sessions_max));
  const [creates, setCreates] = useState(textOf(user.creates_per_minute));
  const refresh = useRefresh("listUsers", "getMe");
  const toasts = useToasts();
  const me = useMe();
  const quota = (text: string) => (text.trim() === "" ? null : wholeNumber(text, 0, QUOTA_MAX));
  const [sessionsMax, createsMax] = [quota(sessions), quota(creates)];
  const wrong = "A whole number, or nothing";
  // Only what was changed here: the rest may have been changed by somebody else meanwhile.
  const changes = {
    ...(role === user.role ? {} : { role }),
    ...(sessionsMax === undefined || sessionsMax === user.sessions_max ? {} : { sessions_max: sessionsMax }),
    ...(createsMax === undefined || createsMax === user.creates_per_minute
      ? {}
      : { creates_per_minute: createsMax }),
  };
  async function save(): Promise<void> {
    await call("updateUser", { params: { id: user.id }, body: changes });
    toasts.done(`${user.name} is changed`);
    void refresh();
    onClose();
  }
  const invalid = sessionsMax === undefined || createsMax === undefined;
  return (
    <FormDialog
      title={`Role and limits: ${plain(user.name, 60)}`}
      description={
        user.id === me?.id
          ? "This is you: a lower role holds from the next call on."
          : "From the next call on."
      }
      submit="Save"
      disabled={invalid || Object.keys(changes).length === 0}
      onClose={onClose}
      onSubmit={save}
    >
      <Options legend="Role" name="role" value={role} options={roleOptions} onChange={setRole} />
      <div className="access-fields">
        <Field
          label="Sessions at once"
          hint="Nothing: the default"
          error={sessionsMax === undefined ? wrong : undefined}
        >
          {(ids) => (
            <input
              {...ids}
              className="input"
              inputMode="numeric"
              value={sessions}
              onChange={(event) => setSessions(event.target.value)}
            />
          )}
        </Field>
        <Field
          label="New sessions a minute"
          hint="Nothing: the default"
          error={createsMax === undefined ? wrong : undefined}
        >
          {(ids) => (
            <input
              {...ids}
              className="input"
              inputMode="numeric"
              value={creates}
              onChange={(event) => setCreates(event.target.value)}
            />
          )}
        </Field>
      </div>
    </FormDialog>
  );
}

export function DisableUser({ user, onClose }: { user: User; onClose: () => void }) {
  const refresh = useRefresh("listUsers");
  const toasts = useToasts();
  const me = useMe();
  const name = plain(user.name, 60);
  return (
    <Confirm
      open
      onOpenChange={(open) => open || onClose()}
      title={user.disabled ? `Enable ${name}?` : `Disable ${name}?`}
      description={
        user.disabled ? (
          "Their keys open what they did before. Their browsers have to sign in again."
        ) : (
          <>
            None of their keys opens anything until they are enabled, and their browsers are signed out. Their
            sessions go on: stop them if they must not.
            {user.id === me?.id && <strong> This is you.</strong>}
          </>
        )
      }
      confirm={user.disabled ? "Enable" : "Disable"}
      danger={!user.disabled}
      onConfirm={async () => {
        await call("updateUser", { params: { id: user.id }, body: { disabled: !user.disabled } });
        toasts.done(user.disabled ? `${user.name} is enabled` : `${user.name} is disabled`);
        void refresh();
      }}
    />
  );
}
