/**
 * Bodies, queries and ids of the wrong shape for every operation of the contract's table, so that a new operation is attacked
 * from its first day. What an operation's own schema takes is no attack and is left out.
 */
import { type Operation, operations } from "@wolfpack/api-contract";
import type { z } from "zod";
import { type HostileCase, requestText } from "./http-cases.ts";

export interface Keys {
  admin: string;
  /** For what only machines may do. */
  runner: string;
}

const entries = Object.entries(operations as Record<string, Operation>);
const API = "/api/v1/";
/** Ids that are well formed and name nothing. */
const NOTHING: Record<string, string> = {
  Wolf: "wlf",
  Session: "ses",
  User: "usr",
  ApiKey: "key",
};

const deep = (open: string, close: string, levels: number) =>
  `${open.repeat(levels)}1${close.repeat(levels)}`;

/** JSON texts that no operation takes. */
const documents: readonly (readonly [name: string, text: string])[] = [
  ["null", "null"],
  ["a number", "42"],
  ["a text", '"text"'],
  ["true", "true"],
  ["a list", "[]"],
  ["a list of lists", "[[[[]]]]"],
  ["an unknown field", '{"no-such-field":1}'],
  ["__proto__", '{"__proto__":{"role":"admin","name":"x"}}'],
  ["__proto__ of null", '{"__proto__":null}'],
  ["constructor", '{"constructor":{"prototype":{"role":"admin"}}}'],
  ["hasOwnProperty", '{"hasOwnProperty":1,"toString":2,"valueOf":3}'],
  ["toJSON", '{"toJSON":{}}'],
  ["nine thousand objects deep", deep('{"a":', "}", 9000)],
  ["thirty thousand lists deep", deep("[", "]", 30_000)],
  ["thirty thousand numbers", `[${"1,".repeat(30_000)}1]`],
  ["ten thousand fields", `{${Array.from({ length: 6000 }, (_, index) => `"f${index}":1`).join(",")}}`],
  ["a text of 65,000 characters", `{"x":"${"x".repeat(65_000)}"}`],
  ["a name of 60,000 characters", `{"${"x".repeat(60_000)}":1}`],
  ["one hundred thousand bytes", `{"x":"${"x".repeat(100_000)}"}`],
  ["a number of 60,000 digits", `{"x":${"9".repeat(60_000)}}`],
  ["1e999", '{"x":1e999}'],
  ["NaN", '{"x":NaN}'],
  ["Infinity", '{"x":Infinity}'],
  ["a hexadecimal number", '{"x":0x10}'],
  ["a number with a leading zero", '{"x":01}'],
  ["a comment", '{/* x */"x":1}'],
  ["a comma too many", '{"x":1,}'],
  ["single quotes", "{'x':1}"],
  ["an open text", '{"x":"'],
  ["an open object", '{"x":'],
  ["two documents", "{}{}"],
  ["a byte order mark inside", '{\ufeff"x":1}'],
  ["UTF-16", "\u00ff\u00fe{\u0000}\u0000"],
  ["broken UTF-8", '{"x":"\u00ff\u00fe\u00c0\u00af"}'],
  ["a lone surrogate", '{"x":"\\ud800"}'],
  ["NUL", '{"x":"\u0000"}'],
  ["a raw newline in a text", '{"x":"\n"}'],
  ["a field twice", '{"name":"a","name":"b"}'],
  ["a field twice, once escaped", '{"name":"a","n\\u0061me":"b"}'],
  ["nothing but spaces", " ".repeat(1000)],
  ["a form", "name=x&role=admin"],
  ["XML", '<?xml version="1.0"?><!DOCTYPE x [<!ENTITY y SYSTEM "file:///etc/passwd">]><x>&y;</x>'],
];

/** JSON texts in the place of one field's value. */
const values = [
  "null",
  "true",
  "false",
  "0",
  "-1",
  "-0",
  "1.5",
  "1e308",
  "9007199254740993",
  '""',
  '" "',
  '"\\u0000"',
  '"\\u001b[31m"',
  '"\\r\\nX: y"',
  '"../../etc/passwd"',
  "[]",
  "[null]",
  "{}",
  '{"$gt":""}',
  '{"__proto__":{"x":1}}',
  '{"toString":"x"}',
  `"${"x".repeat(50_000)}"`,
  '"\\ud800"',
  `[${'"x",'.repeat(5000)}"x"]`,
  deep("[", "]", 5000),
  '"javascript:alert(1)"',
  '"<script>"',
  '"٤٢"',
];

/** Query parameters that no list takes, and ids that nothing has. */
const queries = [
  "limit=0",
  "limit=-1",
  "limit=1e2",
  "limit=0x10",
  "limit=1.5",
  "limit=201",
  "limit=99999999999999999999",
  "limit=NaN",
  "limit=",
  "limit=%201",
  "limit=1&limit=2",
  "limit[]=1",
  "limit[$gt]=1",
  "cursor=",
  "cursor=x",
  "cursor=../..",
  "cursor=%00",
  "cursor=%27%20OR%201=1--",
  "cursor=a&cursor=b",
  "__proto__=1",
  "__proto__[x]=1",
  "constructor[prototype][x]=1",
  "no_such=1",
  "no_such",
  "=",
  "a&b&c",
  "force=yes",
  "force=TRUE",
  "force=true&force=false",
  "force",
  "status=%ff",
  "name=%F0%9F",
  `x=${"a".repeat(8000)}`,
  "a=b&".repeat(2000),
  "a[".repeat(1500),
  "%=1",
  "%00=1",
  "__proto__.x=1",
  "since=x",
  "since=99999-01-01",
  "until=-1",
  "owner_id=*",
  "gpu_type=nvidia,amd",
  "wolf_instance_id=wlf_x",
  "session_id=ses_x",
  "kind=%00",
  "kind=a&kind=b",
  `kind=${"k".repeat(64)}`,
  "newest_first=yes",
  "newest_first=true&newest_first=false",
];
const ids = [
  "x",
  "0",
  "-1",
  "*",
  "%20",
  "%00",
  "%ff",
  "%0d%0aX:y",
  "..%2f..%2fusers",
  "%2e%2e",
  "%252e%252e",
  "__proto__",
  "constructor",
  "toString",
  "null",
  "undefined",
  "true",
  "[object%20Object]",
  "%27%20OR%20%271%27=%271",
  "{id}",
  "a".repeat(5000),
  "%F0%9F%90%BA",
  "%e2%80%ae",
  "ses_01KB00000000000000000000S",
  "ses_01KB00000000000000000000SEE",
  "ses_01KB0000000000000000000oSE",
  "SES_01KB00000000000000000000SE",
  "ses_81KB00000000000000000000SE",
  "ses-01KB00000000000000000000SE",
  "ses_01KB00000000000000000000SE%0a",
  "%73es_01KB00000000000000000000SE%20",
];

/** The path with ids in it. */
const at = (operation: Operation, id: string) => operation.path.replaceAll(/\{\w+\}/g, id);

/** An id that fits the operation's parameter, of nothing that there is. */
function nothingOf(operation: Operation): string {
  for (const prefix of [...Object.values(NOTHING), "jtk", "agk", "wjt", "aud", "ses"]) {
    const id = `${prefix}_01KB00000000000000000000ZZ`;
    const named = Object.fromEntries(
      [...operation.path.matchAll(/\{(\w+)\}/g)].map(([, name = ""]) => [name, id]),
    );
    if (operation.params?.safeParse(named).success) return id;
  }
  return "x";
}

const asksFor = (operation: Operation) => operation.path.startsWith(API) && operation.action !== "tunnel";

function authorisation(operation: Operation, keys: Keys): string[] {
  if (operation.action === "public") return [];
  const machine = /^(wolf\.(register|heartbeat)|agent\.)/.test(operation.action);
  return [`Authorization: Bearer ${machine ? keys.runner : keys.admin}`];
}

function utf8(operation: Operation, target: string, text: string, headers: readonly string[]): Buffer {
  const body = /[\u0080-\u00ff]/.test(text) ? Buffer.from(text, "latin1") : Buffer.from(text);
  const head = requestText({
    method: operation.method,
    target,
    headers: [...headers, "Content-Type: application/json", `Content-Length: ${body.length}`],
  });
  return Buffer.concat([Buffer.from(head, "latin1"), body]);
}

/** Whether the operation would take it. What is no JSON is taken by none. */
function takes(schema: z.ZodType, text: string): boolean {
  try {
    return schema.safeParse(JSON.parse(text)).success;
  } catch {
    return false;
  }
}

function fieldsOf(schema: z.ZodType): string[] {
  const shape = (schema as { shape?: Record<string, unknown> }).shape ?? {};
  return Object.keys(shape);
}

function bodies(id: string, operation: Operation, keys: Keys): HostileCase[] {
  const { body } = operation;
  if (body === undefined) return [];
  const target = at(operation, nothingOf(operation));
  const headers = authorisation(operation, keys);
  const whole = documents
    // A field that is named twice is refused whatever the schema says of it.
    .filter(([name, text]) => name.startsWith("a field twice") || !takes(body, text))
    .map(([name, text]) => ({ kind: "documents", name: `${id}: ${name}`, text }));
  const single = fieldsOf(body).flatMap((field) =>
    values
      .map((value) => ({
        kind: "fields",
        name: `${id}: ${field} = ${value.slice(0, 30)}`,
        text: `{"${field}":${value}}`,
      }))
      .filter(({ text }) => !takes(body, text)),
  );
  return [...whole, ...single].map(({ kind, name, text }) => ({
    kind,
    name,
    bytes: utf8(operation, target, text, headers),
  }));
}

function typesOfBodies(id: string, operation: Operation, keys: Keys): HostileCase[] {
  if (operation.body === undefined) return [];
  const target = at(operation, nothingOf(operation));
  const text = '{"no-such-field":1}';
  const types = [
    "text/plain",
    "application/x-www-form-urlencoded",
    "multipart/form-data; boundary=x",
    "application/jsonp",
    "application/json, text/html",
    "application/json; charset=utf-7",
    "application/json; charset=\u0022",
    "application/json\u00a0",
    "text/json",
    "*/*",
    "",
    "application/vnd.revdial.v3",
  ];
  const lines = [
    ...types.map((type) => `Content-Type: ${type}`),
    "Content-Type: application/json\r\nContent-Encoding: gzip",
    "Content-Type: application/json\r\nContent-Encoding: br, br, br",
    "Content-Type: application/json\r\nContent-Encoding: x",
  ];
  return lines.map((line) => ({
    kind: "types",
    name: `${id}: ${line}`,
    bytes: Buffer.from(
      requestText({
        method: operation.method,
        target,
        headers: [...authorisation(operation, keys), line, `Content-Length: ${text.length}`],
        body: text,
      }),
      "latin1",
    ),
  }));
}

function queriesOf(id: string, operation: Operation, keys: Keys): HostileCase[] {
  const { query } = operation;
  return queries.flatMap((text) => {
    const given = Object.fromEntries(new URLSearchParams(text));
    const twice = new URLSearchParams(text).size !== Object.keys(given).length;
    if (query === undefined || (!twice && query.safeParse(given).success)) return [];
    const target = `${at(operation, nothingOf(operation))}?${text}`;
    const bytes = Buffer.from(
      requestText({ method: operation.method, target, headers: authorisation(operation, keys) }),
      "latin1",
    );
    return [{ kind: "queries", name: `${id}?${text.slice(0, 40)}`, bytes }];
  });
}

function idsOf(id: string, operation: Operation, keys: Keys): HostileCase[] {
  if (operation.params === undefined) return [];
  return ids.map((text) => ({
    kind: "ids",
    name: `${id}: ${text.slice(0, 40)}`,
    bytes: Buffer.from(
      requestText({
        method: operation.method,
        target: at(operation, text),
        headers: authorisation(operation, keys),
      }),
      "latin1",
    ),
  }));
}

export function contractCases(keys: Keys): HostileCase[] {
  return entries
    .filter(([, operation]) => asksFor(operation))
    .flatMap(([id, operation]) => [
      ...bodies(id, operation, keys),
      ...typesOfBodies(id, operation, keys),
      ...queriesOf(id, operation, keys),
      ...idsOf(id, operation, keys),
    ]);
}
