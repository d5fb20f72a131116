-- AlterTable
ALTER TABLE "wolf_instance" ADD COLUMN     "wolf_capabilities" JSONB;
