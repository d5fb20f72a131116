/** What stands in place of a log while the names of its filter become ids, or where there is nothing of that name. */
import { Empty, Failure, Skeleton } from "../ui/states.tsx";
import { plain } from "../ui/text.ts";
import type { Resolution } from "./resolve.ts";

export function Unresolved({ resolution }: { resolution: Exclude<Resolution, { state: "ready" }> }) {
  return (
    <div className="log-instead">
      {resolution.state === "loading" && <Skeleton lines={8} height="1.375rem" />}
      {resolution.state === "failed" && <Failure error={resolution.error} retry={resolution.retry} />}
      {resolution.state === "unknown" && (
        <Empty
          title={
            resolution.what === "wolf"
              ? `There is no wolf ${plain(resolution.name, 80)}`
              : `Nobody is called ${plain(resolution.name, 80)}`
          }
        >
          What is no more goes by its id.
        </Empty>
      )}
    </div>
  );
}
