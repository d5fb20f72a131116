/** What tests of outages ask of a control plane: any call, as it is answered, and a session that runs. */
import type { Stack } from "../src/stack.ts";

/** Bounds of the control plane: a connection 5 s, an answer 16 s. */
const ANSWERED_WITHIN_MS = 25_000;

export interface Answer {
  status: number;
  headers: Headers;
  /** Empty where it is no JSON. */
  body: { id: string; code?: string };
}

/** Rejects when it takes longer than anything may. */
export async function call(
  { baseUrl, adminKey }: Pick<Stack, "baseUrl" | "adminKey">,
  method: string,
  route: string,
  body?: object,
  headers: Record<string, string> = {},
): Promise<Answer> {
  const response = await fetch(`${baseUrl}/api/v1${route}`, {
    method,
    headers: { authorization: `Bearer ${adminKey}`, "content-type": "application/json", ...headers },
    signal: AbortSignal.timeout(ANSWERED_WITHIN_MS),
    ...(body && { body: JSON.stringify(body) }),
  });
  const isJson = /json/.test(response.headers.get("content-type") ?? "");
  const text = await response.text();
  const read = (isJson ? JSON.parse(text) : {}) as Answer["body"];
  return { status: response.status, headers: response.headers, body: read };
}

/** Its id. */
export async function runningSession(stack: Stack): Promise<string> {
  const { body } = await stack.client().createSession({ body: { wait_seconds: 20 } });
  await stack.until("it runs", async (api) => {
    return (await api.getSession({ params: { id: body.id } })).body.status === "running";
  });
  return body.id;
}
