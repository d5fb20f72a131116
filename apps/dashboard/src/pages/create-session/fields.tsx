/** The fields of a new session, in three groups; what is seldom needed is folded away. */
import { useMemo } from "react";
import { useMe } from "../../api/queries.ts";
import { useWolves } from "../../api/wolves.ts";
import { Choice, Field } from "../../ui/controls.tsx";
import { limitOf, plain } from "../../ui/text.ts";
import { type FieldsProps, Text } from "./text-field.tsx";
import { WishDetails } from "./wish-details.tsx";

const resolutions = [
  ["1280x720", "1280 × 720"],
  ["1920x1080", "1920 × 1080"],
  ["2560x1440", "2560 × 1440"],
  ["3440x1440", "3440 × 1440"],
  ["3840x2160", "3840 × 2160"],
  ["1080x1920", "1080 × 1920"],
] as const;
const rates = [
  ["30", "30 Hz"],
  ["60", "60 Hz"],
  ["90", "90 Hz"],
  ["120", "120 Hz"],
  ["144", "144 Hz"],
  ["240", "240 Hz"],
] as const;

type Options = readonly (readonly [string, string])[];
/** A session that is made once more may have had what is not offered here. */
const withCurrent = (options: Options, current: string, words: (value: string) => string): Options =>
  options.some(([option]) => option === current) ? options : [...options, [current, words(current)]];
const lasting = (seconds: string) => limitOf(Number(seconds) * 1000);

export function SandboxFields(props: FieldsProps) {
  const { draft, change, problems } = props;
  return (
    <fieldset className="card create-group">
      <legend>Desktop</legend>
      <Text {...props} field="name" label="Name" maxLength={100} placeholder="design review" />
      <Text
        {...props}
        field="image"
        label="Image"
        maxLength={255}
        placeholder="the fleet's own"
        hint="A container image; empty for the one that the fleet is set to."
      />
      <div className="create-pair">
        <Field label="Resolution" error={problems.resolution}>
          {(ids) => (
            <Choice
              {...ids}
              value={draft.resolution}
              onChange={(resolution) => change({ resolution })}
              options={withCurrent(resolutions, draft.resolution, (size) => size.replace("x", " × "))}
            />
          )}
        </Field>
        <Field label="Refresh rate" error={problems.refresh}>
          {(ids) => (
            <Choice
              {...ids}
              value={draft.refresh}
              onChange={(refresh) => change({ refresh })}
              options={withCurrent(rates, draft.refresh, (rate) => `${rate} Hz`)}
            />
          )}
        </Field>
      </div>
      <Text
        {...props}
        field="pin"
        label="PIN"
        maxLength={16}
        isNumber
        hint="Asked of whoever joins it with Moonlight. 4 to 16 digits, or empty."
      />
    </fieldset>
  );
}

const gpus = [
  ["", "Any"],
  ["nvidia", "NVIDIA"],
  ["amd", "AMD"],
  ["intel", "Intel"],
  ["none", "None"],
] as const;
export function PlaceFields(props: FieldsProps) {
  const { draft, change, problems } = props;
  const known = useKnown();
  return (
    <fieldset className="card create-group">
      <legend>Where it may run</legend>
      <div className="create-pair">
        <Field label="GPU">
          {(ids) => <Choice {...ids} value={draft.gpu} onChange={(gpu) => change({ gpu })} options={gpus} />}
        </Field>
        <Text
          {...props}
          field="model"
          label="Model contains"
          list="create-models"
          maxLength={63}
          placeholder="any"
        />
      </div>
      <Text {...props} field="region" label="Region" list="create-regions" maxLength={63} placeholder="any" />
      <label className="check">
        <input
          type="checkbox"
          checked={draft.regionRequired}
          disabled={draft.region.trim() === ""}
          onChange={(event) => change({ regionRequired: event.target.checked })}
        />
        <span>No other region, even where there is no room</span>
      </label>
      <Field label="Labels" error={problems.labels} hint="All that its wolf must have: zone=a, disk=fast">
        {(ids) => (
          <input
            {...ids}
            className="input"
            autoComplete="off"
            spellCheck={false}
            placeholder="none"
            value={draft.labels}
            onChange={(event) => change({ labels: event.target.value })}
          />
        )}
      </Field>
      <WishDetails {...props} />
      <datalist id="create-regions">
        {known.regions.map((one) => (
          <option key={one} value={one} />
        ))}
      </datalist>
      <datalist id="create-models">
        {known.models.map((one) => (
          <option key={one} value={one} />
        ))}
      </datalist>
    </fieldset>
  );
}

const KNOWN_MAX = 100;

/** What wolves of the fleet have, to choose from. */
function useKnown(): { regions: string[]; models: string[] } {
  const rows = useWolves().data?.rows;
  return useMemo(() => {
    const sorted = (values: (string | null | undefined)[]) =>
      [...new Set(values.filter((one) => typeof one === "string" && one !== "" && plain(one) === one))]
        .sort()
        .slice(0, KNOWN_MAX) as string[];
    return {
      regions: sorted((rows ?? []).map(({ region }) => region)),
      models: sorted(
        (rows ?? []).flatMap(({ gpu_model, host }) => [
          gpu_model,
          ...(host?.gpus ?? []).map((gpu) => gpu.model),
        ]),
      ),
    };
  }, [rows]);
}

const lives = [
  ["", "Without limit"],
  ["3600", "1 hour"],
  ["14400", "4 hours"],
  ["28800", "8 hours"],
  ["86400", "1 day"],
  ["604800", "7 days"],
] as const;
const idles = [
  ["", "Without limit"],
  ["900", "15 minutes"],
  ["1800", "30 minutes"],
  ["3600", "1 hour"],
  ["14400", "4 hours"],
] as const;
const deadlines = [
  ["", "The fleet's own"],
  ["60", "1 minute"],
  ["600", "10 minutes"],
  ["1800", "30 minutes"],
  ["7200", "2 hours"],
  ["86400", "1 day"],
] as const;
const disconnects = [
  ["keep", "It waits for it"],
  ["replace", "It starts anew elsewhere"],
  ["stop", "It ends"],
] as const;
/** Above 4 is for operators and admins. */
const PRIORITY_MAX_OF_USERS = 4;
const PRIORITY_MAX = 9;

/** Of whoever is signed in. */
export function usePriorityMax(): number {
  const role = useMe()?.role;
  return role === "admin" || role === "operator" ? PRIORITY_MAX : PRIORITY_MAX_OF_USERS;
}

export function LifeFields({ draft, change, problems }: FieldsProps) {
  const priorityMax = usePriorityMax();
  const priorities = Array.from({ length: priorityMax + 1 }, (_unused, index) => {
    const priority = String(priorityMax - index);
    return [priority, priority === "4" ? "4, as usual" : priority] as const;
  });
  const choice = (
    field: "ttl" | "idle" | "deadline" | "disconnect" | "priority",
    label: string,
    options: Options,
    hint?: string,
  ) => (
    <Field label={label} hint={hint} error={problems[field]}>
      {(ids) => (
        <Choice
          {...ids}
          value={draft[field]}
          onChange={(value) => change({ [field]: value })}
          options={options}
        />
      )}
    </Field>
  );
  return (
    <fieldset className="card create-group">
      <legend>How long</legend>
      <div className="create-pair">
        {choice("ttl", "Time to live", withCurrent(lives, draft.ttl, lasting), "From when it runs.")}
        {choice(
          "idle",
          "Stops when idle for",
          withCurrent(idles, draft.idle, lasting),
          "Nobody joins it or looks at it.",
        )}
      </div>
      {choice("disconnect", "When its wolf is lost", disconnects)}
      <label className="check">
        <input
          type="checkbox"
          checked={draft.waits}
          onChange={(event) => change({ waits: event.target.checked })}
        />
        <span>Wait in the queue while there is no room</span>
      </label>
      {draft.waits && (
        <div className="create-pair">
          {choice("deadline", "Waits at most", withCurrent(deadlines, draft.deadline, lasting))}
          {choice("priority", "Priority", priorities, "Higher goes first.")}
        </div>
      )}
    </fieldset>
  );
}
