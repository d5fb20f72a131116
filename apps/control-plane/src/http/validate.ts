/** Requests against the contract's schemas: what does not fit is one problem that names every place. */
import { type Operation, problemKind } from "@wolfpack/api-contract";
import type { Request } from "express";
import { z } from "zod";
import { ApiError } from "./problem.ts";

const ERRORS_SHOWN = 20;
/** Names of fields are the caller's own: neither the answer nor the log grows with them. */
const PATH_CHARACTERS_MAX = 100;
const MESSAGE_CHARACTERS_MAX = 200;

const short = (text: string, max: number) => (text.length > max ? `${text.slice(0, max)}…` : text);

/** `where` is what errors call the value. */
export function parse<Schema extends z.ZodType>(
  schema: Schema,
  value: unknown,
  where: string,
): z.output<Schema> {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const errors = result.error.issues
    .flatMap((issue) => {
      const path = [where, ...issue.path.map(String)];
      // Of unknown fields the schema names only the object that holds them.
      if (issue.code !== "unrecognized_keys") return [{ path: path.join("."), message: issue.message }];
      return issue.keys.map((key) => ({ path: [...path, key].join("."), message: "unknown field" }));
    })
    .slice(0, ERRORS_SHOWN)
    .map((error) => ({
      path: short(error.path, PATH_CHARACTERS_MAX),
      message: short(error.message, MESSAGE_CHARACTERS_MAX),
    }));
  throw new ApiError(
    "invalid-request",
    `The request does not fit its schema: ${errors[0]?.path} ${errors[0]?.message}.`,
    { extras: { errors }, logged: loggedOf(schema, result.error.issues[0], where) },
  );
}

/** For the log, whose words are ours: the field of the contract, if it is one, and the kind of mistake. */
function loggedOf(schema: z.ZodType, issue: z.core.$ZodIssue | undefined, where: string): string {
  const [first] = issue?.path ?? [];
  const isOurs =
    schema instanceof z.ZodObject && typeof first === "string" && Object.hasOwn(schema.shape, first);
  return `The request does not fit its schema: ${isOurs ? `${where}.${first}` : where} (${issue?.code}).`;
}

/** A JSON body. Error: unsupported-media-type when there is a body of another type. */
export function parseBody<Schema extends z.ZodType>(schema: Schema, req: Request): z.output<Schema> {
  const hasBody =
    req.headers["transfer-encoding"] !== undefined || Number(req.headers["content-length"] ?? 0) > 0;
  if (hasBody && !req.is("application/json"))
    throw new ApiError("unsupported-media-type", "Send Content-Type: application/json.");
  return parse(schema, req.body, "body");
}

/** As parseBody, for operations whose body may be left out. */
export function parseOptionalBody<Schema extends z.ZodType>(schema: Schema, req: Request): z.output<Schema> {
  if (req.body === undefined) req.body = {};
  return parseBody(schema, req);
}

export function parseQuery<Schema extends z.ZodType>(schema: Schema, req: Request): z.output<Schema> {
  return parse(schema, req.query, "query");
}

/** Ids in the path: one that cannot exist reads like one that does not. */
export function parseParams({ params, problems }: Operation, req: Request): Record<string, string> {
  const result = params?.safeParse(req.params);
  if (result?.success) return result.data as Record<string, string>;
  const missing = problems.find((code) => problemKind(code).status === 404) ?? "not-found";
  throw new ApiError(missing, `${problemKind(missing).title}.`);
}
