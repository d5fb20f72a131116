/**
 * A self-signed certificate, made on the spot: X.509 written by hand, for what no certificate authority would sign, so that no tool is
 * needed and no key is kept in a file.
 */
import { generateKeyPairSync, randomUUID, sign } from "node:crypto";

export interface MadeCertificate {
  cert: string;
  key: string;
}

function der(tag: number, ...parts: Uint8Array[]): Buffer {
  const body = Buffer.concat(parts);
  const { length } = body;
  const size = length < 128 ? [length] : length < 256 ? [0x81, length] : [0x82, length >> 8, length & 255];
  return Buffer.concat([Buffer.from([tag, ...size]), body]);
}
const sequence = (...parts: Uint8Array[]) => der(0x30, ...parts);
const oid = (hex: string) => der(0x06, Buffer.from(hex, "hex"));
/** YYMMDDhhmmssZ */
const time = (date: Date) =>
  der(
    0x17,
    Buffer.from(
      `${date
        .toISOString()
        .replace(/[-:T]|\.\d+/g, "")
        .slice(2)}`,
    ),
  );

export interface CertificateOptions {
  /** Years 1950 to 2049, as this form of time has it. */
  from: Date;
  to: Date;
  /** IPv4; the holder when there is one, instead of `name`. */
  ip?: string;
  /** Default localhost. */
  name?: string;
}

/** Each has an issuer of its own, and P-256 keys; both in PEM. */
export function makeCertificate(options: CertificateOptions): MadeCertificate {
  const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const algorithm = sequence(oid("2a8648ce3d040302"));
  const name = sequence(der(0x31, sequence(oid("550403"), der(0x0c, Buffer.from(`Test ${randomUUID()}`)))));
  const holder =
    options.ip === undefined
      ? der(0x82, Buffer.from(options.name ?? "localhost"))
      : der(0x87, Buffer.from(options.ip.split(".").map(Number)));
  const extensions = der(0xa3, sequence(sequence(oid("551d11"), der(0x04, sequence(holder)))));
  const body = sequence(
    der(0xa0, der(0x02, Buffer.from([2]))),
    der(0x02, Buffer.from([1])),
    algorithm,
    name,
    sequence(time(options.from), time(options.to)),
    name,
    publicKey.export({ type: "spki", format: "der" }),
    extensions,
  );
  const signature = sign("sha256", body, privateKey);
  const certificate = sequence(body, algorithm, der(0x03, Buffer.from([0]), signature));
  const lines = certificate.toString("base64").match(/.{1,64}/g) ?? [];
  return {
    cert: `-----BEGIN CERTIFICATE-----\n${lines.join("\n")}\n-----END CERTIFICATE-----\n`,
    key: privateKey.export({ type: "pkcs8", format: "pem" }) as string,
  };
}
