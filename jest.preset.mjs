// One jest configuration for every workspace: native ESM, TypeScript through swc, one JSON report per workspace
// that the test summary adds up.
import { fileURLToPath } from "node:url";

export default {
  testEnvironment: fileURLToPath(new URL("jest.environment.mjs", import.meta.url)),
  testMatch: ["<rootDir>/src/**/*.test.ts", "<rootDir>/test/**/*.test.ts"],
  extensionsToTreatAsEsm: [".ts"],
  // Sources import "./x.ts"; nothing has to be mapped, swc keeps the specifier and jest resolves it.
  transform: {
    "^.+\\.ts$": [
      "@swc/jest",
      { jsc: { parser: { syntax: "typescript" }, target: "es2024" }, module: { type: "es6" } },
    ],
  },
  setupFiles: [fileURLToPath(new URL("jest.setup.mjs", import.meta.url))],
  modulePathIgnorePatterns: ["<rootDir>/dist/"],
  testTimeout: 20_000,
};
