/** Names in place of ids. What the answer says itself is not asked for again; an id that nobody may look up, or that is gone, stays one. */

import { useQuery, useQueryClient } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { call } from "../api/client.ts";
import { useMay, useMe } from "../api/queries.ts";
import type { Wolves } from "../api/wolves.ts";
import { plain, shortId } from "../ui/text.ts";
import { isAnyId, isUserId, isWolfId } from "./ids.ts";

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

/** As an answer says it: null of what is no more; undefined of control planes of before, which do not say. */
type Said = string | null | undefined;

/** Only what the name is; the wolf itself is read where it is shown. */
export function useWolfName(id: string, said?: Said): string | undefined {
  const client = useQueryClient();
  const wolves = client.getQueryData<Wolves>(["wolves"]);
  const known = wolves && namesOf(wolves.rows).get(id);
  const { data } = useQuery({
    ...once,
    queryKey: ["wolf-name", id],
    queryFn: async ({ signal }) => (await call("getWolf", { params: { id } }, { signal })).body.name,
    enabled: isWolfId(id) && said === undefined && known === undefined,
  });
  return said ?? known ?? data;
}

export function WolfName({ id, said, className }: { id: string; said?: Said; className?: string }) {
  const name = useWolfName(id, said);
  return (
    <Link to="/wolves/$id" params={{ id }} className={className} title={plain(id)}>
      {name === undefined ? shortId(id) : plain(name)}
    </Link>
  );
}

/** `undefined` where it is not known, or not for this reader. */
export function useUserName(id: string, said?: Said): string | undefined {
  const me = useMe();
  const may = useMay("user.read");
  const { data } = useQuery({
    ...once,
    queryKey: ["user-name", id],
    queryFn: async ({ signal }) => (await call("getUser", { params: { id } }, { signal })).body.name,
    enabled: may && isUserId(id) && said === undefined && me?.id !== id,
  });
  return me?.id === id ? me.name : (said ?? data);
}

export function UserName({ id, said }: { id: string; said?: Said }) {
  const me = useMe();
  const name = useUserName(id, said);
  return (
    <span title={plain(id)}>
      {name === undefined ? shortId(id) : plain(name)}
      {me?.id === id && <span className="muted"> (you)</span>}
    </span>
  );
}

/** By its name, where it has one that is not its id. */
export function SessionName({ id, said, className }: { id: string; said?: Said; className?: string }) {
  const name = plain(said);
  const isNamed = name !== "" && !isAnyId(name);
  return (
    <Link
      to="/sessions/$id"
      params={{ id }}
      className={[className, isNamed ? "" : "mono"].filter(Boolean).join(" ") || undefined}
      title={plain(id)}
    >
      {isNamed ? name : shortId(id)}
    </Link>
  );
}

const kinds: Record<string, string> = {
  agent: "Agent of",
  "join-token": "Join token",
  "runner-token": "Runner token",
  user: "A user",
  system: "Control plane",
  anonymous: "Nobody known",
};

/** Whoever did something, in the words of events and of the audit log. */
export function ActorName({ kind, id, said }: { kind: string; id: string | null | undefined; said?: Said }) {
  if (id && kind === "user") return <UserName id={id} said={said} />;
  if (id && isWolfId(id))
    return (
      <>
        <span className="muted">{kinds[kind] ?? plain(kind)}</span>{" "}
        <WolfName id={id} said={said} className="over" />
      </>
    );
  // Which wolf's is not for everybody to know.
  if (kind === "agent" && !id) return <>An agent</>;
  return (
    <>
      {kinds[kind] ?? plain(kind)} {id && <code title={plain(id)}>{shortId(id)}</code>}
    </>
  );
}
