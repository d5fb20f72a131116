import preset from "../../jest.preset.mjs";

// One PostgreSQL for the whole run; every test file takes databases of its own from it (test/database.ts).
export default {
  ...preset,
  globalSetup: "<rootDir>/test/global-setup.ts",
  globalTeardown: "<rootDir>/test/global-teardown.ts",
};
