/** How much of something is taken: a bar with its figures in words. */
import { percent } from "./text.ts";
import "./load-bar.css";

interface LoadBarProps {
  /** What is measured, for those who do not see it: `Slots of nvidia-1`. */
  label: string;
  used: number;
  /** Taken by others; drawn in another shade after what is used. */
  other?: number;
  max: number;
  /** Beside the bar; default: `3 / 10`. Empty: none. */
  text?: string;
  /** Share from which on it is drawn as a warning, and as full. */
  warnAt?: number;
  fullAt?: number;
}

export function LoadBar({ label, used, other = 0, max, text, warnAt = 0.8, fullAt = 1 }: LoadBarProps) {
  const share = max > 0 ? Math.min(1, (used + other) / max) : 0;
  const level = share >= fullAt ? "full" : share >= warnAt ? "high" : "fine";
  const said = text ?? `${used + other} / ${max}`;
  return (
    <span className={`load load-${level}`}>
      {/* biome-ignore lint/a11y/useSemanticElements: <meter> cannot show two shares */}
      <span
        className="load-track"
        role="meter"
        aria-label={label}
        aria-valuemin={0}
        aria-valuemax={max}
        aria-valuenow={Math.min(max, used + other)}
        aria-valuetext={`${said || percent(used + other, max)}`}
      >
        <span className="load-used" style={{ width: `${share * 100}%` }}>
          {other > 0 && (
            <span className="load-other" style={{ width: `${(100 * other) / (used + other)}%` }} />
          )}
        </span>
      </span>
      {said !== "" && <span className="load-text figures">{said}</span>}
    </span>
  );
}
