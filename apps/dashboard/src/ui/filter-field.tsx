/** A text that filters: it counts once it is complete, with Enter or when the field is left; Escape takes it back. */
import { useEffect, useId, useState } from "react";
import { Icon } from "./icon.tsx";
import "./filter-field.css";

interface FilterFieldProps {
  label: string;
  placeholder?: string;
  value: string;
  onChange: (value: string) => void;
  /** What is wrong with it, if anything. */
  error?: string | undefined;
  type?: "text" | "datetime-local";
}

const CHARACTERS_MAX = 64;

export function FilterField({
  label,
  placeholder = label,
  value,
  onChange,
  error,
  type = "text",
}: FilterFieldProps) {
  const [typed, setTyped] = useState(value);
  const id = useId();
  useEffect(() => setTyped(value), [value]);
  const commit = () => {
    if (typed.trim() !== value) onChange(typed.trim());
  };
  return (
    <div className="filter-field" title={error}>
      {type === "datetime-local" && (
        <label htmlFor={id} className="small muted">
          {label}
        </label>
      )}
      <input
        id={id}
        type={type}
        className="input"
        aria-label={type === "text" ? label : undefined}
        aria-invalid={error !== undefined}
        placeholder={placeholder}
        maxLength={CHARACTERS_MAX}
        autoComplete="off"
        spellCheck={false}
        value={typed}
        onChange={(event) => setTyped(event.target.value)}
        onBlur={commit}
        onKeyDown={(event) => {
          if (event.key === "Enter") commit();
          if (event.key === "Escape") setTyped(value);
        }}
      />
      {value !== "" && type === "text" && (
        <button
          type="button"
          className="filter-clear"
          aria-label={`Clear: ${label}`}
          onClick={() => onChange("")}
        >
          <Icon name="close" size={12} />
        </button>
      )}
      {error && (
        <span className="unseen" role="alert">
          {error}
        </span>
      )}
    </div>
  );
}
