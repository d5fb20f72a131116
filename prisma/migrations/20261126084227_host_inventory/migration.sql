-- AlterTable
ALTER TABLE "wolf_instance" ADD COLUMN     "host" JSONB,
ADD COLUMN     "usage" JSONB,
ADD COLUMN     "usage_at" TIMESTAMPTZ(3),
ADD COLUMN     "wolf_restarts" INTEGER NOT NULL DEFAULT 0,
DROP COLUMN "health_reasons",
ADD COLUMN     "health_reasons" JSONB NOT NULL DEFAULT '[]';

-- CreateTable
CREATE TABLE "disk_sample" (
    "id" TEXT NOT NULL,
    "wolf_instance_id" TEXT NOT NULL,
    "mount" TEXT NOT NULL,
    "slot" INTEGER NOT NULL,
    "at" TIMESTAMPTZ(3) NOT NULL,
    "total_bytes" BIGINT NOT NULL,
    "used_bytes" BIGINT NOT NULL,
    "available_bytes" BIGINT NOT NULL,
    "level" TEXT NOT NULL,

    CONSTRAINT "disk_sample_pkey" PRIMARY KEY ("id")
);

-- CreateIndex
CREATE INDEX "disk_sample_wolf_instance_id_id_idx" ON "disk_sample"("wolf_instance_id", "id");

-- CreateIndex
CREATE INDEX "disk_sample_at_idx" ON "disk_sample"("at");

-- CreateIndex
CREATE UNIQUE INDEX "disk_sample_wolf_instance_id_slot_mount_key" ON "disk_sample"("wolf_instance_id", "slot", "mount");

-- AddForeignKey
ALTER TABLE "disk_sample" ADD CONSTRAINT "disk_sample_wolf_instance_id_fkey" FOREIGN KEY ("wolf_instance_id") REFERENCES "wolf_instance"("id") ON DELETE CASCADE ON UPDATE CASCADE;

-- Closed sets and invariants that schema.prisma cannot say. Reasons of before were text; the next heartbeat says them anew.
ALTER TABLE "wolf_instance"
  ADD CONSTRAINT "wolf_instance_health_reasons" CHECK (jsonb_typeof("health_reasons") = 'array'),
  ADD CONSTRAINT "wolf_instance_wolf_restarts" CHECK ("wolf_restarts" >= 0),
  ADD CONSTRAINT "wolf_instance_usage" CHECK (("usage" IS NULL) = ("usage_at" IS NULL));

ALTER TABLE "disk_sample"
  ADD CONSTRAINT "disk_sample_level" CHECK ("level" IN ('ok', 'warning', 'critical')),
  ADD CONSTRAINT "disk_sample_bytes" CHECK ("total_bytes" >= 0 AND "used_bytes" >= 0 AND "available_bytes" >= 0);
