/** Each generation of Wolf as the client meets it: what it serves is what it describes. */
import { afterEach, describe, expect, it } from "@jest/globals";
import { wolfCapabilities } from "../src/capabilities.ts";
import { wolfClient } from "../src/client.ts";
import { startWolfEmulator, type WolfEmulator, wolfGenerations } from "../src/emulator/index.ts";

let wolf: WolfEmulator | undefined;

afterEach(async () => {
  await wolf?.close();
});

async function client(generation: (typeof wolfGenerations)[number] | "none") {
  wolf = await startWolfEmulator({ listen: { port: 0 }, generation });
  return wolfClient({ fetch, baseUrl: `http://${wolf.address}` });
}

describe("a Wolf of", () => {
  it.each(wolfGenerations.filter((generation) => generation !== "2025-07-25"))(
    "%s describes lobbies and lists them",
    async (generation) => {
      const api = await client(generation);
      expect(wolfCapabilities(await api.openApiSchema())?.missing).toEqual([]);
      expect(await api.listLobbies()).toEqual([]);
    },
  );

  it("2025-07-25 describes no lobbies and answers their routes with 404", async () => {
    const api = await client("2025-07-25");
    expect(wolfCapabilities(await api.openApiSchema())?.missing).toHaveLength(3);
    await expect(api.listLobbies()).rejects.toMatchObject({ code: "WOLF_REFUSED", status: 404 });
  });

  it("an unknown age serves all and describes nothing", async () => {
    const api = await client("none");
    await expect(api.openApiSchema()).rejects.toMatchObject({ code: "WOLF_REFUSED", status: 404 });
    expect(await api.listLobbies()).toEqual([]);
  });
});
