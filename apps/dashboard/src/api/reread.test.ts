import { afterEach, describe, expect, it } from "@jest/globals";
import { QueryClient, QueryObserver } from "@tanstack/react-query";
import { ManualTimers, settled } from "../../test/manual-timers.ts";
import { createReread, type Reread } from "./reread.ts";

const endings: (() => void)[] = [];
afterEach(() => {
  for (const end of endings.splice(0)) end();
});

function shown() {
  const client = new QueryClient({
    defaultOptions: { queries: { retry: false, gcTime: Number.POSITIVE_INFINITY } },
  });
  const timers = new ManualTimers();
  const reread: Reread = createReread(client, timers);
  const asked: { answer: PromiseWithResolvers<string>; signal: AbortSignal }[] = [];
  const observer = new QueryObserver<string>(client, {
    queryKey: ["listThings", {}],
    networkMode: "always",
    queryFn: ({ signal }) => {
      const answer = Promise.withResolvers<string>();
      asked.push({ answer, signal });
      return answer.promise;
    },
  });
  const leave = observer.subscribe(() => undefined);
  endings.push(() => {
    leave();
    reread.stop();
    client.clear();
  });
  return { client, timers, reread, asked, leave };
}

describe("what is read anew", () => {
  it("does not cut short a read under way, however often it is asked for: one more comes after it", async () => {
    const { timers, reread, asked, client } = shown();
    asked[0]?.answer.resolve("old");
    await settled();
    for (let time = 0; time < 50; time += 1) reread.read(() => true);
    expect(asked.length).toBe(2);
    expect(asked[1]?.signal.aborted).toBe(false);
    asked[1]?.answer.resolve("outdated");
    await timers.pass(100);
    expect(asked.length).toBe(3);
    asked[2]?.answer.resolve("new");
    await timers.pass(10_000);
    expect(client.getQueryData(["listThings", {}])).toBe("new");
    expect(asked.length).toBe(3);
  });

  it("is read once more also where the first read was under way", async () => {
    const { timers, reread, asked } = shown();
    reread.read(([operation]) => operation === "listThings");
    expect(asked.length).toBe(1);
    asked[0]?.answer.resolve("outdated");
    await timers.pass(100);
    expect(asked.length).toBe(2);
  });

  it("is read once more where that read has failed", async () => {
    const { timers, reread, asked } = shown();
    reread.read(() => true);
    asked[0]?.answer.reject(new Error("broken"));
    await timers.pass(100);
    expect(asked.length).toBe(2);
  });

  it("is nothing of what nobody looks at, which is marked, and nothing that is not meant", async () => {
    const { timers, reread, asked, client, leave } = shown();
    client.setQueryData(["other"], "kept");
    asked[0]?.answer.resolve("old");
    await settled();
    reread.read(([operation]) => operation === "another");
    await timers.pass(1000);
    expect(asked.length).toBe(1);
    leave();
    reread.read(([operation]) => operation === "other");
    expect(client.getQueryState(["other"])?.isInvalidated).toBe(true);
    expect(asked.length).toBe(1);
  });
});
