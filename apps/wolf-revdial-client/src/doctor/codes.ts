/** The doctor's numbered checks with what a failure of each usually means; docs/operations/doctor.md repeats them, a test compares. */

export interface CheckKind {
  name: string;
  cause: string;
  cure: string;
}

export const doctorChecks = {
  D01: {
    name: "Name resolution",
    cause: "The control plane's name is misspelt, or this host's DNS does not know it.",
    cure: "Check --api-url, then /etc/resolv.conf and, in a container, its DNS settings.",
  },
  D02: {
    name: "TCP connection",
    cause: "Nothing listens at that address and port, or a firewall drops the way there.",
    cure: "Check the port in --api-url, that the control plane runs, and outbound firewall rules.",
  },
  D03: {
    name: "TLS handshake",
    cause: "The port does not speak TLS, or something on the way breaks it.",
    cure: "Use http:// if the port is plain; else check the reverse proxy and TLS inspection.",
  },
  D04: {
    name: "Certificate trust",
    cause: "No authority of Node's own list, or of --ca-file, has signed the certificate.",
    cure: "Give the authority's certificate, or the system's, with --ca-file, or serve the whole chain.",
  },
  D05: {
    name: "Certificate name",
    cause: "The certificate was issued for another name than that of --api-url.",
    cure: "Use a name the certificate holds, or have it issued for this one.",
  },
  D06: {
    name: "Certificate dates",
    cause: "The certificate is expired, about to expire, or not valid yet.",
    cure: "Renew it; if it is not valid yet, check this host's clock (D08).",
  },
  D07: {
    name: "HTTP readiness",
    cause: "The control plane is not ready, or another server answers in its place.",
    cure: "Look at /readyz and the control plane's log; check --api-url and the proxy's target.",
  },
  D08: {
    name: "Clock",
    cause: "The clock of this host and that of the control plane differ.",
    cure: "Synchronise both hosts by NTP: certificates and schedules depend on it.",
  },
  D09: {
    name: "Versions",
    cause: "Agent and control plane are of different versions.",
    cure: "Upgrade the older one.",
  },
  D10: {
    name: "Credential",
    cause: "The control plane does not know this host's key or token, or it is none for an agent.",
    cure: "Enrol with a join token; or compare RUNNER_TOKEN with the control plane's.",
  },
  D11: {
    name: "WebSocket upgrade",
    cause: "A proxy refuses, strips or swallows the upgrade.",
    cure: "Let the proxy pass Upgrade and Connection for /api/v1/revdial, or use --transport http.",
  },
  D12: {
    name: "First frame",
    cause: "The upgrade succeeded, but frames do not pass both ways.",
    cure: "Turn off inspection and buffering of WebSockets on the proxy, or use --transport http.",
  },
  D13: {
    name: "Echo of messages",
    cause: "Messages above a size are lost: a proxy's limit, or an MTU that is too large.",
    cure: "Raise the proxy's WebSocket message limit; below 1,500 bytes lower the MTU (VPN).",
  },
  D14: {
    name: "Fallback over HTTP",
    cause: "A proxy buffers responses, or does not pass POST for the tunnel.",
    cure: "Turn off response buffering for /api/v1/revdial, or fix WebSockets and do without.",
  },
  D15: {
    name: "Wolf's socket",
    cause: "Wolf does not run, listens elsewhere, or its socket is closed to this user.",
    cure: "Start Wolf, check --local, mount the socket's folder and give this user access.",
  },
  D16: {
    name: "Wolf's API",
    cause: "What listens is not Wolf, or a Wolf without the routes that sandboxes need.",
    cure: "Upgrade Wolf to a version with lobbies, or point --local at Wolf.",
  },
  D17: {
    name: "GPU",
    cause: "No graphics card, no driver, or the device is not visible in this container.",
    cure: "Install the driver, map /dev/dri into the container, or say --gpu-type none.",
  },
  D18: {
    name: "Disk space",
    cause: "A disk of this host is almost full, or one of --disk cannot be read.",
    cure: "Remove unused images and old sandbox states, add space, or correct --disk.",
  },
  D19: {
    name: "Idle connection",
    cause: "A proxy or NAT cuts connections on which nothing passes.",
    cure: "Raise its idle timeout above 60 s; an agent's tunnel speaks every 5 s.",
  },
  D20: {
    name: "Key file",
    cause: "The agent's key is of another host, can be read by others, or has ended.",
    cure: "Set the owner and mode 600, or enrol anew with a join token.",
  },
} as const satisfies Record<string, CheckKind>;

export type DoctorCode = keyof typeof doctorChecks;
export const doctorCodes = Object.keys(doctorChecks) as DoctorCode[];
