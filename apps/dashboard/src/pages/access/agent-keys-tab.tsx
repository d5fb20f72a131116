/** Agents' keys: which host may open a wolf's tunnel, and which waits for somebody's word. */
import type { AgentKey } from "@wolfpack/api-contract";
import { useMemo, useState } from "react";
import { call, serverNow } from "../../api/client.ts";
import { usePages } from "../../api/pages.ts";
import { useMay } from "../../api/queries.ts";
import { useSearchField } from "../../app/search.ts";
import { isWolfId } from "../../fleet/ids.ts";
import { useWolfName, WolfName } from "../../fleet/names.tsx";
import { Badge } from "../../ui/badge.tsx";
import { Choice, CopyButton } from "../../ui/controls.tsx";
import { Confirm } from "../../ui/dialog.tsx";
import { FilterField } from "../../ui/filter-field.tsx";
import { Empty } from "../../ui/states.tsx";
import type { Column } from "../../ui/table.tsx";
import { plain, shortId } from "../../ui/text.ts";
import { Time } from "../../ui/time.tsx";
import { useToasts } from "../../ui/toast.tsx";
import { AccessTable } from "./access-table.tsx";
import { agentKeyState } from "./access-words.ts";
import { useRefresh } from "./refresh.ts";
import { timeColumn } from "./time-column.tsx";

const rowKey = ({ id }: AgentKey) => id;
const statusOptions = [
  ["", "Any status"],
  ["pending", "Waits"],
  ["active", "Active"],
  ["revoked", "Revoked"],
] as const;
interface Asking {
  step: "approve" | "revoke";
  agentKey: AgentKey;
}

export default function AgentKeysTab() {
  const [status, setStatus] = useSearchField("status");
  const [wolf, setWolf] = useSearchField("wolf");
  const [asking, setAsking] = useState<Asking>();
  const mayApprove = useMay("agent-key.approve");
  const mayRevoke = useMay("agent-key.revoke");
  const wolfName = useWolfName(wolf);
  const keys = usePages<AgentKey>("listAgentKeys", {
    status: status || undefined,
    wolf_instance_id: wolf || undefined,
  });
  const columns = useMemo(
    () => columnsFor({ mayApprove, mayRevoke, ask: setAsking }),
    [mayApprove, mayRevoke],
  );
  return (
    <>
      <AccessTable
        label="Agents’ keys"
        className="access-agents"
        pages={keys}
        rows={keys.rows}
        columns={columns}
        rowKey={rowKey}
        sort={{ id: "state", desc: true }}
        empty={<Empty title={status || wolf ? "No key fits" : "No agent has enrolled yet"} icon="access" />}
        tools={
          <>
            <Choice label="Status" value={status} onChange={setStatus} options={statusOptions} />
            <FilterField
              label="Wolf, by id"
              placeholder="Wolf wlf_…"
              value={wolf}
              onChange={setWolf}
              {...(wolf && !isWolfId(wolf) ? { error: "This is no id of a wolf" } : {})}
            />
            {wolfName && <span className="small muted clip">of {plain(wolfName)}</span>}
            <span className="small muted push access-hint">
              Made on the host; only its public half is here
            </span>
          </>
        }
      />
      {asking && <Decide {...asking} onClose={() => setAsking(undefined)} />}
    </>
  );
}

/** What waits comes first, what is over last. */
const rank: Record<AgentKey["status"], number> = { pending: 2, active: 1, revoked: 0 };

interface Offers {
  mayApprove: boolean;
  mayRevoke: boolean;
  ask: (asking: Asking) => void;
}

const columnsFor = ({ mayApprove, mayRevoke, ask }: Offers): readonly Column<AgentKey>[] => [
  {
    id: "wolf",
    header: "Wolf",
    value: ({ wolf_name }) => wolf_name,
    cell: ({ id, wolf_instance_id }) => (
      <span className="two-lines">
        <WolfName id={wolf_instance_id} className="access-name" />
        <code title={plain(id)}>{shortId(id)}</code>
      </span>
    ),
  },
  {
    id: "public",
    header: "Public key",
    width: "12rem",
    keepFrom: 2,
    cell: ({ public_key }) => (
      <span className="row">
        <code className="clip" title={plain(public_key)}>
          {plain(public_key)}
        </code>
        <CopyButton text={public_key} label="Copy the public key" />
      </span>
    ),
  },
  {
    id: "by",
    header: "Enrolled by",
    width: "10rem",
    keepFrom: 2,
    cell: ({ enrolled_by }) => <code title={plain(enrolled_by)}>{shortId(enrolled_by)}</code>,
  },
  timeColumn("last_used_at", { id: "used", header: "Last used", keepFrom: 3 }),
  timeColumn("expires_at", { id: "expires", header: "Expires", keepFrom: 3 }),
  {
    id: "state",
    header: "State",
    width: "7.5rem",
    keepFrom: 4,
    value: ({ status }) => rank[status],
    cell: (key) => {
      const { tone, word } = agentKeyState(key, serverNow());
      return <Badge tone={tone}>{word}</Badge>;
    },
  },
  {
    id: "steps",
    header: "Actions",
    width: "14.5rem",
    align: "end",
    cell: (key) => {
      const name = plain(key.wolf_name, 63);
      const waits = key.status === "pending";
      return (
        <span className="access-steps-cell">
          {waits && mayApprove && (
            <button
              type="button"
              className="button button-primary"
              aria-label={`Approve the key of ${name}`}
              onClick={() => ask({ step: "approve", agentKey: key })}
            >
              Approve
            </button>
          )}
          {agentKeyState(key, serverNow()).alive && mayRevoke && (
            <button
              type="button"
              className="button button-danger"
              aria-label={`${waits ? "Refuse" : "Revoke"} the key of ${name}`}
              onClick={() => ask({ step: "revoke", agentKey: key })}
            >
              {waits ? "Refuse" : "Revoke"}
            </button>
          )}
        </span>
      );
    },
  },
];

function Decide({ step, agentKey, onClose }: Asking & { onClose: () => void }) {
  const refresh = useRefresh("listAgentKeys");
  const toasts = useToasts();
  const name = plain(agentKey.wolf_name, 63);
  const params = { id: agentKey.id };
  const waits = agentKey.status === "pending";
  const revoke = waits ? "Refuse" : "Revoke";
  const description =
    step === "approve"
      ? "It becomes the only active key of this wolf: the tunnel of the key before it ends. Be sure that the host is yours; its agent names this key’s id in its log."
      : waits
        ? "Its agent ends and asks no more; only a new start makes another key."
        : "Its tunnels end and it opens none. What runs on the wolf goes on, out of reach, until its host has another key.";
  return (
    <Confirm
      open
      onOpenChange={(open) => open || onClose()}
      title={step === "approve" ? `Approve this key for ${name}?` : `${revoke} this key of ${name}?`}
      description={description}
      confirm={step === "approve" ? "Approve" : revoke}
      danger={step === "revoke"}
      {...(step === "revoke" && !waits ? { typed: agentKey.wolf_name } : {})}
      onConfirm={async () => {
        await (step === "approve" ? call("approveAgentKey", { params }) : call("revokeAgentKey", { params }));
        toasts.done(step === "approve" ? `The key of ${name} is active` : `The key of ${name} is revoked`);
        void refresh();
      }}
    >
      <dl className="facts">
        <dt>Key</dt>
        <dd>
          <code>{plain(agentKey.id)}</code>
        </dd>
        <dt>Public key</dt>
        <dd>
          <code>{plain(agentKey.public_key)}</code>
        </dd>
        <dt>Made</dt>
        <dd>
          <Time at={agentKey.created_at} />, by <code>{plain(agentKey.enrolled_by)}</code>
        </dd>
      </dl>
    </Confirm>
  );
}
