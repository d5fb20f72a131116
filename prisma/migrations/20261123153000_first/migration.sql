-- CreateSchema
CREATE SCHEMA IF NOT EXISTS "public";

-- CreateTable
CREATE TABLE "wolf_instance" (
    "id" TEXT NOT NULL,
    "name" TEXT NOT NULL,
    "address" TEXT NOT NULL DEFAULT '',
    "connectivity" TEXT NOT NULL DEFAULT 'lost',
    "connectivity_since" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "health" TEXT NOT NULL DEFAULT 'ok',
    "health_reasons" TEXT[] DEFAULT ARRAY[]::TEXT[],
    "intent" TEXT NOT NULL DEFAULT 'active',
    "gpu_type" TEXT NOT NULL DEFAULT 'none',
    "max_sandboxes" INTEGER NOT NULL DEFAULT 12,
    "connected_sandboxes" INTEGER NOT NULL DEFAULT 0,
    "last_heartbeat" TIMESTAMPTZ(3),
    "epoch" INTEGER NOT NULL DEFAULT 0,
    "tunnel_since" TIMESTAMPTZ(3),
    "agent_version" TEXT,
    "labels" JSONB NOT NULL DEFAULT '{}',
    "region" TEXT,
    "cost_per_hour" DOUBLE PRECISION,
    "created_at" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "updated_at" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,

    CONSTRAINT "wolf_instance_pkey" PRIMARY KEY ("id")
);

-- CreateTable
CREATE TABLE "session" (
    "id" TEXT NOT NULL,
    "owner_id" TEXT NOT NULL,
    "name" TEXT NOT NULL,
    "status" TEXT NOT NULL,
    "wolf_instance_id" TEXT,
    "lobby_id" TEXT,
    "spec" JSONB NOT NULL,
    "placement" JSONB NOT NULL,
    "failure_code" TEXT,
    "failure_reason" TEXT,
    "slot_held" BOOLEAN NOT NULL,
    "created_at" TIMESTAMPTZ(3) NOT NULL,
    "updated_at" TIMESTAMPTZ(3) NOT NULL,
    "started_at" TIMESTAMPTZ(3),
    "ended_at" TIMESTAMPTZ(3),

    CONSTRAINT "session_pkey" PRIMARY KEY ("id")
);

-- CreateTable
CREATE TABLE "user_account" (
    "id" TEXT NOT NULL,
    "name" TEXT NOT NULL,
    "role" TEXT NOT NULL,
    "created_at" TIMESTAMPTZ(3) NOT NULL,

    CONSTRAINT "user_account_pkey" PRIMARY KEY ("id")
);

-- CreateTable
CREATE TABLE "api_key" (
    "id" TEXT NOT NULL,
    "user_id" TEXT NOT NULL,
    "name" TEXT NOT NULL,
    "prefix" TEXT NOT NULL,
    "hash" BYTEA NOT NULL,
    "created_at" TIMESTAMPTZ(3) NOT NULL,
    "expires_at" TIMESTAMPTZ(3),
    "last_used_at" TIMESTAMPTZ(3),
    "revoked_at" TIMESTAMPTZ(3),

    CONSTRAINT "api_key_pkey" PRIMARY KEY ("id")
);

-- CreateIndex
CREATE UNIQUE INDEX "wolf_instance_name_key" ON "wolf_instance"("name");

-- CreateIndex
CREATE INDEX "wolf_instance_connectivity_last_heartbeat_idx" ON "wolf_instance"("connectivity", "last_heartbeat");

-- CreateIndex
CREATE INDEX "session_owner_id_created_at_idx" ON "session"("owner_id", "created_at");

-- CreateIndex
CREATE INDEX "session_wolf_instance_id_status_idx" ON "session"("wolf_instance_id", "status");

-- CreateIndex
CREATE INDEX "session_status_idx" ON "session"("status");

-- CreateIndex
CREATE UNIQUE INDEX "user_account_name_key" ON "user_account"("name");

-- CreateIndex
CREATE UNIQUE INDEX "api_key_hash_key" ON "api_key"("hash");

-- CreateIndex
CREATE INDEX "api_key_user_id_idx" ON "api_key"("user_id");

-- AddForeignKey
ALTER TABLE "session" ADD CONSTRAINT "session_owner_id_fkey" FOREIGN KEY ("owner_id") REFERENCES "user_account"("id") ON DELETE RESTRICT ON UPDATE CASCADE;

-- AddForeignKey
ALTER TABLE "session" ADD CONSTRAINT "session_wolf_instance_id_fkey" FOREIGN KEY ("wolf_instance_id") REFERENCES "wolf_instance"("id") ON DELETE SET NULL ON UPDATE CASCADE;

-- AddForeignKey
ALTER TABLE "api_key" ADD CONSTRAINT "api_key_user_id_fkey" FOREIGN KEY ("user_id") REFERENCES "user_account"("id") ON DELETE CASCADE ON UPDATE CASCADE;

-- Closed sets and invariants that schema.prisma cannot say.
ALTER TABLE "wolf_instance"
  ADD CONSTRAINT "wolf_instance_connectivity" CHECK ("connectivity" IN ('connected', 'suspect', 'lost')),
  ADD CONSTRAINT "wolf_instance_health" CHECK ("health" IN ('ok', 'degraded', 'failed')),
  ADD CONSTRAINT "wolf_instance_intent" CHECK ("intent" IN ('pending', 'active', 'cordoned', 'draining', 'retired')),
  ADD CONSTRAINT "wolf_instance_gpu_type" CHECK ("gpu_type" IN ('nvidia', 'amd', 'intel', 'none')),
  ADD CONSTRAINT "wolf_instance_max_sandboxes" CHECK ("max_sandboxes" BETWEEN 1 AND 1000),
  ADD CONSTRAINT "wolf_instance_connected_sandboxes" CHECK ("connected_sandboxes" >= 0);

ALTER TABLE "session"
  ADD CONSTRAINT "session_status" CHECK ("status" IN ('placed', 'starting', 'running', 'stopping', 'stopped', 'failed', 'lost')),
  ADD CONSTRAINT "session_slot" CHECK (NOT "slot_held" OR "wolf_instance_id" IS NOT NULL),
  ADD CONSTRAINT "session_ended" CHECK (("status" IN ('stopped', 'failed')) = ("ended_at" IS NOT NULL)),
  ADD CONSTRAINT "session_slot_ended" CHECK (NOT ("slot_held" AND "ended_at" IS NOT NULL));

ALTER TABLE "user_account"
  ADD CONSTRAINT "user_account_role" CHECK ("role" IN ('admin', 'user'));
