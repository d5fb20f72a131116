/** The session's screen, live. */
import type { Session } from "@wolfpack/api-contract";
import { type ReactNode, useEffect, useRef, useState } from "react";
import { nameOf } from "../../fleet/session-words.ts";
import { Badge } from "../../ui/badge.tsx";
import { Icon } from "../../ui/icon.tsx";
import { bytes, plain } from "../../ui/text.ts";
import { Time } from "../../ui/time.tsx";
import { useScreen } from "./use-screen.ts";

export function ScreenCard({ session, mayLook }: { session: Session; mayLook: boolean }) {
  const place = useRef<HTMLDivElement>(null);
  const [isPaused, setPaused] = useState(false);
  const [isWhole, setWhole] = useState(false);
  /** Looked like a picture and is none that this browser can draw. */
  const [brokenUrl, setBrokenUrl] = useState<string>();
  const runs = session.status === "running";
  const wanted = mayLook && runs && session.reachable && !isPaused;
  const { shown, error, isAsleep, wake } = useScreen(session.id, wanted, place);
  const isBroken = shown !== undefined && shown.url === brokenUrl;
  const { width, height } = session.spec.resolution;
  useEffect(() => {
    const look = () => setWhole(document.fullscreenElement === place.current);
    document.addEventListener("fullscreenchange", look);
    return () => document.removeEventListener("fullscreenchange", look);
  }, []);
  const isStopped = isPaused || isAsleep;

  return (
    <section className="card card-flush" aria-labelledby="screen-title">
      <div className="card-head">
        <h2 id="screen-title">Screen</h2>
        {wanted && !isAsleep && !error && shown && !isBroken && <Badge tone="ok">Live</Badge>}
        {runs && isStopped && <Badge tone="neutral">Paused</Badge>}
        {(error || isBroken) && wanted && <Badge tone="warning">No picture</Badge>}
        {mayLook && runs && (
          <span className="push row">
            <button
              type="button"
              className="button button-plain"
              onClick={() => {
                wake();
                setPaused(!isStopped);
              }}
            >
              <Icon name={isStopped ? "right" : "pause"} />
              {isStopped ? "Go on" : "Pause"}
            </button>
            <button
              type="button"
              className="button button-plain button-icon"
              aria-label="Whole screen"
              title="Whole screen"
              disabled={!shown}
              onClick={() => void place.current?.requestFullscreen?.().catch(() => undefined)}
            >
              <Icon name="external" />
            </button>
          </span>
        )}
      </div>
      <div
        ref={place}
        className={isWhole ? "session-screen session-screen-whole" : "session-screen"}
        style={{ aspectRatio: `${width} / ${height}` }}
      >
        {shown && !isBroken && mayLook && runs ? (
          <img
            src={shown.url}
            className={isStopped || error ? "session-picture session-picture-old" : "session-picture"}
            alt={`The screen of ${nameOf(session)}`}
            width={shown.width}
            height={shown.height}
            draggable={false}
            onError={() => setBrokenUrl(shown.url)}
          />
        ) : (
          <Instead session={session} mayLook={mayLook} isLooking={wanted && !error && !isBroken} />
        )}
        {isBroken && !error && wanted && (
          <p className="session-screen-note" role="status">
            <Icon name="warning" />
            This browser cannot draw what came.
          </p>
        )}
        {error && wanted && (
          <p className="session-screen-note" role="status">
            <Icon name="warning" />
            <span className="wrap">
              {plain(error.title)}: {plain(error.message)}
            </span>
          </p>
        )}
        {runs && isAsleep && (
          <p className="session-screen-note" role="status">
            <Icon name="pause" />
            Nobody touched this page for ten minutes.
          </p>
        )}
      </div>
      <p className="session-screen-foot muted small figures">
        {shown && runs ? (
          <>
            <span>
              {shown.width} × {shown.height}, {bytes(shown.bytes)}
            </span>
            <span>
              taken <Time at={new Date(shown.atMs).toISOString()} />
            </span>
          </>
        ) : (
          <span>
            {width} × {height} at {session.spec.resolution.refresh_rate} Hz
          </span>
        )}
        {session.spec.idle_timeout_seconds !== null && mayLook && runs && (
          <span className="push">Looking counts as use</span>
        )}
      </p>
    </section>
  );
}

/** What stands where there is no picture. */
function Instead(props: { session: Session; mayLook: boolean; isLooking: boolean }) {
  const { title, text } = insteadOf(props);
  return (
    <div className="session-screen-empty">
      <Icon name="sessions" size={28} />
      <p className="empty-title">{title}</p>
      {text && <p className="session-screen-text">{text}</p>}
    </div>
  );
}

function insteadOf({
  session: { status, reachable },
  mayLook,
  isLooking,
}: {
  session: Session;
  mayLook: boolean;
  isLooking: boolean;
}): { title: string; text?: ReactNode } {
  if (status === "stopped" || status === "failed") return { title: "It has ended" };
  if (!mayLook)
    return { title: "Not yours to see", text: "What is on a screen is shown to its owner and to admins." };
  if (status === "queued") return { title: "It waits for a wolf" };
  if (status === "lost") return { title: "Its wolf is lost", text: "The screen is back when its wolf is." };
  if (status !== "running")
    return { title: status === "stopping" ? "It is being stopped" : "Its desktop is starting" };
  if (!reachable) return { title: "It cannot be reached now", text: "Its wolf has no tunnel." };
  return { title: isLooking ? "Looking …" : "No picture" };
}
