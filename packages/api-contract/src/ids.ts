/** Ids of what the API knows: a prefix that says what it is, and a ULID. */
import { prefixedId } from "./schema-parts.ts";

export const WolfId = prefixedId("wlf").meta({ example: "wlf_01KB00000000000000000000WF" });
export const SessionId = prefixedId("ses").meta({ example: "ses_01KB00000000000000000000SE" });
export const UserId = prefixedId("usr");
export const ApiKeyId = prefixedId("key");
export const DiskSampleId = prefixedId("dsk").meta({ example: "dsk_01KB00000000000000000000DS" });
