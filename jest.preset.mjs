// One jest configuration for every workspace: native ESM, TypeScript through swc, one JSON report per workspace
// that the test summary adds up.
export default {
  testEnvironment: "node",
  testMatch: ["<rootDir>/src/**/*.test.ts", "<rootDir>/test/**/*.test.ts"],
  extensionsToTreatAsEsm: [".ts"],
  // Sources import "./x.ts"; nothing has to be mapped, swc keeps the specifier and jest resolves it.
  transform: {
    "^.+\\.ts$": [
      "@swc/jest",
      { jsc: { parser: { syntax: "typescript" }, target: "es2024" }, module: { type: "es6" } },
    ],
  },
  modulePathIgnorePatterns: ["<rootDir>/dist/"],
  testTimeout: 20_000,
};
