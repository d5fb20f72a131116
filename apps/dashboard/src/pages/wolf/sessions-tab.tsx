/** What runs on a wolf: our sessions, and the lobbies that its Wolf lists now. */

import { Link } from "@tanstack/react-router";
import type { Session, WolfInstance, WolfLobby } from "@wolfpack/api-contract";
import { useMay, useRead } from "../../api/queries.ts";
import { useSessions } from "../../api/sessions.ts";
import { Badge, toneOf } from "../../ui/badge.tsx";
import { Empty, Failure } from "../../ui/states.tsx";
import { type Column, Table } from "../../ui/table.tsx";
import { plain, sentence, shortId } from "../../ui/text.ts";
import { Time } from "../../ui/time.tsx";

const rowKey = ({ id }: { id: string }) => id;

const sessionColumns: readonly Column<Session>[] = [
  {
    id: "name",
    header: "Session",
    value: ({ name }) => name,
    cell: ({ id, name }) => (
      <Link to="/sessions/$id" params={{ id }} className="row-link">
        {plain(name) || shortId(id)}
      </Link>
    ),
  },
  {
    id: "status",
    header: "Status",
    width: "9rem",
    value: ({ status }) => status,
    cell: ({ status }) => <Badge tone={toneOf(status)}>{sentence(status)}</Badge>,
  },
  {
    id: "image",
    header: "Image",
    keepFrom: 3,
    value: ({ spec }) => spec.image,
    cell: ({ spec }) => <code title={plain(spec.image)}>{plain(spec.image)}</code>,
  },
  {
    id: "started",
    header: "Started",
    width: "8rem",
    value: ({ started_at, created_at }) => Date.parse(started_at ?? created_at),
    cell: ({ started_at }) => <Time at={started_at} never="not yet" />,
  },
];

const lobbyColumns: readonly Column<WolfLobby>[] = [
  {
    id: "name",
    header: "Lobby",
    value: ({ name }) => name,
    cell: ({ name, id }) => plain(name) || plain(id),
  },
  {
    id: "session",
    header: "Session",
    cell: ({ session_id: id, is_live }) =>
      id ? (
        <span className="row">
          <Link to="/sessions/$id" params={{ id }}>
            {shortId(id)}
          </Link>
          {!is_live && <Badge tone="warning">Stray</Badge>}
        </span>
      ) : (
        <span className="muted">none of ours</span>
      ),
  },
  {
    id: "viewers",
    header: "Viewers",
    width: "6rem",
    align: "end",
    value: ({ viewers }) => viewers,
    cell: ({ viewers }) => viewers,
  },
  {
    id: "pin",
    header: "PIN",
    width: "5rem",
    keepFrom: 4,
    cell: ({ pin_required }) => (pin_required ? "asked" : "–"),
  },
];

export default function SessionsTab({ wolf }: { wolf: WolfInstance }) {
  // By status, as the page of sessions: among the newest of any status, one that has run for long would not be found.
  const sessions = useSessions({ status: "live", wolf: wolf.id });
  const mayInspect = useMay("wolf.inspect");
  const lobbies = useRead(
    "listWolfLobbies",
    { params: { id: wolf.id } },
    { enabled: mayInspect && wolf.connectivity === "connected" },
  );
  return (
    <div className="stack">
      <section className="card card-flush" aria-label="Sessions">
        <div className="card-head">
          <h2>Sessions</h2>
          <Link to="/sessions" search={{ status: "any", wolf: wolf.id } as never} className="small push">
            Also those that have ended
          </Link>
        </div>
        {sessions.error ? (
          <Failure error={sessions.error} retry={() => void sessions.refetch()} />
        ) : (
          <Table
            label="Sessions of this wolf"
            rows={sessions.data?.rows ?? none}
            columns={sessionColumns}
            rowKey={rowKey}
            loading={sessions.data === undefined}
            empty={<Empty title="No session lives here" icon="sessions" />}
          />
        )}
      </section>
      {/* Below a list whose length is known: it would jump. */}
      {mayInspect && (sessions.data || sessions.error) && (
        <section className="card card-flush" aria-label="Lobbies">
          <div className="card-head">
            <h2>Lobbies</h2>
            <span className="muted small">As its Wolf lists them now, ours or not</span>
          </div>
          {lobbies.error ? (
            <Failure error={lobbies.error} retry={() => void lobbies.refetch()} />
          ) : (
            <Table
              label="Lobbies of this wolf"
              rows={lobbies.data ?? none}
              columns={lobbyColumns}
              rowKey={rowKey}
              loading={lobbies.isLoading}
              empty={
                <Empty
                  title={wolf.connectivity === "connected" ? "It runs nothing" : "It cannot be asked now"}
                  icon="sessions"
                />
              }
            />
          )}
        </section>
      )}
    </div>
  );
}

const none: never[] = [];
