/** What the URL of a tunnel names: whose it is, and which of an agent's several. */
import {
  CONNECTION_PARAMETER,
  CONNECTIONS_MAX,
  CONNECTIONS_PARAMETER,
  SessionId,
  type TunnelProtocol,
  WolfName,
} from "@wolfpack/api-contract";
import { ApiError } from "../http/problem.ts";

type Kind = "wolf" | "doctor" | "sandbox" | "moonlight";

/** Which tunnels there are of each protocol. */
const kinds: Record<TunnelProtocol, readonly Kind[]> = {
  revdial: ["wolf", "doctor", "sandbox"],
  helix: ["wolf", "moonlight", "sandbox"],
};

export interface RunnerId {
  kind: Kind;
  id: string;
  /** Of a wolf: which of its agent's tunnels beside the first. */
  connection?: number;
}

/** What a tunnel's URL asks for; throws the problem that refuses it. */
export function readRunnerId(query: URLSearchParams, protocol: TunnelProtocol): RunnerId {
  const known = ["runnerid", CONNECTION_PARAMETER, CONNECTIONS_PARAMETER];
  for (const name of query.keys()) {
    if (known.includes(name)) continue;
    throw new ApiError("invalid-request", `The query parameters are ${known.join(", ")}.`, {
      extras: { errors: [{ path: "query", message: "unknown parameter" }] },
    });
  }
  const ids = query.getAll("runnerid");
  const [, asked, id = ""] = /^([a-z]+)-(.+)$/s.exec(ids.length === 1 ? (ids[0] ?? "") : "") ?? [];
  const kind = kinds[protocol].find((known) => known === asked);
  const form = kind === "sandbox" ? SessionId : WolfName;
  if (kind !== undefined && form.safeParse(id).success)
    return { kind, id, ...connectionOf(query, kind, protocol) };
  const other = protocol === "helix" ? "moonlight" : "doctor";
  throw new ApiError(
    "runner-id-invalid",
    `runnerid has to be wolf-<name>, ${other}-<name> or sandbox-<session id>.`,
  );
}

function connectionOf(query: URLSearchParams, kind: Kind, protocol: TunnelProtocol): { connection?: number } {
  const [at, of] = [query.getAll(CONNECTION_PARAMETER), query.getAll(CONNECTIONS_PARAMETER)];
  if (at.length === 0 && of.length === 0) return {};
  const [connection, connections] = [Number(at[0]), Number(of[0])];
  const isOne = [...at, ...of].length === 2 && [...at, ...of].every((text) => /^[0-9]$/.test(text));
  const fits = connection >= 1 && connection < connections && connections <= CONNECTIONS_MAX;
  if (isOne && fits && kind === "wolf" && protocol === "revdial") return { connection };
  throw new ApiError(
    "invalid-request",
    `Beside its first tunnel an agent of a wolf opens connection=1 to connections-1, of connections=2 to ${CONNECTIONS_MAX}.`,
    { extras: { errors: [{ path: "query", message: "no further connection" }] } },
  );
}
