/** A Wolf for tests and demos. */
export {
  type FailureMode,
  type FailureRule,
  failureModes,
  startWolfEmulator,
  type WolfEmulator,
  type WolfEmulatorOptions,
} from "./emulator.ts";
