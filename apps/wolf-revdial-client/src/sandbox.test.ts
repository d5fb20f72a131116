import { describe, expect, it } from "@jest/globals";
import type { IncomingRequest, Reply } from "revdial";
import { onlyScreenOf } from "./sandbox.ts";

const own = "ses_01ARZ3NDEKTSV4RRFFQ69G5FAV";

describe("what a sandbox serves", () => {
  it.each([
    ["screen", `/${own}/screenshot`, 200],
    ["screen", "/ses_01ARZ3NDEKTSV4RRFFQ69G5FAW/screenshot", 404],
    ["screen", `/${own}x/screenshot`, 404],
    ["wolf", `/${own}/screenshot`, 404],
    ["wolf", "/api/v1/lobbies", 404],
  ])("is its own screen and nothing else: %s %s gives %i", async (service, path, status) => {
    const handler = onlyScreenOf(own, () => ({ status: 200 }));
    const request = { service, path, method: "GET" } as IncomingRequest;
    expect(await handler(request, {} as Reply)).toMatchObject({ status });
  });
});
