/** What a Wolf runs, in its own words. */
import { request as httpRequest } from "node:http";

export interface ListedLobby {
  id: string;
  name: string;
}

/** Asks it itself, past agent and control plane. */
export function lobbiesOn(wolfSocket: string): Promise<ListedLobby[]> {
  return new Promise((resolve, reject) => {
    const ask = { socketPath: wolfSocket, path: "/api/v1/lobbies", agent: false };
    const request = httpRequest(ask, async (response) => {
      try {
        const chunks: Buffer[] = [];
        for await (const chunk of response) chunks.push(chunk as Buffer);
        const { lobbies } = JSON.parse(Buffer.concat(chunks).toString("utf8")) as { lobbies: ListedLobby[] };
        resolve(lobbies);
      } catch (error) {
        reject(error as Error);
      }
    });
    request.on("error", reject);
    request.end();
  });
}
