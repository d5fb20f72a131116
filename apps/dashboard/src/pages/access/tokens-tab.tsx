/** Join tokens: with one a host becomes a wolf. */
import type { JoinToken } from "@wolfpack/api-contract";
import { useMemo, useState } from "react";
import { call, serverNow } from "../../api/client.ts";
import { usePages } from "../../api/pages.ts";
import { useMay } from "../../api/queries.ts";
import { useSearchField } from "../../app/search.ts";
import { UserName } from "../../fleet/names.tsx";
import { Badge } from "../../ui/badge.tsx";
import { Choice, Menu, type MenuItem } from "../../ui/controls.tsx";
import { Confirm, Dialog } from "../../ui/dialog.tsx";
import { Icon } from "../../ui/icon.tsx";
import { Empty } from "../../ui/states.tsx";
import type { Column } from "../../ui/table.tsx";
import { plain, shortId } from "../../ui/text.ts";
import { useToasts } from "../../ui/toast.tsx";
import { AccessTable } from "./access-table.tsx";
import { joinTokenState } from "./access-words.ts";
import { AgentCommandsPanel } from "./agent-commands-panel.tsx";
import { useRefresh } from "./refresh.ts";
import { timeColumn } from "./time-column.tsx";
import { TokenDialog } from "./token-dialog.tsx";

const rowKey = ({ id }: JoinToken) => id;
const stateOptions = [
  ["", "Open"],
  ["all", "All tokens"],
] as const;
interface Asking {
  step: "commands" | "revoke";
  token: JoinToken;
}

export default function TokensTab() {
  const [state, setState] = useSearchField("state");
  const [creating, setCreating] = useState(false);
  const [asking, setAsking] = useState<Asking>();
  const mayCreate = useMay("join-token.create");
  const mayRevoke = useMay("join-token.revoke");
  const tokens = usePages<JoinToken>("listJoinTokens");
  const rows = useMemo(
    () =>
      state === "all"
        ? tokens.rows
        : tokens.rows?.filter((token) => joinTokenState(token, serverNow()).alive),
    [tokens.rows, state],
  );
  const columns = useMemo(
    () =>
      columnsFor((token) => [
        { label: "Commands for the host …", onSelect: () => setAsking({ step: "commands", token }) },
        ...(mayRevoke
          ? [{ label: "Revoke …", danger: true, onSelect: () => setAsking({ step: "revoke", token }) }]
          : []),
      ]),
    [mayRevoke],
  );
  const close = () => setAsking(undefined);
  return (
    <>
      <AccessTable
        label="Join tokens"
        className="access-menus"
        pages={tokens}
        rows={rows}
        columns={columns}
        rowKey={rowKey}
        sort={{ id: "created", desc: true }}
        empty={
          <Empty title={state === "all" ? "No token has been made" : "No token is open"} icon="access">
            With a join token a GPU host becomes a wolf of the fleet.
          </Empty>
        }
        tools={
          <>
            <Choice label="State" value={state} onChange={setState} options={stateOptions} />
            {mayCreate && (
              <button type="button" className="button button-primary push" onClick={() => setCreating(true)}>
                <Icon name="create" />
                New join token
              </button>
            )}
          </>
        }
      />
      {creating && <TokenDialog onClose={() => setCreating(false)} />}
      {asking?.step === "commands" && <CommandsDialog token={asking.token} onClose={close} />}
      {asking?.step === "revoke" && <RevokeToken token={asking.token} onClose={close} />}
    </>
  );
}

const columnsFor = (menuOf: (token: JoinToken) => MenuItem[]): readonly Column<JoinToken>[] => [
  {
    id: "name",
    header: "For",
    value: ({ wolf_name }) => wolf_name,
    cell: ({ id, wolf_name }) => (
      <span className="two-lines">
        {wolf_name === null ? (
          <span>Any free name</span>
        ) : (
          <span className="access-name" title={plain(wolf_name)}>
            {plain(wolf_name)}
          </span>
        )}
        <code title={plain(id)}>{shortId(id)}</code>
      </span>
    ),
  },
  {
    id: "uses",
    header: "Used",
    width: "6.5rem",
    keepFrom: 4,
    value: ({ uses }) => uses,
    cell: ({ uses, uses_max }) => (
      <span className="figures">
        {uses} of {uses_max}
      </span>
    ),
  },
  {
    id: "labels",
    header: "Labels",
    keepFrom: 2,
    cell: ({ labels }) => {
      const text = Object.entries(labels)
        .map(([name, value]) => `${plain(name, 63)}=${plain(value, 60)}`)
        .join(" ");
      return text === "" ? <span className="muted">none</span> : <code title={text}>{text}</code>;
    },
  },
  {
    id: "by",
    header: "By",
    width: "9rem",
    keepFrom: 2,
    cell: ({ created_by }) => <UserName id={created_by} />,
  },
  timeColumn("created_at", { id: "created", header: "Created", keepFrom: 3 }),
  timeColumn("expires_at", { id: "expires", header: "Expires", keepFrom: 3 }),
  {
    id: "state",
    header: "State",
    width: "7.5rem",
    value: (token) => joinTokenState(token, serverNow()).word,
    cell: (token) => {
      const { tone, word } = joinTokenState(token, serverNow());
      return <Badge tone={tone}>{word}</Badge>;
    },
  },
  {
    id: "menu",
    header: "Actions",
    width: "4rem",
    align: "end",
    cell: (token) =>
      joinTokenState(token, serverNow()).alive ? (
        <Menu label={`Join token ${shortId(token.id)}`} items={menuOf(token)} />
      ) : null,
  },
];

function CommandsDialog({ token, onClose }: { token: JoinToken; onClose: () => void }) {
  return (
    <Dialog
      open
      wide
      onOpenChange={(open) => open || onClose()}
      title={token.wolf_name === null ? "Commands for a host" : `Commands for ${plain(token.wolf_name, 63)}`}
      description="The token itself was shown when it was made. Where it is lost, revoke this one and make another."
    >
      <AgentCommandsPanel token={token} />
    </Dialog>
  );
}

function RevokeToken({ token, onClose }: { token: JoinToken; onClose: () => void }) {
  const refresh = useRefresh("listJoinTokens");
  const toasts = useToasts();
  return (
    <Confirm
      open
      onOpenChange={(open) => open || onClose()}
      title="Revoke this join token?"
      description={
        <>
          <code>{plain(token.id)}</code> enrols nobody any more. Hosts that have enrolled with it keep their
          keys.
        </>
      }
      confirm="Revoke"
      danger
      onConfirm={async () => {
        await call("revokeJoinToken", { params: { id: token.id } });
        toasts.done("The join token is revoked");
        void refresh();
      }}
    />
  );
}
