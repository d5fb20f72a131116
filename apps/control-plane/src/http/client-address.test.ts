import type { IncomingMessage } from "node:http";
import { describe, expect, it } from "@jest/globals";
import { clientAddresses, isNetwork, networkOf } from "./client-address.ts";

const request = (remoteAddress: string, forwarded?: string) =>
  ({ socket: { remoteAddress }, headers: { "x-forwarded-for": forwarded } }) as unknown as IncomingMessage;

describe("the address of a caller", () => {
  const trusted = clientAddresses(["10.0.0.0/8", "192.0.2.7", "2001:db8:1::/48"]);

  it.each<[string, string | undefined, string, string]>([
    ["198.51.100.1", undefined, "198.51.100.1", "who connects directly"],
    ["198.51.100.1", "203.0.113.9", "198.51.100.1", "who claims to be a proxy"],
    ["10.1.2.3", "203.0.113.9", "203.0.113.9", "behind a proxy"],
    ["::ffff:10.1.2.3", "203.0.113.9", "203.0.113.9", "behind a proxy on an IPv6 socket"],
    ["10.1.2.3", "1.1.1.1, 203.0.113.9", "203.0.113.9", "who forwards another one's address to a proxy"],
    ["10.1.2.3", "203.0.113.9,192.0.2.7", "203.0.113.9", "behind two proxies"],
    ["10.1.2.3", "203.0.113.9, 192.0.2.8", "192.0.2.8", "behind a proxy that we do not trust"],
    ["2001:db8:1::5", "2001:db8:2::9", "2001:db8:2::9", "behind a proxy with IPv6"],
    ["10.1.2.3", undefined, "10.1.2.3", "a proxy itself"],
    ["10.1.2.3", "10.9.9.9", "10.9.9.9", "a proxy behind a proxy"],
    ["10.1.2.3", "nonsense", "10.1.2.3", "behind a proxy that forwards nonsense"],
    ["10.1.2.3", "203.0.113.9, ", "10.1.2.3", "behind a proxy that forwards nothing"],
  ])("from %s, forwarded for %s, is %s (%s)", (socket, forwarded, address) => {
    expect(trusted.of(request(socket, forwarded))).toBe(address);
  });

  it("is the connection's when no proxy is trusted", () => {
    expect(clientAddresses([]).of(request("127.0.0.1", "203.0.113.9"))).toBe("127.0.0.1");
  });

  it.each([
    ["203.0.113.9", "203.0.113.9"],
    ["2001:db8:0:1:2:3:4:5", "2001:db8:0:1::/64"],
    ["2001:db8:0:1::", "2001:db8:0:1::/64"],
    ["2001:db8::1", "2001:db8:0:0::/64"],
    ["::1", "0:0:0:0::/64"],
    ["fe80::1%eth0", "fe80:0:0:0::/64"],
    ["2001:0DB8:0000:0001:ffff::1", "2001:db8:0:1::/64"],
  ])("%s counts as %s, because an IPv6 host has 64 bits to choose from", (address, network) => {
    expect(networkOf(address)).toBe(network);
  });

  it.each(["10.0.0.0/33", "10.0.0/8", "2001:db8::/129", "host", "10.0.0.1/8/8", "10.0.0.1/", "10.0.0.1/-1"])(
    "is not looked for behind %s",
    (text) => expect(isNetwork(text)).toBe(false),
  );
});
