/** What would happen now: where it would go and why, or what would have to change. Asked anew as the wish or the fleet changes. */

import { keepPreviousData, type UseQueryResult, useQueryClient } from "@tanstack/react-query";
import type { PlacementPreview, PlacementPreviewRequest } from "@wolfpack/api-contract";
import { type ReactNode, useEffect, useState } from "react";
import type { ApiFailure } from "../../api/client.ts";
import { whenEvent } from "../../api/live.ts";
import { createPace } from "../../api/pace.ts";
import { useMay, useRead } from "../../api/queries.ts";
import { Mark } from "../../ui/badge.tsx";
import { Failure, Skeleton } from "../../ui/states.tsx";
import { plain } from "../../ui/text.ts";
import { Explanation, WolfLink } from "../session/explanation.tsx";
import { verdictOf } from "./verdict.ts";

/** After the last key. */
const TYPED_MS = 250;
/** The fleet may change as often as it likes. */
const FLEET_MS = 2000;
const AGAIN_MS = 15_000;

export interface Preview {
  query: UseQueryResult<PlacementPreview, ApiFailure>;
  /** The wish that was asked about. */
  wish: PlacementPreviewRequest;
  /** The control plane says that the wish contradicts itself, or has not the right form. */
  isRefused: boolean;
  /** As it is filled in, it could not be made. */
  isHopeless: boolean;
}

export function usePreview(wish: PlacementPreviewRequest, isValid: boolean): Preview {
  const mayPreview = useMay("placement.preview");
  const settled = useSettled(wish, isValid);
  const client = useQueryClient();
  const query = useRead(
    "previewPlacement",
    { body: settled },
    {
      enabled: mayPreview,
      placeholderData: keepPreviousData,
      refetchInterval: AGAIN_MS,
      staleTime: 0,
      gcTime: 60_000,
    },
  );
  useEffect(() => {
    const pace = createPace();
    const again = () =>
      void client.invalidateQueries({ queryKey: ["previewPlacement"], refetchType: "active" });
    const stop = whenEvent(({ kind }) => {
      if (/^(wolf|placement|queue|fleet|session)\./.test(kind)) pace.ask("preview", again, FLEET_MS);
    });
    return () => {
      stop();
      pace.close();
    };
  }, [client]);
  const isRefused = query.error?.code === "invalid-request";
  const isImpossible = query.data?.outcome === "impossible" && !query.isPlaceholderData;
  return { query, wish: settled, isRefused, isHopeless: isRefused || isImpossible };
}

interface PreviewProps {
  preview: Preview;
  isValid: boolean;
  /** What is wrong is said at a field. */
  isPlaced: boolean;
  /** Below the verdict. */
  children: ReactNode;
}

export function PreviewCard({
  preview: { query, wish, isRefused },
  isValid,
  isPlaced,
  children,
}: PreviewProps) {
  const isOld = !isValid || query.isPlaceholderData;
  const isWrong = !isValid || isRefused;
  return (
    <section className="card create-preview" aria-labelledby="preview-title">
      <div className="card-head">
        <h2 id="preview-title">What would happen now</h2>
        {query.isPlaceholderData && isValid && <span className="muted small">Asking …</span>}
      </div>
      {isWrong ? (
        <Wrong text={isPlaced || !query.error ? undefined : query.error.message} />
      ) : query.data ? (
        <Verdict preview={query.data} />
      ) : null}
      {query.isLoading && !isWrong && <Skeleton lines={1} height="4rem" />}
      {query.error && !isRefused && <Failure error={query.error} retry={() => void query.refetch()} />}
      {children}
      {query.isLoading && <Skeleton lines={5} />}
      {query.data && (
        <div className={isOld ? "create-why create-old" : "create-why"}>
          <Explanation
            explanation={query.data.explanation}
            taken={query.data.wolf_instance_id}
            takenWord="Here"
            weights={wish.weights ?? null}
          />
        </div>
      )}
    </section>
  );
}

function Wrong({ text }: { text: string | undefined }) {
  return (
    <div className="create-verdict create-warning" role="status">
      <Mark tone="warning" />
      <div>
        <p className="create-verdict-title">Something is to be put right</p>
        <p className="small wrap">{text === undefined ? "It says at its field what." : plain(text, 1000)}</p>
      </div>
    </div>
  );
}

function Verdict({ preview }: { preview: PlacementPreview }) {
  const { tone, title, text } = verdictOf(preview);
  return (
    <div className={`create-verdict create-${tone}`} role="status">
      <Mark tone={tone} />
      <div>
        <p className="create-verdict-title">
          {title}
          {preview.outcome === "placed" && preview.wolf_instance_id && (
            <>
              {" "}
              <WolfLink id={preview.wolf_instance_id} />
            </>
          )}
        </p>
        <p className="small">{text}</p>
      </div>
    </div>
  );
}

/** The last valid wish that stood still for a moment. */
function useSettled(wish: PlacementPreviewRequest, isValid: boolean): PlacementPreviewRequest {
  const text = JSON.stringify(wish);
  const [settled, setSettled] = useState(isValid ? text : "{}");
  useEffect(() => {
    if (!isValid) return;
    const timer = setTimeout(() => setSettled(text), TYPED_MS);
    return () => clearTimeout(timer);
  }, [text, isValid]);
  return JSON.parse(settled) as PlacementPreviewRequest;
}
