/** A Wolf for tests and demos. */
export {
  startWolfEmulator,
  type WolfEmulator,
  type WolfEmulatorOptions,
} from "./emulator.ts";
export { type FailureMode, type FailureRule, FailureRuleError, failureModes } from "./failures.ts";
export { type WolfGeneration, wolfGenerations, wolfSchemaText } from "./generations.ts";
