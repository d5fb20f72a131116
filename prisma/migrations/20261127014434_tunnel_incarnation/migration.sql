-- expand
-- AlterTable
ALTER TABLE "wolf_instance" ADD COLUMN     "tunnel_incarnation" BIGINT;
