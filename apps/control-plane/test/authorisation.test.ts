/** Every route of the OpenAPI document, asked by everybody for their own, for others' and for what does not exist. */
import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import { committedRoutes, routesOf, runMatrix, uncovered } from "./authorisation-matrix.ts";
import { startControlPlane, type TestControlPlane } from "./control-plane.ts";

describe("the authorisation matrix", () => {
  it("has a row for every route of the API, and no other", () => {
    expect(uncovered(committedRoutes())).toEqual([]);
  });

  it("misses a route that nobody has put into it, and a row whose route is gone", () => {
    const paths = { "/a": { get: { operationId: "getA", "x-action": "me.read" } } };
    expect(uncovered(routesOf({ paths }), { getB: {} })).toEqual(["getA has no row", "getB has no route"]);
  });

  describe("of a control plane", () => {
    let api: TestControlPlane;
    beforeAll(async () => {
      api = await startControlPlane({ logLevel: "silent" });
    });
    afterAll(() => api.stop());

    it("is as its table says: answers, lists, events, and no trace of what belongs to others", async () => {
      const { cells, findings } = await runMatrix(api);
      expect(findings).toEqual([]);
      expect(cells).toBeGreaterThan(1000);
    }, 120_000);
  });
});
