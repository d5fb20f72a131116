/** How tunnels over the original protocol end, and what their peers hear of it. */
import { describe, expect, it } from "@jest/globals";
import {
  ask,
  CONTROL_PATH,
  helixGateway,
  host,
  pickUp,
  RawPeer,
  rawControl,
  scriptedAgent,
} from "./helix-support.ts";
import { failure, get, until } from "./support.ts";

const BINARY = 0x82;

describe("the end of a tunnel", () => {
  it.each<["REPLACED" | "REVOKED" | "DRAINING", number, string]>([
    ["REPLACED", 4001, "replaced"],
    ["REVOKED", 4003, "revoked"],
    ["DRAINING", 1001, "going away"],
  ])("by %s closes control with %i", async (code, closeCode, reason) => {
    const { control, tunnel, gateway } = await rawControl();
    const ended = tunnel.close({ code });
    await until(() => control.closeCode !== undefined);
    expect(control.closeCode).toBe(closeCode);
    expect(control.frames.at(-1)?.payload.toString("latin1", 2)).toBe(reason);
    expect(gateway.exchange.dialers).toBe(0);
    control.send(0x88, control.frames.at(-1)?.payload);
    expect(await ended).toMatchObject({ code: "CLOSED" });
    expect(gateway.clock.pending).toBe(0);
  });

  it("before anybody answered a ping says why, too", async () => {
    const { url, tunnels } = await helixGateway();
    const control = await RawPeer.open(url, CONTROL_PATH);
    void tunnels[0]?.close({ code: "REPLACED", drainMs: 0 });
    await until(() => control.closeCode !== undefined);
    expect(control.closeCode).toBe(4001);
  });

  it("in order waits for what is under way, and cuts an agent that does not answer the close", async () => {
    const made = await rawControl();
    const { control, tunnel, gateway } = made;
    const asked = ask(tunnel);
    const data = await pickUp(made);
    const ended = tunnel.close({ code: "REPLACED" });
    await until(() => data.bytes.includes("\r\n\r\n"));
    expect(control.closeCode).toBeUndefined();
    data.send(BINARY, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    expect(await asked).toBe("200 ok");
    await until(() => control.closeCode === 4001);
    await gateway.clock.advance(1000);
    expect(await ended).toMatchObject({ code: "CLOSED" });
    await until(() => data.closed);
    expect(gateway.exchange).toMatchObject({ pending: 0, connections: 0, dialers: 0 });
  });

  it("by destroy cuts control and every data connection, without a close frame", async () => {
    const made = await rawControl();
    const { control, tunnel, gateway } = made;
    const asked = failure(tunnel.request(get("/")));
    const data = await pickUp(made);
    tunnel.destroy();
    expect(await asked).toMatchObject({ code: "DESTROYED" });
    await until(() => control.closed && data.closed);
    expect(control.closeCode).toBeUndefined();
    await tunnel.closed;
    expect(gateway.exchange).toMatchObject({ pending: 0, connections: 0, dialers: 0 });
    expect(gateway.clock.pending).toBe(0);
  });

  it("comes with that of control, however it ends", async () => {
    const origin = await host((_request, response) => void response.end("ok"));
    for (const end of ["terminate", "close"] as const) {
      const { url, tunnels, exchange, clock } = await helixGateway();
      const agent = await scriptedAgent(url, origin);
      const [tunnel] = tunnels;
      expect(await ask(tunnel as NonNullable<typeof tunnel>)).toBe("200 ok");
      expect(exchange.connections).toBe(1);
      agent.control[end]();
      expect(await tunnel?.goingAway).toMatchObject({ code: "TRANSPORT_LOST" });
      expect(await tunnel?.closed).toMatchObject({ code: "TRANSPORT_LOST" });
      await until(() => agent.open.size === 0);
      expect(exchange).toMatchObject({ pending: 0, connections: 0, dialers: 0 });
      expect(clock.pending).toBe(0);
    }
  });

  it("of control fails what has no data connection yet as not sent, and what has one as perhaps run", async () => {
    const made = await rawControl({ pickupsInFlightMax: 2 });
    const { control, tunnel } = made;
    const asked = Array.from({ length: 4 }, () => failure(tunnel.request(get("/"))));
    const data = await pickUp(made);
    await until(() => data.bytes.includes("\r\n\r\n"));
    control.socket.destroy();
    const errors = await Promise.all(asked);
    expect(errors.map(({ code, sent }) => `${code} ${sent}`)).toEqual([
      "TRANSPORT_LOST may-have-run",
      "REFUSED not-sent",
      "REFUSED not-sent",
      "REFUSED not-sent",
    ]);
    expect(await failure(tunnel.request(get("/")))).toMatchObject({ sent: "not-sent" });
  });
});
