/** What is seldom asked of a wolf: policy, weights, resources, constraints. */
import { useState } from "react";
import { Choice, Field } from "../../ui/controls.tsx";
import { Icon } from "../../ui/icon.tsx";
import { type ConstraintDraft, emptyDraft, weightNames } from "./form.ts";
import { type FieldsProps, Text } from "./text-field.tsx";

const policies = [
  ["", "The fleet's own"],
  ["least-loaded", "Lowest load"],
  ["bin-pack", "Fullest with room"],
  ["random-of-best", "Random of the best"],
  ["cost", "Cheapest"],
  ["weighted", "Weighted score"],
] as const;

const shownHere = ["policy", "weights", "vram", "encoders", "allowDegraded", "constraints"] as const;

const isSame = (a: unknown, b: unknown) => JSON.stringify(a) === JSON.stringify(b);

export function WishDetails(props: FieldsProps) {
  const { draft, change, problems } = props;
  // What is filled in already is to be seen.
  const [isOpen, setOpen] = useState(() =>
    shownHere.some((field) => !isSame(draft[field], emptyDraft[field])),
  );
  // What is wrong is not to be looked for.
  const isWrong = shownHere.some((field) => problems[field] !== undefined);
  return (
    <details
      className="create-more"
      open={isOpen || isWrong}
      onToggle={(event) => setOpen(event.currentTarget.open)}
    >
      <summary>Policy, resources and constraints</summary>
      <div className="create-fields">
        <Field label="Among those that fit" hint="Which of them is taken." error={problems.policy}>
          {(ids) => (
            <Choice
              {...ids}
              value={draft.policy}
              onChange={(policy) => change({ policy })}
              options={policies}
            />
          )}
        </Field>
        {draft.policy === "weighted" && <Weights {...props} />}
        <div className="create-pair">
          <Text {...props} field="vram" label="Video memory, MiB" isNumber placeholder="0" />
          <Text {...props} field="encoders" label="Video streams" isNumber />
        </div>
        <label className="check">
          <input
            type="checkbox"
            checked={draft.allowDegraded}
            onChange={(event) => change({ allowDegraded: event.target.checked })}
          />
          <span>A degraded wolf, if no healthy one fits</span>
        </label>
        <Constraints {...props} />
      </div>
    </details>
  );
}

const weightWords = {
  load: "Room",
  packing: "Fullness",
  cost: "Cheapness",
  region: "Region",
  image: "Image there",
  rtt: "Nearness",
} as const;

function Weights({ draft, change, problems }: FieldsProps) {
  return (
    <fieldset className="create-weights">
      <legend className="field-label">What counts, and how much</legend>
      <div className="create-thirds">
        {weightNames.map((name) => (
          <label key={name} className="field">
            <span className="small muted">{weightWords[name]}</span>
            <input
              className="input"
              inputMode="decimal"
              autoComplete="off"
              aria-invalid={problems.weights !== undefined}
              value={draft.weights[name]}
              onChange={(event) => change({ weights: { ...draft.weights, [name]: event.target.value } })}
            />
          </label>
        ))}
      </div>
      <p className={problems.weights ? "field-error" : "field-hint"}>
        {problems.weights ?? "From 0 to 100."}
      </p>
    </fieldset>
  );
}

const ops = [
  ["in", "is one of"],
  ["not-in", "is none of"],
  ["exists", "is there"],
  ["absent", "is not there"],
] as const;
const CONSTRAINTS_MAX = 16;

function Constraints({ draft, change, problems }: FieldsProps) {
  const { constraints } = draft;
  const put = (index: number, part: Partial<ConstraintDraft>) =>
    change({ constraints: constraints.map((one, at) => (at === index ? { ...one, ...part } : one)) });
  return (
    <fieldset className="create-constraints">
      <legend className="field-label">Constraints</legend>
      {constraints.map(({ attribute, op, values }, index) => (
        // biome-ignore lint/suspicious/noArrayIndexKey: they have no other name, and are only added at the end
        <div key={index} className="create-constraint">
          <input
            className="input"
            aria-label={`Label of constraint ${index + 1}`}
            placeholder="zone, wolf:name …"
            list="create-attributes"
            autoComplete="off"
            value={attribute}
            onChange={(event) => put(index, { attribute: event.target.value })}
          />
          <Choice
            label={`Kind of constraint ${index + 1}`}
            value={op}
            onChange={(next) => put(index, { op: next as "in" })}
            options={ops}
          />
          {(op === "in" || op === "not-in") && (
            <input
              className="input create-values"
              aria-label={`Values of constraint ${index + 1}`}
              placeholder="a, b"
              autoComplete="off"
              value={values}
              onChange={(event) => put(index, { values: event.target.value })}
            />
          )}
          <button
            type="button"
            className="button button-plain button-icon"
            aria-label={`Remove constraint ${index + 1}`}
            onClick={() => change({ constraints: constraints.filter((_one, at) => at !== index) })}
          >
            <Icon name="close" />
          </button>
        </div>
      ))}
      <datalist id="create-attributes">
        <option value="wolf:name" />
        <option value="wolf:id" />
        <option value="wolf:region" />
      </datalist>
      {problems.constraints && <p className="field-error">{problems.constraints}</p>}
      <button
        type="button"
        className="button create-add"
        disabled={constraints.length >= CONSTRAINTS_MAX}
        onClick={() => change({ constraints: [...constraints, { attribute: "", op: "in", values: "" }] })}
      >
        <Icon name="create" />
        Add a constraint
      </button>
    </fieldset>
  );
}
