import { readFileSync } from "node:fs";
import { describe, expect, it } from "@jest/globals";

const css = readFileSync(new URL("../src/ui/tokens.css", import.meta.url), "utf8");
const [light = "", dark = ""] = css.split(':root[data-theme="dark"]');

const colour = (theme: string, name: string): string =>
  new RegExp(`--${name}: (#[0-9a-f]{6});`).exec(theme)?.[1] ?? `no ${name}`;

/** Relative luminance, as WCAG has it. */
function luminance(hex: string): number {
  const [red = 0, green = 0, blue = 0] = [1, 3, 5].map((at) => {
    const part = Number.parseInt(hex.slice(at, at + 2), 16) / 255;
    return part <= 0.040_45 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
}

function contrast(one: string, other: string): number {
  const [high = 0, low = 0] = [luminance(one), luminance(other)].sort((a, b) => b - a);
  return (high + 0.05) / (low + 0.05);
}

describe.each([
  ["light", light, 1.4],
  ["dark", dark, 1.8],
] as const)("the colours of load, in %s", (_name, theme, leastContrast) => {
  it("tell free from a quarter, and a quarter from half, by how light they are", () => {
    const [free = "", quarter = "", half = ""] = [0, 1, 2].map((step) => colour(theme, `load-${step}`));
    expect(contrast(free, quarter)).toBeGreaterThan(leastContrast);
    expect(contrast(quarter, half)).toBeGreaterThan(1.6);
  });

  it("are seen on a card, from half on clearly", () => {
    const surface = colour(theme, "surface");
    expect(contrast(colour(theme, "load-0"), surface)).toBeGreaterThan(1.35);
    for (const step of [2, 3, 4]) expect(contrast(colour(theme, `load-${step}`), surface)).toBeGreaterThan(3);
  });
});
