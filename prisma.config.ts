import { defineConfig } from "prisma/config";

// The control plane reads DATABASE_URL itself; `prisma generate` needs no database.
export default defineConfig({ schema: "prisma/schema.prisma" });
