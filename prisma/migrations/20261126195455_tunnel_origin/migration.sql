-- AlterTable
ALTER TABLE "wolf_instance" ADD COLUMN     "tunnel_legacy_credential" BOOLEAN NOT NULL DEFAULT false,
ADD COLUMN     "tunnel_protocol" TEXT NOT NULL DEFAULT 'revdial';

-- A closed set that schema.prisma cannot say.
ALTER TABLE "wolf_instance" ADD CONSTRAINT "wolf_instance_tunnel_protocol" CHECK ("tunnel_protocol" IN ('revdial', 'helix'));
