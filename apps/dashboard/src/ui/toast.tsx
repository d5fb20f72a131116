/** Short notes in a corner: what was done, or why not. They are read out, and wait while the pointer is on them. */
import { Toast as RadixToast } from "radix-ui";
import { createContext, type ReactNode, useCallback, useContext, useMemo, useState } from "react";
import { ApiFailure } from "../api/client.ts";
import { Mark, type Tone } from "./badge.tsx";
import { Icon } from "./icon.tsx";
import { plain } from "./text.ts";
import "./toast.css";

interface Note {
  id: number;
  tone: Tone;
  title: string;
  detail: string | undefined;
}

export interface Toasts {
  done(title: string, detail?: string): void;
  /** Of a failed command. */
  failed(title: string, error: unknown): void;
}

const Context = createContext<Toasts>({ done: () => undefined, failed: () => undefined });
export const useToasts = (): Toasts => useContext(Context);

const SHOWN_MS = 5000;
const FAILURE_SHOWN_MS = 12_000;
const NOTES_MAX = 4;
let lastId = 0;

export function ToastProvider({ children }: { children: ReactNode }) {
  const [notes, setNotes] = useState<readonly Note[]>([]);
  const add = useCallback((tone: Tone, title: string, detail?: string) => {
    lastId += 1;
    const note = { id: lastId, tone, title, detail };
    setNotes((before) => [...before, note].slice(-NOTES_MAX));
  }, []);
  const toasts = useMemo<Toasts>(
    () => ({
      done: (title, detail) => add("ok", title, detail),
      failed(title, error) {
        const detail = error instanceof ApiFailure ? `${error.title}: ${error.message}` : String(error);
        add("danger", title, detail);
      },
    }),
    [add],
  );
  return (
    <Context.Provider value={toasts}>
      <RadixToast.Provider swipeDirection="right" label="Note">
        {children}
        {notes.map(({ id, tone, title, detail }) => (
          <RadixToast.Root
            key={id}
            className="toast"
            type={tone === "danger" ? "foreground" : "background"}
            duration={tone === "danger" ? FAILURE_SHOWN_MS : SHOWN_MS}
            onOpenChange={(open) => open || setNotes((before) => before.filter((note) => note.id !== id))}
          >
            <Mark tone={tone} />
            <div className="toast-text">
              <RadixToast.Title className="toast-title">{plain(title)}</RadixToast.Title>
              {detail && <RadixToast.Description className="wrap">{plain(detail)}</RadixToast.Description>}
            </div>
            <RadixToast.Close className="button button-plain button-icon" aria-label="Close">
              <Icon name="close" />
            </RadixToast.Close>
          </RadixToast.Root>
        ))}
        <RadixToast.Viewport className="toasts" />
      </RadixToast.Provider>
    </Context.Provider>
  );
}
