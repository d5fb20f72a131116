-- AlterTable
ALTER TABLE "api_key" ADD COLUMN     "scopes" JSONB;

-- AlterTable
ALTER TABLE "user_account" ADD COLUMN     "creates_per_minute" INTEGER,
ADD COLUMN     "disabled_at" TIMESTAMPTZ(3),
ADD COLUMN     "revision" INTEGER NOT NULL DEFAULT 1,
ADD COLUMN     "sessions_max" INTEGER;

-- CreateTable
CREATE TABLE "web_session" (
    "id" TEXT NOT NULL,
    "user_id" TEXT NOT NULL,
    "api_key_id" TEXT NOT NULL,
    "hash" BYTEA NOT NULL,
    "created_at" TIMESTAMPTZ(3) NOT NULL,
    "expires_at" TIMESTAMPTZ(3) NOT NULL,
    "revoked_at" TIMESTAMPTZ(3),

    CONSTRAINT "web_session_pkey" PRIMARY KEY ("id")
);

-- CreateTable
CREATE TABLE "join_token" (
    "id" TEXT NOT NULL,
    "hash" BYTEA NOT NULL,
    "wolf_name" TEXT,
    "labels" JSONB NOT NULL DEFAULT '{}',
    "uses_max" INTEGER NOT NULL DEFAULT 1,
    "uses" INTEGER NOT NULL DEFAULT 0,
    "created_by" TEXT NOT NULL,
    "created_at" TIMESTAMPTZ(3) NOT NULL,
    "expires_at" TIMESTAMPTZ(3) NOT NULL,
    "revoked_at" TIMESTAMPTZ(3),

    CONSTRAINT "join_token_pkey" PRIMARY KEY ("id")
);

-- CreateTable
CREATE TABLE "agent_key" (
    "id" TEXT NOT NULL,
    "wolf_instance_id" TEXT NOT NULL,
    "public_key" BYTEA NOT NULL,
    "status" TEXT NOT NULL,
    "enrolled_by" TEXT NOT NULL,
    "created_at" TIMESTAMPTZ(3) NOT NULL,
    "expires_at" TIMESTAMPTZ(3) NOT NULL,
    "last_used_at" TIMESTAMPTZ(3),
    "revoked_at" TIMESTAMPTZ(3),

    CONSTRAINT "agent_key_pkey" PRIMARY KEY ("id")
);

-- CreateTable
CREATE TABLE "spent_challenge" (
    "nonce" BYTEA NOT NULL,
    "expires_at" TIMESTAMPTZ(3) NOT NULL,

    CONSTRAINT "spent_challenge_pkey" PRIMARY KEY ("nonce")
);

-- CreateTable
CREATE TABLE "revocation" (
    "id" TEXT NOT NULL,
    "at" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "kind" TEXT NOT NULL,
    "object_id" TEXT NOT NULL,

    CONSTRAINT "revocation_pkey" PRIMARY KEY ("id")
);

-- CreateTable
CREATE TABLE "audit_event" (
    "id" TEXT NOT NULL,
    "at" TIMESTAMPTZ(3) NOT NULL,
    "actor" TEXT NOT NULL,
    "actor_id" TEXT,
    "credential_id" TEXT,
    "action" TEXT NOT NULL,
    "object" TEXT,
    "result" TEXT NOT NULL,
    "code" TEXT,
    "request_id" TEXT NOT NULL,
    "replica" TEXT NOT NULL,
    "address" TEXT,
    "detail" JSONB NOT NULL DEFAULT '{}',

    CONSTRAINT "audit_event_pkey" PRIMARY KEY ("id")
);

-- CreateTable
CREATE TABLE "idempotency_key" (
    "owner" TEXT NOT NULL,
    "key" TEXT NOT NULL,
    "operation" TEXT NOT NULL,
    "request_hash" BYTEA NOT NULL,
    "status" INTEGER,
    "answer" BYTEA,
    "created_at" TIMESTAMPTZ(3) NOT NULL,
    "expires_at" TIMESTAMPTZ(3) NOT NULL,

    CONSTRAINT "idempotency_key_pkey" PRIMARY KEY ("owner","key")
);

-- CreateIndex
CREATE UNIQUE INDEX "web_session_hash_key" ON "web_session"("hash");

-- CreateIndex
CREATE INDEX "web_session_user_id_idx" ON "web_session"("user_id");

-- CreateIndex
CREATE INDEX "web_session_expires_at_idx" ON "web_session"("expires_at");

-- CreateIndex
CREATE UNIQUE INDEX "join_token_hash_key" ON "join_token"("hash");

-- CreateIndex
CREATE INDEX "join_token_expires_at_idx" ON "join_token"("expires_at");

-- CreateIndex
CREATE UNIQUE INDEX "agent_key_public_key_key" ON "agent_key"("public_key");

-- CreateIndex
CREATE INDEX "agent_key_wolf_instance_id_status_idx" ON "agent_key"("wolf_instance_id", "status");

-- CreateIndex
CREATE INDEX "spent_challenge_expires_at_idx" ON "spent_challenge"("expires_at");

-- CreateIndex
CREATE INDEX "revocation_at_idx" ON "revocation"("at");

-- CreateIndex
CREATE INDEX "audit_event_actor_id_id_idx" ON "audit_event"("actor_id", "id");

-- CreateIndex
CREATE INDEX "audit_event_object_id_idx" ON "audit_event"("object", "id");

-- CreateIndex
CREATE INDEX "audit_event_action_id_idx" ON "audit_event"("action", "id");

-- CreateIndex
CREATE INDEX "idempotency_key_expires_at_idx" ON "idempotency_key"("expires_at");

-- AddForeignKey
ALTER TABLE "web_session" ADD CONSTRAINT "web_session_user_id_fkey" FOREIGN KEY ("user_id") REFERENCES "user_account"("id") ON DELETE CASCADE ON UPDATE CASCADE;

-- AddForeignKey
ALTER TABLE "web_session" ADD CONSTRAINT "web_session_api_key_id_fkey" FOREIGN KEY ("api_key_id") REFERENCES "api_key"("id") ON DELETE CASCADE ON UPDATE CASCADE;

-- AddForeignKey
ALTER TABLE "agent_key" ADD CONSTRAINT "agent_key_wolf_instance_id_fkey" FOREIGN KEY ("wolf_instance_id") REFERENCES "wolf_instance"("id") ON DELETE CASCADE ON UPDATE CASCADE;

-- Closed sets and invariants that schema.prisma cannot say.
ALTER TABLE "user_account" DROP CONSTRAINT "user_account_role";
ALTER TABLE "user_account"
  ADD CONSTRAINT "user_account_role" CHECK ("role" IN ('admin', 'operator', 'user', 'viewer')),
  ADD CONSTRAINT "user_account_sessions_max" CHECK ("sessions_max" >= 0),
  ADD CONSTRAINT "user_account_creates_per_minute" CHECK ("creates_per_minute" >= 0);

ALTER TABLE "join_token"
  ADD CONSTRAINT "join_token_uses" CHECK ("uses" BETWEEN 0 AND "uses_max");

ALTER TABLE "agent_key"
  ADD CONSTRAINT "agent_key_status" CHECK ("status" IN ('pending', 'active', 'revoked')),
  ADD CONSTRAINT "agent_key_public_key" CHECK (octet_length("public_key") = 32),
  ADD CONSTRAINT "agent_key_revoked" CHECK (("status" = 'revoked') = ("revoked_at" IS NOT NULL));

ALTER TABLE "revocation"
  ADD CONSTRAINT "revocation_kind" CHECK ("kind" IN ('api-key', 'web-session', 'user', 'agent-key', 'wolf'));

ALTER TABLE "audit_event"
  ADD CONSTRAINT "audit_event_actor" CHECK ("actor" IN ('anonymous', 'user', 'agent', 'join-token', 'runner-token', 'system')),
  ADD CONSTRAINT "audit_event_result" CHECK ("result" IN ('allowed', 'failed', 'denied'));

-- Append only, for whoever has the application's own credentials too.
CREATE FUNCTION "audit_event_is_append_only"() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION 'audit_event is append only';
END $$;
CREATE TRIGGER "audit_event_append_only"
  BEFORE UPDATE OR DELETE OR TRUNCATE ON "audit_event"
  FOR EACH STATEMENT EXECUTE FUNCTION "audit_event_is_append_only"();
