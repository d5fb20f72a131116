/** A session's screen as pictures: at most one every two seconds, and none while nobody can see it. */
import { useCallback, useEffect, useRef, useState } from "react";
import { ApiFailure, call, serverNow } from "../../api/client.ts";
import { restMs, UNTOUCHED_MS_MAX } from "./look-pace.ts";
import { pictureOf } from "./picture.ts";

export interface Shown {
  /** Of a blob; it is revoked when the next one is shown. */
  url: string;
  atMs: number;
  width: number;
  height: number;
  bytes: number;
}

export interface Screen {
  shown: Shown | undefined;
  error: ApiFailure | undefined;
  /** Nobody touched the page for long. */
  isAsleep: boolean;
  wake: () => void;
}

/** Of one session, for as long as its page is there; `place` is what has to be in sight. */
export function useScreen(id: string, isWanted: boolean, place: React.RefObject<HTMLElement | null>): Screen {
  const [shown, setShown] = useState<Shown>();
  const [error, setError] = useState<ApiFailure>();
  const [isAsleep, setAsleep] = useState(false);
  const inSight = useInSight(place);
  const wake = useCallback(() => setAsleep(false), []);
  const isLooking = isWanted && inSight && !isAsleep;
  useSleep(isLooking, setAsleep);

  // The last picture goes with the page.
  const url = useRef<string>(undefined);
  useEffect(
    () => () => {
      if (url.current) URL.revokeObjectURL(url.current);
      url.current = undefined;
    },
    [],
  );

  useEffect(() => {
    if (!isLooking) return;
    const stop = new AbortController();
    let timer: ReturnType<typeof setTimeout> | undefined;
    let failures = 0;
    async function look(): Promise<void> {
      const begunMs = performance.now();
      try {
        const next = await lookOnce(id, stop.signal);
        if (stop.signal.aborted) return URL.revokeObjectURL(next.url);
        failures = 0;
        const before = url.current;
        url.current = next.url;
        setShown(next);
        setError(undefined);
        // The one before stays drawn until this one is decoded.
        if (before) setTimeout(() => URL.revokeObjectURL(before), 1000);
      } catch (cause) {
        if (stop.signal.aborted) return;
        failures += 1;
        setError(
          cause instanceof ApiFailure ? cause : new ApiFailure("internal", "No picture", String(cause)),
        );
      }
      timer = setTimeout(() => void look(), restMs(performance.now() - begunMs, failures));
    }
    void look();
    return () => {
      stop.abort();
      clearTimeout(timer);
    };
  }, [id, isLooking]);

  return { shown, error, isAsleep, wake };
}

async function lookOnce(id: string, signal: AbortSignal): Promise<Shown> {
  const { body } = await call("getScreenshot", { params: { id } }, { signal });
  const picture = pictureOf(body);
  if (picture === "too-large") throw notShown("It is larger than any screen.");
  if (picture === "no-picture") throw notShown("It is neither PNG nor JPEG.");
  const { type, width, height } = picture;
  // As what it is, whatever it is called: never a page, never markup.
  const url = URL.createObjectURL(new Blob([body as Uint8Array<ArrayBuffer>], { type }));
  return { url, atMs: serverNow(), width, height, bytes: body.byteLength };
}

const notShown = (detail: string) => new ApiFailure("screen-failed", "Not a picture to show", detail);

/** In a tab that is shown, and scrolled to. */
function useInSight(place: React.RefObject<HTMLElement | null>): boolean {
  const [isShown, setShown] = useState(!document.hidden);
  const [isNear, setNear] = useState(true);
  useEffect(() => {
    const look = () => setShown(!document.hidden);
    document.addEventListener("visibilitychange", look);
    return () => document.removeEventListener("visibilitychange", look);
  }, []);
  useEffect(() => {
    const target = place.current;
    if (!target) return;
    const observer = new IntersectionObserver((entries) => setNear(entries.at(-1)?.isIntersecting ?? true));
    observer.observe(target);
    return () => observer.disconnect();
  }, [place]);
  return isShown && isNear;
}

const touches = ["pointerdown", "pointermove", "keydown", "wheel", "touchstart"] as const;

/** A page that was left open on a desk must not keep a session from being idle for ever. */
function useSleep(isAwake: boolean, setAsleep: (asleep: boolean) => void): void {
  useEffect(() => {
    if (!isAwake) return;
    let touchedMs = performance.now();
    const touch = () => {
      touchedMs = performance.now();
    };
    for (const name of touches) document.addEventListener(name, touch, { passive: true });
    const watch = setInterval(() => {
      if (performance.now() - touchedMs >= UNTOUCHED_MS_MAX) setAsleep(true);
    }, 10_000);
    return () => {
      clearInterval(watch);
      for (const name of touches) document.removeEventListener(name, touch);
    };
  }, [isAwake, setAsleep]);
}
