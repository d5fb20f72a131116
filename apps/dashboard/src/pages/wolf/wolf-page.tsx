/** One wolf: what it is, how it does, what runs on it, and how it is steered. */

import { Link, useNavigate, useParams } from "@tanstack/react-router";
import type { WolfInstance } from "@wolfpack/api-contract";
import { Tabs } from "radix-ui";
import { Suspense, useEffect, useRef } from "react";
import { useMay, useRead } from "../../api/queries.ts";
import { useSearchField } from "../../app/search.ts";
import { stateOf } from "../../fleet/wolf-words.ts";
import { Badge } from "../../ui/badge.tsx";
import { Icon } from "../../ui/icon.tsx";
import { lazyPart } from "../../ui/part.ts";
import { Loaded, Skeleton } from "../../ui/states.tsx";
import { plain } from "../../ui/text.ts";
import { ClockWarning } from "./clock-warning.tsx";
import { DrainProgress, Retired } from "./drain-progress.tsx";
import { Overview } from "./overview.tsx";
import { Steering } from "./steering.tsx";
import "./wolf.css";

const SessionsTab = lazyPart(() => import("./sessions-tab.tsx"));
const TunnelTab = lazyPart(() => import("./tunnel-tab.tsx"));
const EventsTab = lazyPart(() => import("./events-tab.tsx"));
const CapabilitiesTab = lazyPart(() => import("./capabilities-tab.tsx"));
const PolicyTab = lazyPart(() => import("./policy-tab.tsx"));

const tabs = [
  ["overview", "Overview"],
  ["sessions", "Sessions"],
  ["tunnel", "Tunnel"],
  ["events", "Events"],
  ["capabilities", "Capabilities"],
  ["policy", "Policy"],
] as const;
/** Figures of a host change without an event. */
const FIGURES_MS = 15_000;

export default function WolfPage() {
  const { id = "" } = useParams({ strict: false });
  const wolf = useRead("getWolf", { params: { id } }, { refetchInterval: FIGURES_MS });
  const navigate = useNavigate();
  const foundId = wolf.data?.id;
  // A link may have its name; what happens to it is told by its id.
  useEffect(() => {
    if (foundId !== undefined && foundId !== id)
      void navigate({ to: "/wolves/$id", params: { id: foundId }, search: true as never, replace: true });
  }, [foundId, id, navigate]);
  return (
    <div className="page">
      <Link to="/" className="wolf-back row small">
        <Icon name="back" size={14} />
        Fleet
      </Link>
      <Loaded query={wolf} skeleton={<WolfSkeleton />}>
        {(shown) => <Shown wolf={shown} />}
      </Loaded>
    </div>
  );
}

function Shown({ wolf }: { wolf: WolfInstance }) {
  const [tab, setTab] = useSearchField("tab", "overview");
  const mayInspect = useMay("wolf.inspect");
  const { word, tone, reason } = stateOf(wolf);
  const shown = tabs.filter(([name]) => name !== "policy" || mayInspect);
  const current = shown.some(([name]) => name === tab) ? tab : "overview";
  const list = useRef<HTMLDivElement>(null);
  // On a phone not all of them fit.
  useEffect(() => {
    const active = list.current?.querySelector(`[data-tab="${current}"]`);
    active?.scrollIntoView({ block: "nearest", inline: "nearest" });
  }, [current]);
  return (
    <>
      <div className="page-head">
        <h1 className="wrap">{plain(wolf.name)}</h1>
        <Badge tone={tone}>{word}</Badge>
        {reason && <span className="muted wrap">{reason}</span>}
        <Steering wolf={wolf} />
      </div>
      {wolf.drain && wolf.intent === "draining" && <DrainProgress wolf={wolf} drain={wolf.drain} />}
      {wolf.intent === "retired" && <Retired wolf={wolf} />}
      <ClockWarning wolf={wolf} />
      <Tabs.Root value={current} onValueChange={setTab} className="stack">
        <Tabs.List ref={list} className="tabs" aria-label="About this wolf">
          {shown.map(([name, words]) => (
            <Tabs.Trigger key={name} value={name} data-tab={name} className="tab">
              {words}
            </Tabs.Trigger>
          ))}
        </Tabs.List>
        <Tabs.Content value={current} className="wolf-tab" tabIndex={-1}>
          <Suspense fallback={<TabSkeleton />}>
            {current === "overview" && <Overview wolf={wolf} />}
            {current === "sessions" && <SessionsTab wolf={wolf} />}
            {current === "tunnel" && <TunnelTab wolf={wolf} />}
            {current === "events" && <EventsTab wolf={wolf} />}
            {current === "capabilities" && <CapabilitiesTab wolf={wolf} />}
            {current === "policy" && <PolicyTab wolf={wolf} />}
          </Suspense>
        </Tabs.Content>
      </Tabs.Root>
    </>
  );
}

function TabSkeleton() {
  return (
    <div className="card">
      <Skeleton lines={6} />
    </div>
  );
}

function WolfSkeleton() {
  return (
    <>
      <Skeleton lines={1} height="2.25rem" />
      <div className="grid-2">
        <TabSkeleton />
        <TabSkeleton />
      </div>
    </>
  );
}
