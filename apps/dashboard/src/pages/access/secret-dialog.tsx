/**
 * What is shown once: a key or a token. It is in the memory of this component and nowhere else: neither the cache of reads, nor the
 * address, nor the browser's storage has it, and it is gone with the dialog.
 */
import { type ReactNode, useState } from "react";
import { Dialog } from "../../ui/dialog.tsx";
import { Icon } from "../../ui/icon.tsx";

interface SecretDialogProps {
  title: string;
  /** What it is: `API key`. */
  what: string;
  secret: string;
  wide?: boolean;
  onClose: () => void;
  children?: ReactNode;
}

export function SecretDialog({ title, what, secret, wide = false, onClose, children }: SecretDialogProps) {
  const [copied, setCopied] = useState<"no" | "yes" | "refused">("no");
  const [warned, setWarned] = useState(false);
  async function copy(): Promise<void> {
    try {
      // Absent where the page came without TLS.
      await navigator.clipboard.writeText(secret);
      setCopied("yes");
    } catch {
      setCopied("refused");
    }
  }
  /** Not by a slip: it cannot be shown again. */
  function close(): void {
    if (copied === "yes" || warned) onClose();
    else setWarned(true);
  }
  return (
    <Dialog
      open
      wide={wide}
      onOpenChange={(open) => open || close()}
      title={title}
      description={`This ${what} is shown this once and kept nowhere in the clear. Store it now.`}
      actions={
        <button
          type="button"
          className={copied === "yes" ? "button button-primary" : "button"}
          onClick={close}
        >
          {copied !== "yes" && warned ? "Close without copying" : "Done"}
        </button>
      }
    >
      <div className="access-secret">
        <input
          className="input mono"
          readOnly
          aria-label={what}
          value={secret}
          spellCheck={false}
          autoComplete="off"
          onFocus={(event) => event.currentTarget.select()}
        />
        <button type="button" className="button button-primary" onClick={() => void copy()}>
          <Icon name={copied === "yes" ? "check" : "copy"} />
          {copied === "yes" ? "Copied" : "Copy"}
        </button>
      </div>
      <p className="small access-secret-note" role="status">
        {copied === "refused" && "The browser refused: select it and copy it by hand."}
        {copied !== "yes" && warned && `Copy it first: there is no other way to this ${what} again.`}
      </p>
      {children}
    </Dialog>
  );
}
