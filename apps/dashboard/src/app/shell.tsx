/** The frame around every page: navigation, whether it is live, theme, who is signed in. */
import { useQueryClient } from "@tanstack/react-query";
import { Link, Outlet, useNavigate, useRouterState } from "@tanstack/react-router";
import { Dialog } from "radix-ui";
import { Suspense, useEffect, useRef, useState, useSyncExternalStore } from "react";
import { ApiFailure, call, whenSignedOut } from "../api/client.ts";
import { type LiveState, liveState, startLive, whenLiveState } from "../api/live.ts";
import { mayDo, useMe } from "../api/queries.ts";
import { Mark, type Tone } from "../ui/badge.tsx";
import { Icon } from "../ui/icon.tsx";
import { Skeleton } from "../ui/states.tsx";
import { plain } from "../ui/text.ts";
import { chooseExact, useExact } from "../ui/time-form.ts";
import { useToasts } from "../ui/toast.tsx";
import { Brand } from "./brand.tsx";
import { tellOtherTabs, useIdentity } from "./identity.ts";
import { navigation } from "./routes.tsx";
import { choose, useDark } from "./theme.ts";
import "./shell.css";

export function Shell() {
  const client = useQueryClient();
  const navigate = useNavigate();
  const [menuOpen, setMenuOpen] = useState(false);
  const main = useRef<HTMLElement>(null);
  const path = useRouterState({ select: (state) => state.location.pathname });
  const shownPath = useRef(path);

  const identity = useIdentity(client);

  // A stream tells what its reader might see when it began.
  useEffect(() => (identity === undefined ? undefined : startLive(client)), [client, identity]);
  useEffect(
    () =>
      whenSignedOut(() => {
        client.clear();
        // Several reads may hear it; the first of them leads away.
        if (location.pathname === "/login") return;
        const next = `${location.pathname}${location.search}`;
        void navigate({
          to: "/login",
          search: { next: next === "/" ? undefined : next, over: "1" } as never,
        });
      }),
    [client, navigate],
  );
  // A new page begins at its top, for the keyboard and for those who listen as well.
  useEffect(() => {
    if (shownPath.current === path) return;
    shownPath.current = path;
    setMenuOpen(false);
    main.current?.focus({ preventScroll: true });
  }, [path]);

  return (
    <div className="shell">
      <a className="skip" href="#main">
        Skip to the page
      </a>
      <header className="topbar">
        <button
          type="button"
          className="button button-plain button-icon"
          aria-label="Open the navigation"
          onClick={() => setMenuOpen(true)}
        >
          <Icon name="menu" size={18} />
        </button>
        <Brand />
        <span className="push">
          <LiveMark />
        </span>
      </header>
      <aside className="sidebar">
        <Brand />
        <Navigation />
        <Foot />
      </aside>
      <Dialog.Root open={menuOpen} onOpenChange={setMenuOpen}>
        <Dialog.Portal>
          <Dialog.Overlay className="dialog-scrim" />
          <Dialog.Content className="drawer" aria-describedby={undefined}>
            <Dialog.Title className="unseen">Navigation</Dialog.Title>
            <div className="row">
              <Brand />
              <Dialog.Close
                className="button button-plain button-icon push"
                aria-label="Close the navigation"
              >
                <Icon name="close" />
              </Dialog.Close>
            </div>
            <Navigation />
            <Foot />
          </Dialog.Content>
        </Dialog.Portal>
      </Dialog.Root>
      <main id="main" className="main" ref={main} tabIndex={-1}>
        <OfflineBanner />
        {identity === undefined ? (
          <PageSkeleton />
        ) : (
          <Suspense fallback={<PageSkeleton />}>
            <Outlet />
          </Suspense>
        )}
      </main>
    </div>
  );
}

export function PageSkeleton() {
  return (
    <div className="page">
      <Skeleton lines={1} height="2.25rem" />
      <div className="card">
        <Skeleton lines={8} />
      </div>
    </div>
  );
}

function Navigation() {
  const me = useMe();
  return (
    <nav className="nav" aria-label="Pages">
      <ul>
        {navigation
          .filter(({ actions }) => actions.some((action) => mayDo(me, action)))
          .map(({ to, label, icon }) => (
            <li key={to}>
              <Link to={to} activeOptions={{ exact: to === "/", includeSearch: false }} className="nav-link">
                <Icon name={icon} />
                {label}
              </Link>
            </li>
          ))}
      </ul>
    </nav>
  );
}

const liveWords: Record<LiveState, { tone: Tone; word: string; title: string }> = {
  connecting: { tone: "info", word: "Connecting", title: "The stream of events is being opened." },
  live: { tone: "ok", word: "Live", title: "What is shown changes as it happens." },
  polling: {
    tone: "warning",
    word: "Every 5 s",
    title: "There is no stream of events: asked every five seconds.",
  },
  offline: { tone: "danger", word: "Offline", title: "The control plane does not answer." },
};

export const useLiveState = (): LiveState => useSyncExternalStore(whenLiveState, liveState);

function LiveMark() {
  const { tone, word, title } = liveWords[useLiveState()];
  return (
    <span className="live row small" title={title} role="status">
      <Mark tone={tone} />
      {word}
    </span>
  );
}

function OfflineBanner() {
  if (useLiveState() !== "offline") return null;
  return (
    <div className="banner" role="alert">
      <Icon name="warning" />
      The control plane does not answer. What is shown may be old; it is asked again by itself.
    </div>
  );
}

/** What a pointer hovers for, for fingers and keys: every moment of every page as it was by the clock. */
function TimeForm() {
  const exact = useExact();
  return (
    <button
      type="button"
      className="button button-plain button-icon push"
      aria-label="Exact times"
      aria-pressed={exact}
      title="Exact times"
      onClick={() => chooseExact(!exact)}
    >
      <Icon name="clock" />
    </button>
  );
}

function Foot() {
  const me = useMe();
  const client = useQueryClient();
  const navigate = useNavigate();
  const toasts = useToasts();
  const dark = useDark();
  async function leave(): Promise<void> {
    // The page first: what it shows would ask once more, and be told that nobody is signed in.
    await navigate({ to: "/login" });
    try {
      await call("deleteWebSession").catch((error: unknown) => {
        // Whoever is not signed in is signed out.
        if (!(error instanceof ApiFailure) || error.status !== 401) throw error;
      });
      client.clear();
      tellOtherTabs();
    } catch (error) {
      toasts.failed("Not signed out", error);
      await navigate({ to: "/" });
    }
  }
  return (
    <div className="foot">
      <div className="row">
        <LiveMark />
        <TimeForm />
      </div>
      <div className="row">
        <span className="foot-user two-lines">
          <span title={plain(me?.name)}>{plain(me?.name)}</span>
          <span>{me?.role}</span>
        </span>
        <button
          type="button"
          className="button button-plain button-icon push"
          aria-label={dark ? "Light theme" : "Dark theme"}
          title={dark ? "Light theme" : "Dark theme"}
          onClick={() => choose(dark ? "light" : "dark")}
        >
          <Icon name={dark ? "sun" : "moon"} />
        </button>
        <button
          type="button"
          className="button button-plain button-icon"
          aria-label="Sign out"
          title="Sign out"
          onClick={() => void leave()}
        >
          <Icon name="leave" />
        </button>
      </div>
    </div>
  );
}
