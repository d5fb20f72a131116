/** Whose address a request comes from, past the proxies that we trust and no others: what else is forwarded is hearsay. */
import type { IncomingMessage } from "node:http";
import { BlockList, isIP } from "node:net";
import { passedOn } from "../replicas/passed-on.ts";

export interface ClientAddresses {
  /** Also for Express's `trust proxy`. */
  trusts(address: string): boolean;
  of(request: IncomingMessage): string;
}

/** An address, or a network such as `10.0.0.0/8`. */
export function isNetwork(text: string): boolean {
  const [address = "", bits, ...rest] = text.split("/");
  const kind = isIP(address);
  if (kind === 0 || rest.length > 0) return false;
  return bits === undefined || (/^\d{1,3}$/.test(bits) && Number(bits) <= (kind === 4 ? 32 : 128));
}

/** `trusted` are networks by `isNetwork`. */
export function clientAddresses(trusted: readonly string[]): ClientAddresses {
  const list = new BlockList();
  for (const network of trusted) {
    const [address = "", bits] = network.split("/");
    const type = isIP(address) === 4 ? "ipv4" : "ipv6";
    list.addSubnet(address, Number(bits ?? (type === "ipv4" ? 32 : 128)), type);
  }
  const trusts = (text: string): boolean => {
    const address = plain(text);
    const kind = isIP(address);
    return kind !== 0 && list.check(address, kind === 4 ? "ipv4" : "ipv6");
  };
  return {
    trusts,
    of(request) {
      const by = passedOn(request);
      if (by !== undefined) return by.address;
      const { socket, headers } = request;
      const forwarded = String(headers["x-forwarded-for"] ?? "").split(",");
      let address = plain(socket.remoteAddress ?? "");
      // From the nearest: each proxy has added whom it saw at the end.
      while (trusts(address)) {
        const before = plain(forwarded.pop()?.trim() ?? "");
        if (isIP(before) === 0) break;
        address = before;
      }
      return address;
    },
  };
}

/** An IPv4 address that came over an IPv6 socket, as what it is. */
function plain(address: string): string {
  return /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address)?.[1] ?? address;
}

/** What is counted as one caller: an IPv6 host owns the 64 bits at the end of its address. */
export function networkOf(address: string): string {
  if (isIP(address) !== 6) return address;
  const [left = "", right] = address.replace(/%.*$/, "").split("::");
  const groups = left === "" ? [] : left.split(":");
  if (right !== undefined) while (groups.length < 4) groups.push("0");
  const network = groups.slice(0, 4).map((group) => Number.parseInt(group, 16).toString(16));
  return `${network.join(":")}::/64`;
}
