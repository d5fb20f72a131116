/** Users: who there is, what they may do, and who is disabled. */
import { Link } from "@tanstack/react-router";
import type { User } from "@wolfpack/api-contract";
import { useMemo, useState } from "react";
import { usePages } from "../../api/pages.ts";
import { useMay, useMe } from "../../api/queries.ts";
import { useSearchField } from "../../app/search.ts";
import { Badge } from "../../ui/badge.tsx";
import { Choice, Menu, type MenuItem, SearchField } from "../../ui/controls.tsx";
import { Icon } from "../../ui/icon.tsx";
import { Empty } from "../../ui/states.tsx";
import type { Column } from "../../ui/table.tsx";
import { plain, sentence, shortId } from "../../ui/text.ts";
import { AccessTable } from "./access-table.tsx";
import { roleNames } from "./access-words.ts";
import { KeyDialog } from "./key-dialog.tsx";
import { timeColumn } from "./time-column.tsx";
import { DisableUser, EditUser, NewUser } from "./user-dialogs.tsx";

type Step = "edit" | "disable" | "key";
interface Asking {
  step: Step;
  user: User;
}

const rowKey = ({ id }: User) => id;
const roleOptions = [["", "Any role"], ...roleNames.map((role) => [role, sentence(role)] as const)] as const;
const statusOptions = [
  ["", "Any status"],
  ["false", "Active"],
  ["true", "Disabled"],
] as const;

export default function UsersTab() {
  const [text, setText] = useSearchField("q");
  const [role, setRole] = useSearchField("role");
  const [disabled, setDisabled] = useSearchField("disabled");
  const [asking, setAsking] = useState<Asking>();
  const [creating, setCreating] = useState(false);
  const mayCreate = useMay("user.create");
  const mayChange = useMay("user.change");
  const mayKey = useMay("api-key.create");
  const mayReadKeys = useMay("api-key.read");
  const me = useMe();
  const users = usePages<User>("listUsers", { role: role || undefined, disabled: disabled || undefined });
  const found = useMemo(() => {
    const wanted = text.trim().toLowerCase();
    const fits = ({ name, id }: User) => name.toLowerCase().includes(wanted) || id.toLowerCase() === wanted;
    return wanted === "" ? users.rows : users.rows?.filter(fits);
  }, [users.rows, text]);
  const columns = useMemo(
    () =>
      columnsFor(
        me?.id,
        (user) => {
          const item = (label: string, step: Step, danger = false): MenuItem => ({
            label: `${label} …`,
            danger,
            onSelect: () => setAsking({ step, user }),
          });
          return [
            ...(mayChange ? [item("Role and limits", "edit")] : []),
            ...(mayKey && !user.disabled ? [item("New API key", "key")] : []),
            ...(mayChange ? [item(user.disabled ? "Enable" : "Disable", "disable", !user.disabled)] : []),
          ];
        },
        mayReadKeys,
      ),
    [me?.id, mayChange, mayKey, mayReadKeys],
  );
  const close = () => setAsking(undefined);

  return (
    <>
      <AccessTable
        label="Users"
        className="access-menus access-users"
        pages={users}
        rows={found}
        columns={columns}
        rowKey={rowKey}
        sort={{ id: "name", desc: false }}
        empty={<Empty title={text || role || disabled ? "No user fits" : "There are no users"} icon="user" />}
        tools={
          <>
            <SearchField label="Search users" placeholder="Name" value={text} onChange={setText} />
            <Choice label="Role" value={role} onChange={setRole} options={roleOptions} />
            <Choice label="Status" value={disabled} onChange={setDisabled} options={statusOptions} />
            {mayCreate && (
              <button type="button" className="button button-primary push" onClick={() => setCreating(true)}>
                <Icon name="create" />
                New user
              </button>
            )}
          </>
        }
      />
      {creating && <NewUser onClose={() => setCreating(false)} />}
      {asking?.step === "edit" && <EditUser user={asking.user} onClose={close} />}
      {asking?.step === "disable" && <DisableUser user={asking.user} onClose={close} />}
      {asking?.step === "key" && <KeyDialog owner={asking.user} onClose={close} />}
    </>
  );
}

const columnsFor = (
  myId: string | undefined,
  menuOf: (user: User) => MenuItem[],
  mayReadKeys: boolean,
): readonly Column<User>[] => [
  {
    id: "name",
    header: "Name",
    value: ({ name }) => name,
    cell: ({ id, name }) => (
      <span className="two-lines">
        <span className="access-name" title={plain(name)}>
          {plain(name)}
          {id === myId && <span className="muted"> (you)</span>}
        </span>
        <code title={plain(id)}>{shortId(id)}</code>
      </span>
    ),
  },
  {
    id: "role",
    header: "Role",
    width: "7rem",
    value: ({ role }) => role,
    cell: ({ role }) => sentence(role),
  },
  {
    id: "status",
    header: "Status",
    width: "8rem",
    keepFrom: 4,
    value: ({ disabled }) => (disabled ? 1 : 0),
    cell: ({ disabled }) =>
      disabled ? <Badge tone="danger">Disabled</Badge> : <Badge tone="ok">Active</Badge>,
  },
  {
    id: "limits",
    header: "Limits",
    width: "12rem",
    keepFrom: 2,
    cell: ({ sessions_max, creates_per_minute }) => (
      <span className="two-lines">
        <span>{limit(sessions_max, "sessions")}</span>
        <span>{limit(creates_per_minute, "new a minute")}</span>
      </span>
    ),
  },
  {
    id: "keys",
    header: "Keys",
    width: "5rem",
    keepFrom: 3,
    cell: ({ id }) =>
      mayReadKeys ? (
        <Link to="/access" search={{ tab: "keys", user: id } as never}>
          Show
        </Link>
      ) : null,
  },
  timeColumn("created_at", { id: "created", header: "Created", width: "8rem", keepFrom: 3 }),
  {
    id: "menu",
    header: "Actions",
    width: "4rem",
    align: "end",
    cell: (user) => {
      const items = menuOf(user);
      return items.length > 0 ? <Menu label={`Change ${plain(user.name, 60)}`} items={items} /> : null;
    },
  },
];

const limit = (value: number | null, what: string) =>
  value === null ? `${what}: default` : `${what}: ${value}`;
