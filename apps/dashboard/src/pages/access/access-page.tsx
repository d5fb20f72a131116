/** Access: users, their API keys, and how hosts join the fleet. */
import type { Action } from "@wolfpack/api-contract";
import { Tabs } from "radix-ui";
import { Suspense, useEffect, useRef } from "react";
import { mayDo, useMay, useMe, useRead } from "../../api/queries.ts";
import { MaySee } from "../../app/may-see.tsx";
import { useSearchField } from "../../app/search.ts";
import { Icon } from "../../ui/icon.tsx";
import { lazyPart } from "../../ui/part.ts";
import { Skeleton } from "../../ui/states.tsx";
import { many } from "../../ui/text.ts";
import "./access.css";

const UsersTab = lazyPart(() => import("./users-tab.tsx"));
const KeysTab = lazyPart(() => import("./keys-tab.tsx"));
const TokensTab = lazyPart(() => import("./tokens-tab.tsx"));
const AgentKeysTab = lazyPart(() => import("./agent-keys-tab.tsx"));

const tabs = [
  { name: "users", words: "Users", action: "user.read", Tab: UsersTab },
  { name: "keys", words: "API keys", action: "api-key.read", Tab: KeysTab },
  { name: "tokens", words: "Join tokens", action: "join-token.read", Tab: TokensTab },
  { name: "agents", words: "Agents’ keys", action: "agent-key.read", Tab: AgentKeysTab },
] as const satisfies readonly { action: Action; [more: string]: unknown }[];
const actions = tabs.map(({ action }) => action);

export default function Page() {
  return (
    <MaySee title="Access" actions={actions}>
      <AccessPage />
    </MaySee>
  );
}

function AccessPage() {
  const me = useMe();
  const shown = tabs.filter(({ action }) => mayDo(me, action));
  const [wanted, setWanted] = useSearchField("tab", shown[0]?.name ?? "");
  const list = useRef<HTMLDivElement>(null);
  const current = shown.find(({ name }) => name === wanted);
  const mayApprove = useMay("agent-key.approve");
  const pending = useRead("listAgentKeys", { query: { status: "pending" } } as never, {
    enabled: mayApprove,
  });
  const waiting = pending.data ?? [];
  // What is above the tabs is known before they appear, so that it does not push them down.
  const settled = !mayApprove || pending.data !== undefined || pending.error !== null;
  useEffect(() => {
    // Where there is little room, the tab that is shown may lie outside.
    if (wanted !== "")
      list.current?.querySelector("[data-state=active]")?.scrollIntoView({ block: "nearest" });
  }, [wanted]);
  return (
    <div className="page">
      <div className="page-head">
        <h1>Access</h1>
        <span className="muted access-sub">Who may do what, and which hosts belong to the fleet</span>
      </div>
      {waiting.length > 0 && <WaitingKeys number={waiting.length} onShow={() => setWanted("agents")} />}
      {!settled && <TabSkeleton />}
      {settled && (
        <Tabs.Root value={current?.name ?? ""} onValueChange={setWanted} className="stack">
          <Tabs.List ref={list} className="tabs" aria-label="Access">
            {shown.map(({ name, words }) => (
              <Tabs.Trigger key={name} value={name} className="tab">
                {words}
              </Tabs.Trigger>
            ))}
          </Tabs.List>
          {current ? (
            <Tabs.Content value={current.name} tabIndex={-1} className="access-tab">
              <Suspense fallback={<TabSkeleton />}>
                <current.Tab />
              </Suspense>
            </Tabs.Content>
          ) : (
            <p className="muted">This part is not for you to see, or there is none of this name.</p>
          )}
        </Tabs.Root>
      )}
    </div>
  );
}

function TabSkeleton() {
  return (
    <div className="card access-skeleton">
      <Skeleton lines={8} height="1.375rem" />
    </div>
  );
}

interface WaitingKeysProps {
  number: number;
  onShow: () => void;
}

/** A host that cannot come in must not wait for somebody to look into a list. */
function WaitingKeys({ number, onShow }: WaitingKeysProps) {
  return (
    <div className="access-waiting" role="status">
      <Icon name="warning" size={20} />
      <div>
        <strong>{many(number, "host")} with a new key.</strong> The name has had another key, so somebody has
        to say that the host is yours.
      </div>
      <button type="button" className="button push" onClick={onShow}>
        Show
      </button>
    </div>
  );
}
