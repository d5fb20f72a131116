/** Names in place of ids, in lists that have only those. An id that nobody may look up, or that is gone, stays one. */

import { useQuery, useQueryClient } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { call } from "../api/client.ts";
import { useMay, useMe } from "../api/queries.ts";
import type { Wolves } from "../api/wolves.ts";
import { plain, shortId } from "../ui/text.ts";
import { isUserId, isWolfId } from "./ids.ts";

const NAME_STALE_MS = 10 * 60_000;
const once = { retry: false, staleTime: NAME_STALE_MS, refetchOnMount: false } as const;

const names = new WeakMap<Wolves["rows"], ReadonlyMap<string, string>>();
/** By id; made once for all who ask about the same wolves. */
function namesOf(rows: Wolves["rows"]): ReadonlyMap<string, string> {
  let found = names.get(rows);
  if (found === undefined) {
    found = new Map(rows.map(({ id, name }) => [id, name]));
    names.set(rows, found);
  }
  return found;
}

/** Only what the name is; the wolf itself is read where it is shown. */
export function useWolfName(id: string): string | undefined {
  const client = useQueryClient();
  const wolves = client.getQueryData<Wolves>(["wolves"]);
  const known = wolves && namesOf(wolves.rows).get(id);
  const { data } = useQuery({
    ...once,
    queryKey: ["wolf-name", id],
    queryFn: async ({ signal }) => (await call("getWolf", { params: { id } }, { signal })).body.name,
    enabled: isWolfId(id) && known === undefined,
  });
  return known ?? data;
}

export function WolfName({ id, className }: { id: string; className?: string }) {
  const name = useWolfName(id);
  return (
    <Link to="/wolves/$id" params={{ id }} className={className} title={plain(id)}>
      {name === undefined ? shortId(id) : plain(name)}
    </Link>
  );
}

/** `undefined` where it is not known, or not for this reader. */
export function useUserName(id: string): string | undefined {
  const me = useMe();
  const may = useMay("user.read");
  const { data } = useQuery({
    ...once,
    queryKey: ["user-name", id],
    queryFn: async ({ signal }) => (await call("getUser", { params: { id } }, { signal })).body.name,
    enabled: may && isUserId(id) && me?.id !== id,
  });
  return me?.id === id ? me.name : data;
}

export function UserName({ id }: { id: string }) {
  const me = useMe();
  const name = useUserName(id);
  return (
    <span title={plain(id)}>
      {name === undefined ? shortId(id) : plain(name)}
      {me?.id === id && <span className="muted"> (you)</span>}
    </span>
  );
}

const kinds: Record<string, string> = {
  agent: "Agent of",
  "join-token": "Join token",
  "runner-token": "Runner token",
  system: "Control plane",
  anonymous: "Nobody known",
};

/** Whoever did something, in the words of events and of the audit log. */
export function ActorName({ kind, id }: { kind: string; id: string | null | undefined }) {
  if (id && kind === "user") return <UserName id={id} />;
  if (id && isWolfId(id))
    return (
      <>
        <span className="muted">{kinds[kind] ?? plain(kind)}</span> <WolfName id={id} className="over" />
      </>
    );
  return (
    <>
      {kinds[kind] ?? plain(kind)} {id && <code title={plain(id)}>{shortId(id)}</code>}
    </>
  );
}
