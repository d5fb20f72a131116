/** The columns of the table of wolves. */

import { Link } from "@tanstack/react-router";
import type { WolfInstance } from "@wolfpack/api-contract";
import { gpuOf, loadOf, regionOf, slotsOf, stateOf } from "../../fleet/wolf-words.ts";
import { Badge } from "../../ui/badge.tsx";
import { LoadBar } from "../../ui/load-bar.tsx";
import type { Column } from "../../ui/table.tsx";
import { millis, plain } from "../../ui/text.ts";
import { Time } from "../../ui/time.tsx";

export const columns: readonly Column<WolfInstance>[] = [
  {
    id: "name",
    header: "Name",
    value: ({ name }) => name,
    cell: (wolf) => (
      <span className="two-lines">
        <Link to="/wolves/$id" params={{ id: wolf.id }} className="row-link" title={plain(wolf.name)}>
          {plain(wolf.name)}
        </Link>
        <span>{labelsOf(wolf)}</span>
      </span>
    ),
  },
  {
    id: "status",
    header: "Status",
    value: (wolf) => `${rank[stateOf(wolf).tone]} ${stateOf(wolf).word}`,
    cell: (wolf) => <StateCell wolf={wolf} />,
  },
  {
    id: "gpu",
    header: "GPU",
    keepFrom: 3,
    width: "10rem",
    value: (wolf) => gpuOf(wolf).model,
    cell: (wolf) => {
      const { model, more } = gpuOf(wolf);
      return (
        <span className="two-lines">
          <span title={model}>{model}</span>
          <span>{more}</span>
        </span>
      );
    },
  },
  {
    id: "load",
    header: "Load",
    width: "10rem",
    value: loadOf,
    cell: (wolf) => <LoadBar label={`Slots of ${plain(wolf.name)}`} {...slotsOf(wolf)} />,
  },
  {
    id: "rtt",
    header: "RTT",
    align: "end",
    keepFrom: 3,
    width: "5.25rem",
    value: ({ tunnel }) => tunnel?.rtt_ms,
    cell: ({ tunnel }) => millis(tunnel?.rtt_ms),
  },
  {
    id: "region",
    header: "Region",
    keepFrom: 2,
    width: "7.5rem",
    value: ({ region }) => region,
    cell: (wolf) => <span className={wolf.region ? undefined : "muted"}>{regionOf(wolf)}</span>,
  },
  {
    id: "seen",
    header: "Last seen",
    keepFrom: 4,
    width: "6.75rem",
    value: ({ last_heartbeat }) => (last_heartbeat ? Date.parse(last_heartbeat) : null),
    cell: (wolf) => <Time at={wolf.last_heartbeat} />,
  },
  {
    id: "agent",
    header: "Agent",
    keepFrom: 2,
    width: "5.25rem",
    value: ({ agent_version }) => agent_version,
    cell: ({ agent_version }) => <span className="figures">{plain(agent_version) || "–"}</span>,
  },
];

/** The worst first. */
const rank = { danger: 0, warning: 1, info: 2, neutral: 3, ok: 4 };

function StateCell({ wolf }: { wolf: WolfInstance }) {
  const { word, tone, reason } = stateOf(wolf);
  return (
    <span className="fleet-state" title={reason}>
      <Badge tone={tone}>{word}</Badge>
      {reason && <span className="clip small muted">{reason}</span>}
    </span>
  );
}

function labelsOf({ labels }: WolfInstance): string {
  const pairs = Object.entries(labels).map(([name, value]) => `${plain(name)}=${plain(value, 60)}`);
  return pairs.length === 0 ? "no labels" : pairs.slice(0, 4).join(" ");
}
