/** After a command. */
import { useQueryClient } from "@tanstack/react-query";
import type { OperationId } from "@wolfpack/api-contract";

/** Read anew at once; the event of the change comes as well. */
export function useRefresh(...operations: OperationId[]) {
  const client = useQueryClient();
  return () =>
    client.invalidateQueries({
      predicate: ({ queryKey }) => operations.includes(queryKey[0] as OperationId),
    });
}
