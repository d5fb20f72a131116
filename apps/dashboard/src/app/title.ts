/** What the browser calls a page, as a function of values: the object, the page, the product. */
import { plain } from "../ui/text.ts";

const NAME_CHARACTERS_MAX = 80;

const pages: readonly (readonly [RegExp, string])[] = [
  [/^\/$/, "Fleet"],
  [/^\/login$/, "Sign in"],
  [/^\/wolves\/[^/]+$/, "Wolf"],
  [/^\/sessions\/new$/, "New session"],
  [/^\/sessions\/[^/]+$/, "Session"],
  ...["Topology", "Sessions", "Queue", "Events", "Audit", "Access", "Health"].map(
    (word) => [new RegExp(`^/${word.toLowerCase()}$`), word] as const,
  ),
];

/** `gpu-1 – Wolf – Wolfpack`; the name is whatever a host or a user chose. */
export function titleOf(path: string, name?: string | null): string {
  const trimmed = path === "/" ? path : path.replace(/\/+$/, "");
  const page = pages.find(([pattern]) => pattern.test(trimmed))?.[1] ?? "No such page";
  return [plain(name, NAME_CHARACTERS_MAX), page, "Wolfpack"].filter(Boolean).join(" – ");
}
