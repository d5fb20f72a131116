/** Where the control plane is, and what it speaks. */

/** `helix`: as a Helix control plane does, which opens a connection of its own for each request. */
export type Protocol = "native" | "helix";

/** Throws what is wrong with it. */
export function readApiUrl(text: string, protocol: Protocol, wrong: (why: string) => Error): URL {
  if (!URL.canParse(text)) throw wrong("is not a URL");
  const url = new URL(text);
  if (url.protocol !== "http:" && url.protocol !== "https:")
    throw wrong("has to begin with http:// or https://");
  if (url.username !== "" || url.password !== "")
    throw wrong("must not contain credentials: use --token-file");
  if (url.search !== "" || url.hash !== "") throw wrong("must not have a query or fragment");
  // Settings of the original name the tunnel's own URL now and then.
  if (protocol === "helix")
    url.pathname = url.pathname.replace(/\/+$/, "").replace(/\/api\/v1\/revdial$/, "");
  else if (url.pathname !== "/") throw wrong("must not have a path: the API is at the root");
  return url;
}

/** Where tunnels are opened, as a WebSocket. */
export function tunnelUrlOf(apiUrl: URL, runnerId: string): URL {
  const url = new URL(`${apiUrl.pathname.replace(/\/$/, "")}/api/v1/revdial`, apiUrl);
  url.protocol = apiUrl.protocol === "https:" ? "wss:" : "ws:";
  url.searchParams.set("runnerid", runnerId);
  return url;
}
