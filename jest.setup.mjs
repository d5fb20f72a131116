// What properties are tried with is the same in every run, so that a run that fails fails again. For others:
//   PROPERTY_SEED=2 npm test
import fc from "fast-check";

const seed = Number(process.env.PROPERTY_SEED ?? 1);
if (!Number.isSafeInteger(seed)) throw new Error("PROPERTY_SEED has to be an integer");
fc.configureGlobal({ seed });
