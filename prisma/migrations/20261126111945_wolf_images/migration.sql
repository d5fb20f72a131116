-- AlterTable
ALTER TABLE "wolf_instance" ADD COLUMN     "images" JSONB;
