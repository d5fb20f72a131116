/** A field of text of the form, with its hint or its problem. */
import { Field } from "../../ui/controls.tsx";
import type { Draft, Problems } from "./form.ts";

export interface FieldsProps {
  draft: Draft;
  change: (part: Partial<Draft>) => void;
  problems: Problems;
}

type TextField = "name" | "image" | "model" | "region" | "vram" | "encoders" | "pin" | "deadline" | "refresh";

interface TextProps extends FieldsProps {
  field: TextField;
  label: string;
  hint?: string;
  placeholder?: string;
  list?: string;
  isNumber?: boolean;
  maxLength?: number;
}

export function Text({
  field,
  label,
  hint,
  draft,
  change,
  problems,
  placeholder,
  list,
  isNumber,
  maxLength,
}: TextProps) {
  return (
    <Field label={label} hint={hint} error={problems[field]}>
      {(ids) => (
        <input
          {...ids}
          className="input"
          list={list}
          inputMode={isNumber ? "numeric" : undefined}
          maxLength={maxLength}
          placeholder={placeholder}
          autoComplete="off"
          spellCheck={false}
          value={draft[field]}
          onChange={(event) => change({ [field]: event.target.value })}
        />
      )}
    </Field>
  );
}
