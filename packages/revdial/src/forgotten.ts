/**
 * Bytes of a channel that is over count against the receive budget until they are read or dropped. Who forgets a body drops it,
 * too, without saying so: then the collector does.
 */
import type { ChannelPort } from "./channel-end.ts";
import type { ChunkQueue } from "./chunk-queue.ts";

export interface Unread {
  readonly port: Pick<ChannelPort, "consumed">;
  readonly channel: number;
  readonly chunks: ChunkQueue;
}

const forgotten = new FinalizationRegistry<Unread>(({ port, channel, chunks }) => {
  if (chunks.byteLength > 0) port.consumed(channel, chunks.byteLength);
});

/** `unread` must not lead back to its holder. */
export function returnWhenForgotten(holder: object, unread: Unread): void {
  if (unread.chunks.byteLength > 0) forgotten.register(holder, unread);
}
