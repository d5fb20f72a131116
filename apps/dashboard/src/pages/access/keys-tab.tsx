/** API keys: one's own, and for admins those of everybody. */
import type { ApiKey, User } from "@wolfpack/api-contract";
import { useMemo, useState } from "react";
import { call, serverNow } from "../../api/client.ts";
import { usePages } from "../../api/pages.ts";
import { useMay, useMe } from "../../api/queries.ts";
import { useSearchField } from "../../app/search.ts";
import { UserName, useUserName } from "../../fleet/names.tsx";
import { Badge } from "../../ui/badge.tsx";
import { Choice } from "../../ui/controls.tsx";
import { Confirm } from "../../ui/dialog.tsx";
import { Icon } from "../../ui/icon.tsx";
import { Empty } from "../../ui/states.tsx";
import type { Column } from "../../ui/table.tsx";
import { plain, shortId } from "../../ui/text.ts";
import { useToasts } from "../../ui/toast.tsx";
import { AccessTable } from "./access-table.tsx";
import { apiKeyState } from "./access-words.ts";
import { KeyDialog } from "./key-dialog.tsx";
import { useRefresh } from "./refresh.ts";
import { timeColumn } from "./time-column.tsx";

const rowKey = ({ id }: ApiKey) => id;
const statusOptions = [
  ["", "Not revoked"],
  ["true", "Revoked"],
  ["all", "All keys"],
] as const;

export default function KeysTab() {
  const [user, setUser] = useSearchField("user");
  const [revoked, setRevoked] = useSearchField("revoked");
  const [creating, setCreating] = useState(false);
  const [revoking, setRevoking] = useState<ApiKey>();
  const me = useMe();
  const isKeeper = useMay("user.read");
  const mayCreate = useMay("api-key.create");
  const mayRevoke = useMay("api-key.revoke");
  const userName = useUserName(user);
  const keys = usePages<ApiKey>("listApiKeys", {
    user_id: user || undefined,
    revoked: revoked === "all" ? undefined : revoked || "false",
  });
  const columns = useMemo(
    () => columnsFor(isKeeper, mayRevoke ? setRevoking : undefined),
    [isKeeper, mayRevoke],
  );
  // Also while the name is unread: a key of nobody named would be one's own.
  const owner = user && user !== me?.id ? { id: user, name: userName ?? shortId(user) } : undefined;
  return (
    <>
      <AccessTable
        label="API keys"
        pages={keys}
        rows={keys.rows}
        columns={columns}
        rowKey={rowKey}
        sort={{ id: "created", desc: true }}
        empty={<Empty title={user || revoked ? "No key fits" : "You have no key"} icon="access" />}
        tools={
          <>
            <Choice label="Status" value={revoked} onChange={setRevoked} options={statusOptions} />
            {isKeeper && <UserChoice value={user} onChange={setUser} />}
            {mayCreate && (
              <button type="button" className="button button-primary push" onClick={() => setCreating(true)}>
                <Icon name="create" />
                New API key
              </button>
            )}
          </>
        }
      />
      {creating && <KeyDialog owner={owner} onClose={() => setCreating(false)} />}
      {revoking && <RevokeKey apiKey={revoking} onClose={() => setRevoking(undefined)} />}
    </>
  );
}

/** For those who may read users. */
function UserChoice({ value, onChange }: { value: string; onChange: (id: string) => void }) {
  const { rows } = usePages<User>("listUsers");
  const options = useMemo(() => {
    const named = (rows ?? []).map(({ id, name }) => [id, plain(name, 60)] as const);
    named.sort(([, a], [, b]) => a.localeCompare(b));
    // What a link asks for stays chosen.
    if (value !== "" && !named.some(([id]) => id === value)) named.push([value, shortId(value)]);
    return [["", "Any user"] as const, ...named];
  }, [rows, value]);
  return <Choice label="User" value={value} onChange={onChange} options={options} />;
}

const columnsFor = (
  isKeeper: boolean,
  revoke: ((key: ApiKey) => void) | undefined,
): readonly Column<ApiKey>[] => [
  {
    id: "name",
    header: "Key",
    value: ({ name }) => name,
    cell: ({ name, prefix }) => (
      <span className="two-lines">
        <span className="access-name" title={plain(name)}>
          {plain(name)}
        </span>
        <code>{plain(prefix, 30)}…</code>
      </span>
    ),
  },
  ...(isKeeper
    ? [
        {
          id: "user",
          header: "User",
          width: "11rem",
          keepFrom: 3,
          cell: ({ user_id }) => <UserName id={user_id} />,
        } satisfies Column<ApiKey>,
      ]
    : []),
  {
    id: "scopes",
    header: "May do",
    width: "13rem",
    keepFrom: 2,
    cell: ({ scopes }) =>
      scopes === null ? (
        <span className="muted">all that its user may</span>
      ) : (
        <span className="row">
          {scopes.map((scope) => (
            <code key={scope} className="access-scope">
              {plain(scope, 20)}
            </code>
          ))}
        </span>
      ),
  },
  timeColumn("created_at", { id: "created", header: "Created", keepFrom: 2 }),
  timeColumn("last_used_at", { id: "used", header: "Last used", keepFrom: 3 }),
  timeColumn("expires_at", { id: "expires", header: "Expires", keepFrom: 4 }),
  {
    id: "state",
    header: "State",
    width: "7rem",
    value: (key) => apiKeyState(key, serverNow()).word,
    cell: (key) => {
      const { tone, word } = apiKeyState(key, serverNow());
      return <Badge tone={tone}>{word}</Badge>;
    },
  },
  {
    id: "revoke",
    header: "Actions",
    width: "8rem",
    align: "end",
    cell: (key) =>
      revoke && apiKeyState(key, serverNow()).alive ? (
        <button
          type="button"
          className="button button-danger"
          aria-label={`Revoke ${plain(key.name, 60)}`}
          onClick={() => revoke(key)}
        >
          Revoke
        </button>
      ) : null,
  },
];

function RevokeKey({ apiKey, onClose }: { apiKey: ApiKey; onClose: () => void }) {
  const isMine = useMe()?.id === apiKey.user_id;
  const refresh = useRefresh("listApiKeys");
  const toasts = useToasts();
  return (
    <Confirm
      open
      onOpenChange={(open) => open || onClose()}
      title={`Revoke ${plain(apiKey.name, 60)}?`}
      description={
        <>
          <code>{plain(apiKey.prefix, 30)}…</code> opens nothing any more, and browsers that signed in with it
          are signed out{isMine && "; this one too, if it did"}. It cannot be taken back.
        </>
      }
      confirm="Revoke"
      danger
      onConfirm={async () => {
        await call("revokeApiKey", { params: { id: apiKey.id } });
        toasts.done(`${apiKey.name} is revoked`);
        void refresh();
      }}
    />
  );
}
