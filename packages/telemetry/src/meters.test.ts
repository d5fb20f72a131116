import { describe, expect, it } from "@jest/globals";
import { createMeters, type Definitions, ownText } from "./meters.ts";
import { processDefinitions, watchProcess } from "./process-metrics.ts";

const definitions = {
  cars_info: { type: "gauge", help: "Always 1.", labels: { version: ownText } },
  cars_total: { type: "counter", help: "Cars.", labels: { colour: ["red", "green"] } },
  parked: { type: "gauge", help: "Parked." },
  parked_by_colour: { type: "gauge", help: "Parked.", labels: { colour: ["red", "green"] } },
  wait_seconds: { type: "histogram", help: "Waits.", buckets: [1, 10] },
} as const satisfies Definitions;

const series = (text: string) => text.split("\n").filter((line) => line !== "" && !line.startsWith("#"));

describe("meters", () => {
  it("show every number of their table with its help and its type, also before it was ever set", async () => {
    const text = await createMeters(definitions).text();
    for (const [name, { type, help }] of Object.entries(definitions)) {
      expect(text).toContain(`# HELP ${name} ${help}\n`);
      expect(text).toContain(`# TYPE ${name} ${type}\n`);
    }
  });

  it("count under the values of the table, and everything else as other, however much of it comes", async () => {
    const meters = createMeters(definitions);
    meters.add("cars_total", 2, { colour: "red" });
    for (let number = 0; number < 1000; number += 1)
      meters.add("cars_total", 1, { colour: `made-up-${number}` });
    meters.add("cars_total", 1, { colour: "constructor" });
    const text = await meters.text();
    expect(series(text).filter((line) => line.startsWith("cars_total"))).toEqual([
      'cars_total{colour="red"} 2',
      'cars_total{colour="other"} 1001',
    ]);
  });

  it("escape a process's own text", async () => {
    const meters = createMeters(definitions);
    meters.set("cars_info", 1, { version: 'a"b\\c\nd' });
    expect(await meters.text()).toContain('cars_info{version="a\\"b\\\\c\\nd"} 1\n');
  });

  it("show a total that is kept elsewhere as it is there, however often they are read", async () => {
    const meters = createMeters(definitions);
    meters.onRead(() => meters.total("cars_total", 7, { colour: "green" }));
    await meters.text();
    expect(await meters.text()).toContain('cars_total{colour="green"} 7\n');
  });

  it("show nothing of what was cleared, and no 0 in its place", async () => {
    const meters = createMeters(definitions);
    meters.set("parked", 3);
    meters.set("parked_by_colour", 3, { colour: "red" });
    meters.clear("parked");
    meters.clear("parked_by_colour");
    expect(series(await meters.text()).filter((line) => line.startsWith("parked"))).toEqual([]);
  });

  it("are read once for all who ask at the same time", async () => {
    const meters = createMeters(definitions);
    let reads = 0;
    meters.onRead(async () => {
      reads += 1;
      await Promise.resolve();
    });
    await Promise.all(Array.from({ length: 50 }, () => meters.text()));
    expect(reads).toBe(1);
    await meters.text();
    expect(reads).toBe(2);
  });

  it("show the other numbers when one cannot be read, and say so", async () => {
    const failures: unknown[] = [];
    const meters = createMeters(definitions, { onReadFailed: (error) => void failures.push(error) });
    meters.onRead(() => Promise.reject(new Error("the database is down")));
    meters.onRead(() => {
      throw new Error("a mistake");
    });
    meters.onRead(() => meters.set("parked", 5));
    expect(await meters.text()).toContain("parked 5\n");
    expect(failures).toMatchObject([{ message: "the database is down" }, { message: "a mistake" }]);
  });
});

describe("the numbers of a process", () => {
  function watched() {
    let nowMs = 0;
    let tick = () => {};
    let running = true;
    const meters = createMeters(processDefinitions("x"));
    const watch = watchProcess(meters, {
      onDelay: (seconds) => meters.observe("x_event_loop_delay_seconds", seconds),
      now: () => nowMs,
      every(_ms, run) {
        tick = run;
        return () => {
          running = false;
        };
      },
    });
    const pass = (ms: number) => {
      nowMs += ms;
      tick();
    };
    return { meters, watch, pass, isRunning: () => running };
  }

  it("have a late timer as one delay, and a timer in time as none", async () => {
    const { meters, pass } = watched();
    pass(100);
    pass(100);
    pass(3100);
    const text = await meters.text();
    expect(text).toContain('x_event_loop_delay_seconds_bucket{le="0.001"} 2\n');
    expect(text).toContain('x_event_loop_delay_seconds_bucket{le="2.5"} 2\n');
    expect(text).toContain('x_event_loop_delay_seconds_bucket{le="5"} 3\n');
  });

  it("are no less than 0 when a timer fires early", async () => {
    const { meters, pass } = watched();
    pass(20);
    expect(await meters.text()).toContain("x_event_loop_delay_seconds_sum 0\n");
  });

  it("say what the process takes, and end with their watch", async () => {
    const { meters, watch, isRunning } = watched();
    expect(await meters.text()).toMatch(/^process_resident_memory_bytes \d{7,}$/m);
    expect(await meters.text()).toMatch(/^process_cpu_seconds_total \d/m);
    watch.stop();
    expect(isRunning()).toBe(false);
  });
});
