/** Dialogs: one to show or ask something, one to confirm what cannot be undone by pressing elsewhere. */
import { AlertDialog, Dialog as RadixDialog } from "radix-ui";
import { type FormEvent, type ReactNode, useId, useRef, useState } from "react";
import { Icon } from "./icon.tsx";
import { Failure } from "./states.tsx";
import { plain } from "./text.ts";
import "./dialog.css";

interface DialogProps {
  open: boolean;
  onOpenChange: (open: boolean) => void;
  title: string;
  description?: ReactNode;
  children: ReactNode;
  /** Buttons below; there is always a cross above. */
  actions?: ReactNode;
  wide?: boolean;
}

export function Dialog({ open, onOpenChange, title, description, children, actions, wide }: DialogProps) {
  const wayBack = useWayBack();
  return (
    <RadixDialog.Root open={open} onOpenChange={onOpenChange}>
      <RadixDialog.Portal>
        <RadixDialog.Overlay className="dialog-scrim" />
        <RadixDialog.Content
          className={wide ? "dialog dialog-wide" : "dialog"}
          {...wayBack}
          {...(description ? {} : { "aria-describedby": undefined })}
        >
          <header className="dialog-head">
            <RadixDialog.Title className="dialog-title">{title}</RadixDialog.Title>
            <RadixDialog.Close className="button button-plain button-icon" aria-label="Close">
              <Icon name="close" />
            </RadixDialog.Close>
          </header>
          {description && <RadixDialog.Description className="muted">{description}</RadixDialog.Description>}
          <div className="dialog-body">{children}</div>
          {actions && <footer className="dialog-actions">{actions}</footer>}
        </RadixDialog.Content>
      </RadixDialog.Portal>
    </RadixDialog.Root>
  );
}

interface ConfirmProps {
  open: boolean;
  onOpenChange: (open: boolean) => void;
  title: string;
  /** What will happen. */
  description: ReactNode;
  /** The verb of the button: `Drain`, `Stop session`. */
  confirm: string;
  danger?: boolean;
  /** To be typed first, such as a name, where it would be hard to make good. */
  typed?: string;
  /** More to say or to fill in. */
  children?: ReactNode;
  /** Keeps the dialog open until it settles; a rejection is shown in it. */
  onConfirm: () => Promise<unknown>;
}

export function Confirm(props: ConfirmProps) {
  const { open, onOpenChange, title, description, confirm, danger, typed, children, onConfirm } = props;
  const [given, setGiven] = useState("");
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<Error>();
  const field = useId();
  // What has characters that nobody sees is typed as it is shown.
  const wanted = typed === undefined ? undefined : plain(typed);
  const fits = wanted === undefined || given === typed || given === wanted;
  const wayBack = useWayBack();

  function change(next: boolean): void {
    if (busy) return;
    setGiven("");
    setError(undefined);
    onOpenChange(next);
  }

  async function submit(event: FormEvent): Promise<void> {
    event.preventDefault();
    if (busy) return;
    setBusy(true);
    setError(undefined);
    try {
      await onConfirm();
      setGiven("");
      onOpenChange(false);
    } catch (cause) {
      setError(cause instanceof Error ? cause : new Error(String(cause)));
    } finally {
      setBusy(false);
    }
  }

  return (
    <AlertDialog.Root open={open} onOpenChange={change}>
      <AlertDialog.Portal>
        <AlertDialog.Overlay className="dialog-scrim" />
        <AlertDialog.Content className="dialog" {...wayBack}>
          <form className="dialog-form" onSubmit={submit}>
            <AlertDialog.Title className="dialog-title">{title}</AlertDialog.Title>
            <AlertDialog.Description asChild>
              <div className="muted wrap">{description}</div>
            </AlertDialog.Description>
            {children && <div className="dialog-body">{children}</div>}
            {wanted !== undefined && (
              <div className="field">
                <label className="field-label" htmlFor={field}>
                  Type <code>{wanted}</code> to go on
                </label>
                <input
                  id={field}
                  className="input"
                  autoComplete="off"
                  spellCheck={false}
                  value={given}
                  onChange={(event) => setGiven(event.target.value)}
                />
              </div>
            )}
            {error && <Failure error={error} />}
            <footer className="dialog-actions">
              <AlertDialog.Cancel type="button" className="button" disabled={busy}>
                Cancel
              </AlertDialog.Cancel>
              <button
                type="submit"
                className={danger ? "button button-fatal" : "button button-primary"}
                disabled={busy || !fits}
                aria-busy={busy}
              >
                {busy ? `${confirm} …` : confirm}
              </button>
            </footer>
          </form>
        </AlertDialog.Content>
      </AlertDialog.Portal>
    </AlertDialog.Root>
  );
}

/** Leads the keyboard back to where it was: Radix would to a trigger, and these dialogs have none. */
function useWayBack() {
  const opener = useRef<Element>(null);
  return {
    onOpenAutoFocus() {
      opener.current = document.activeElement;
    },
    onCloseAutoFocus(event: Event) {
      event.preventDefault();
      const back = opener.current?.isConnected ? opener.current : document.getElementById("main");
      if (back instanceof HTMLElement) back.focus({ preventScroll: true });
    },
  };
}
