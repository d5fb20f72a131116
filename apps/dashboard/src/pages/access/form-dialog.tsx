/** A dialog that asks for something and does it: what went wrong is said in it, and it stays. */
import { type FormEvent, type ReactNode, useId, useState } from "react";
import { Dialog } from "../../ui/dialog.tsx";
import { Failure } from "../../ui/states.tsx";

interface FormDialogProps {
  title: string;
  description?: ReactNode;
  /** The verb of the button. */
  submit: string;
  disabled?: boolean;
  onClose: () => void;
  /** Closes the dialog itself, once it is done. */
  onSubmit: () => Promise<void>;
  children: ReactNode;
}

export function FormDialog(props: FormDialogProps) {
  const { title, description, submit, disabled = false, onClose, onSubmit, children } = props;
  const form = useId();
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<Error>();
  async function run(event: FormEvent): Promise<void> {
    event.preventDefault();
    if (busy || disabled) return;
    setBusy(true);
    setError(undefined);
    try {
      await onSubmit();
    } catch (cause) {
      setError(cause instanceof Error ? cause : new Error(String(cause)));
    } finally {
      setBusy(false);
    }
  }
  return (
    <Dialog
      open
      onOpenChange={(open) => open || busy || onClose()}
      title={title}
      description={description}
      actions={
        <>
          <button type="button" className="button" disabled={busy} onClick={onClose}>
            Cancel
          </button>
          <button
            type="submit"
            form={form}
            className="button button-primary"
            disabled={busy || disabled}
            aria-busy={busy}
          >
            {busy ? `${submit} …` : submit}
          </button>
        </>
      }
    >
      <form id={form} ref={focusFirst} className="access-form" onSubmit={(event) => void run(event)}>
        {children}
        {error && <Failure error={error} />}
      </form>
    </Dialog>
  );
}

/** Whoever opens a form wants to fill it in, not to close it. Before the dialog looks for a place for the focus itself. */
function focusFirst(form: HTMLFormElement | null): void {
  form?.querySelector<HTMLElement>("input:not([type=radio]), input:checked, select")?.focus();
}

interface OptionsProps<Value extends string> {
  legend: string;
  name: string;
  value: Value;
  options: readonly (readonly [Value, string, string])[];
  onChange: (value: Value) => void;
}

/** One of a few, each with what it means. */
export function Options<Value extends string>({
  legend,
  name,
  value,
  options,
  onChange,
}: OptionsProps<Value>) {
  return (
    <fieldset className="access-options">
      <legend className="field-label">{legend}</legend>
      {options.map(([option, word, meaning]) => (
        <label key={option} className="check access-option">
          <input
            type="radio"
            name={name}
            value={option}
            checked={value === option}
            onChange={() => onChange(option)}
          />
          <span>
            <span className="access-option-word">{word}</span>
            <span className="small muted access-option-meaning">{meaning}</span>
          </span>
        </label>
      ))}
    </fieldset>
  );
}
