-- expand
-- AlterTable
ALTER TABLE "wolf_instance" ADD COLUMN     "tunnel_clock_epoch" INTEGER,
ADD COLUMN     "tunnel_clock_offset_ms" INTEGER;
