/** What stands where a page, or everything, broke. */
import { type ErrorComponentProps, useRouter } from "@tanstack/react-router";
import { isPartMissing } from "../ui/part.ts";
import { Failure } from "../ui/states.tsx";

const asError = (error: unknown): Error => (error instanceof Error ? error : new Error(String(error)));

function useAgain({ error, reset }: ErrorComponentProps): () => void {
  const router = useRouter();
  return () => {
    // A part that is gone stays so for this page.
    if (isPartMissing(error)) return location.reload();
    reset();
    void router.invalidate();
  };
}

/** Within the frame: navigation and events go on. */
export function PageFailure(props: ErrorComponentProps) {
  return (
    <div className="page">
      <Failure error={asError(props.error)} retry={useAgain(props)} />
    </div>
  );
}

/** Where there is no frame. */
export function WholeFailure(props: ErrorComponentProps) {
  return (
    <main className="page">
      <Failure error={asError(props.error)} retry={useAgain(props)} />
    </main>
  );
}
