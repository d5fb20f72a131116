/** What several schemas are made of. */
import { z } from "zod";

export const instant = z.iso
  .datetime()
  .meta({ description: "ISO 8601, UTC", example: "2026-11-23T12:00:00.000Z" });

/** Crockford base32 ULID behind a prefix. */
export const prefixedId = (prefix: string) =>
  z.string().regex(new RegExp(`^${prefix}_[0-9A-HJKMNP-TV-Z]{26}$`));

// biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what this refuses
const noControls = /^[^\u0000-\u001f\u007f]*$/;
/** One line of text. Half a surrogate pair is refused here because PostgreSQL would refuse it later. */
export const line = (charactersMax: number) =>
  z
    .string()
    .max(charactersMax)
    .regex(noControls, "has control characters")
    .refine((text) => text.isWellFormed(), "is not well-formed Unicode");

/** Yes or no in a query. */
export const flag = z.enum(["true", "false"]).transform((value) => value === "true");

export const GpuType = z.enum(["nvidia", "amd", "intel", "none"]).meta({ id: "GpuType" });
export type GpuType = z.infer<typeof GpuType>;

/** Digits only: what Number() would also take (spaces, exponents, hexadecimal) is no page size. */
const limitUpTo = (max: number, digits: RegExp) =>
  z
    .union([z.number(), z.string().regex(digits, `is not a number from 1 to ${max}`)])
    .transform(Number)
    .pipe(z.int().min(1).max(max))
    .default(100)
    .meta({
      override: ({ jsonSchema }) => {
        delete jsonSchema.anyOf;
        Object.assign(jsonSchema, { type: "integer", minimum: 1, maximum: max, default: 100 });
      },
    });
export const Limit = limitUpTo(200, /^[0-9]{1,3}$/);
/** Of lists that a page shows as a whole. */
export const LargeLimit = limitUpTo(1000, /^[0-9]{1,4}$/);
