-- expand
-- AlterTable
ALTER TABLE "wolf_instance" ADD COLUMN     "tunnel_replica_id" TEXT,
ADD COLUMN     "tunnel_rtt_ms" DOUBLE PRECISION;

-- CreateTable
CREATE TABLE "replica" (
    "id" TEXT NOT NULL,
    "url" TEXT,
    "version" TEXT NOT NULL,
    "secret_print" TEXT NOT NULL,
    "started_at" TIMESTAMPTZ(3) NOT NULL,
    "lease_until" TIMESTAMPTZ(3) NOT NULL,
    "draining" BOOLEAN NOT NULL DEFAULT false,
    "tunnels" INTEGER NOT NULL DEFAULT 0,

    CONSTRAINT "replica_pkey" PRIMARY KEY ("id")
);

-- CreateTable
CREATE TABLE "tunnel_place" (
    "key" TEXT NOT NULL,
    "replica_id" TEXT NOT NULL,
    "since" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,

    CONSTRAINT "tunnel_place_pkey" PRIMARY KEY ("key")
);

-- CreateIndex
CREATE INDEX "replica_lease_until_idx" ON "replica"("lease_until");

-- CreateIndex
CREATE INDEX "tunnel_place_replica_id_idx" ON "tunnel_place"("replica_id");

-- CreateIndex
CREATE INDEX "wolf_instance_tunnel_replica_id_idx" ON "wolf_instance"("tunnel_replica_id");

-- AddForeignKey
ALTER TABLE "tunnel_place" ADD CONSTRAINT "tunnel_place_replica_id_fkey" FOREIGN KEY ("replica_id") REFERENCES "replica"("id") ON DELETE CASCADE ON UPDATE CASCADE;
