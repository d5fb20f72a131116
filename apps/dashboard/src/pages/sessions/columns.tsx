/** The columns of the table of sessions. */

import { Link } from "@tanstack/react-router";
import type { Session } from "@wolfpack/api-contract";
import { nameOf, ownerOf, stateOfSession } from "../../fleet/session-words.ts";
import { vendorOf } from "../../fleet/wolf-words.ts";
import { Badge } from "../../ui/badge.tsx";
import type { Column } from "../../ui/table.tsx";
import { plain } from "../../ui/text.ts";
import { Lasting } from "../../ui/time.tsx";

/** Whoever sees only their own needs no owners. */
export function columnsOf(
  wolfOf: (id: string | null) => string,
  withOwner: boolean,
): readonly Column<Session>[] {
  const owner: Column<Session> = {
    id: "owner",
    header: "Owner",
    width: "9rem",
    keepFrom: 3,
    value: ownerOf,
    cell: (session) => <span title={plain(session.owner_id)}>{ownerOf(session)}</span>,
  };
  return [
    {
      id: "name",
      header: "Name",
      value: nameOf,
      cell: (session) => (
        <span className="two-lines">
          <Link to="/sessions/$id" params={{ id: session.id }} className="row-link" title={nameOf(session)}>
            {nameOf(session)}
          </Link>
          <span title={plain(session.spec.image)}>{imageOf(session)}</span>
        </span>
      ),
    },
    {
      id: "status",
      header: "Status",
      value: (session) => `${rank[stateOfSession(session).tone]} ${stateOfSession(session).word}`,
      cell: (session) => <StateCell session={session} />,
    },
    ...(withOwner ? [owner] : []),
    {
      id: "wolf",
      header: "Wolf",
      width: "10rem",
      keepFrom: 4,
      value: ({ wolf_instance_id }) => wolfOf(wolf_instance_id) || null,
      cell: ({ wolf_instance_id: id }) =>
        id === null ? (
          <span className="muted">none</span>
        ) : (
          <Link to="/wolves/$id" params={{ id }} className="over" title={wolfOf(id)}>
            {wolfOf(id)}
          </Link>
        ),
    },
    {
      id: "gpu",
      header: "Asked for",
      width: "8rem",
      keepFrom: 2,
      value: ({ spec }) => spec.gpu_model ?? spec.gpu_type,
      cell: ({ spec }) =>
        spec.gpu_model || spec.gpu_type ? (
          plain(spec.gpu_model) || (spec.gpu_type && vendorOf({ gpu_type: spec.gpu_type }))
        ) : (
          <span className="muted">any GPU</span>
        ),
    },
    {
      id: "age",
      header: "Age",
      width: "5.5rem",
      align: "end",
      keepFrom: 4,
      // The youngest first, as they are listed.
      value: ({ created_at }) => -Date.parse(created_at),
      cell: ({ created_at }) => <Lasting since={created_at} />,
    },
  ];
}

/** What asks for somebody first. */
const rank = { danger: 0, warning: 1, info: 2, ok: 3, neutral: 4 };

function StateCell({ session }: { session: Session }) {
  const { word, tone, reason } = stateOfSession(session);
  return (
    <span className="sessions-state" title={reason}>
      <Badge tone={tone}>{word}</Badge>
      {reason && <span className="clip small muted">{reason}</span>}
    </span>
  );
}

/** `xfce:edge` of `ghcr.io/games-on-whales/xfce:edge`. */
function imageOf({ spec }: Session): string {
  const image = plain(spec.image);
  return image.slice(image.lastIndexOf("/") + 1) || image;
}
