-- AlterTable
ALTER TABLE "session" ADD COLUMN     "attempts" INTEGER NOT NULL DEFAULT 0,
ADD COLUMN     "avoid" TEXT[] DEFAULT ARRAY[]::TEXT[],
ADD COLUMN     "create_key" TEXT,
ADD COLUMN     "culprits" TEXT[] DEFAULT ARRAY[]::TEXT[],
ADD COLUMN     "encoder_sessions" INTEGER NOT NULL DEFAULT 0,
ADD COLUMN     "expires_at" TIMESTAMPTZ(3),
ADD COLUMN     "idle_seconds" INTEGER,
ADD COLUMN     "last_active_at" TIMESTAMPTZ(3),
ADD COLUMN     "left_wolves" TEXT[] DEFAULT ARRAY[]::TEXT[],
ADD COLUMN     "lock_expires_at" TIMESTAMPTZ(3),
ADD COLUMN     "lock_token" TEXT,
ADD COLUMN     "pin" TEXT,
ADD COLUMN     "priority" INTEGER NOT NULL DEFAULT 4,
ADD COLUMN     "queue_deadline" TIMESTAMPTZ(3),
ADD COLUMN     "queued_at" TIMESTAMPTZ(3),
ADD COLUMN     "status_since" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
ADD COLUMN     "stop_reason" TEXT,
ADD COLUMN     "turn" INTEGER NOT NULL DEFAULT 0,
ADD COLUMN     "vram_mb" INTEGER NOT NULL DEFAULT 0,
ADD COLUMN     "warned_at" TIMESTAMPTZ(3);

-- AlterTable
ALTER TABLE "wolf_instance" ADD COLUMN     "create_failures" INTEGER NOT NULL DEFAULT 0,
ADD COLUMN     "drain" JSONB,
ADD COLUMN     "encoder_sessions_claimed" INTEGER NOT NULL DEFAULT 0,
ADD COLUMN     "encoder_sessions_max" INTEGER,
ADD COLUMN     "encoder_sessions_other" INTEGER NOT NULL DEFAULT 0,
ADD COLUMN     "flaps" INTEGER NOT NULL DEFAULT 0,
ADD COLUMN     "flaps_since" TIMESTAMPTZ(3),
ADD COLUMN     "gpu_model" TEXT,
ADD COLUMN     "intent_reason" TEXT,
ADD COLUMN     "intent_since" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
ADD COLUMN     "other_lobbies" INTEGER NOT NULL DEFAULT 0,
ADD COLUMN     "placement_xid" BIGINT NOT NULL DEFAULT 0,
ADD COLUMN     "quarantine_reason" TEXT,
ADD COLUMN     "quarantined_until" TIMESTAMPTZ(3),
ADD COLUMN     "quarantines" INTEGER NOT NULL DEFAULT 0,
ADD COLUMN     "reconciled_epoch" INTEGER NOT NULL DEFAULT 0,
ADD COLUMN     "render_node" TEXT,
ADD COLUMN     "vram_mb" INTEGER,
ADD COLUMN     "vram_mb_claimed" INTEGER NOT NULL DEFAULT 0,
ADD COLUMN     "vram_mb_other" INTEGER NOT NULL DEFAULT 0;

-- CreateTable
CREATE TABLE "fleet_event" (
    "id" TEXT NOT NULL,
    "at" TIMESTAMPTZ(3) NOT NULL,
    "kind" TEXT NOT NULL,
    "session_id" TEXT,
    "wolf_instance_id" TEXT,
    "owner_id" TEXT,
    "detail" JSONB NOT NULL DEFAULT '{}',

    CONSTRAINT "fleet_event_pkey" PRIMARY KEY ("id")
);

-- CreateTable
CREATE TABLE "fleet" (
    "id" INTEGER NOT NULL DEFAULT 1,
    "frozen_since" TIMESTAMPTZ(3),
    "override_until" TIMESTAMPTZ(3),

    CONSTRAINT "fleet_pkey" PRIMARY KEY ("id")
);

-- CreateTable
CREATE TABLE "wolf_removed" (
    "id" TEXT NOT NULL,
    "placement_xid" BIGINT NOT NULL,

    CONSTRAINT "wolf_removed_pkey" PRIMARY KEY ("id")
);

-- CreateIndex
CREATE INDEX "wolf_removed_placement_xid_idx" ON "wolf_removed"("placement_xid");

-- CreateIndex
CREATE INDEX "fleet_event_session_id_id_idx" ON "fleet_event"("session_id", "id");

-- CreateIndex
CREATE INDEX "fleet_event_wolf_instance_id_id_idx" ON "fleet_event"("wolf_instance_id", "id");

-- CreateIndex
CREATE INDEX "fleet_event_owner_id_id_idx" ON "fleet_event"("owner_id", "id");

-- CreateIndex
CREATE INDEX "fleet_event_at_idx" ON "fleet_event"("at");

-- CreateIndex
CREATE UNIQUE INDEX "session_create_key_owner_id_key" ON "session"("create_key", "owner_id");

-- CreateIndex
CREATE INDEX "wolf_instance_placement_xid_idx" ON "wolf_instance"("placement_xid");

-- Closed sets and invariants that schema.prisma cannot say.
UPDATE "session" SET "status_since" = "updated_at";
UPDATE "wolf_instance" SET "intent_since" = "created_at";
INSERT INTO "fleet" ("id") VALUES (1);
ALTER TABLE "fleet" ADD CONSTRAINT "fleet_one_row" CHECK ("id" = 1);

ALTER TABLE "wolf_instance" DROP CONSTRAINT "wolf_instance_intent";
ALTER TABLE "wolf_instance"
  ADD CONSTRAINT "wolf_instance_intent"
    CHECK ("intent" IN ('pending', 'active', 'cordoned', 'draining', 'maintenance', 'retired')),
  ADD CONSTRAINT "wolf_instance_drain" CHECK ("drain" IS NULL OR ("intent" = 'draining' AND jsonb_typeof("drain") = 'object')),
  ADD CONSTRAINT "wolf_instance_claims" CHECK ("vram_mb_claimed" >= 0 AND "encoder_sessions_claimed" >= 0),
  ADD CONSTRAINT "wolf_instance_others"
    CHECK ("other_lobbies" >= 0 AND "vram_mb_other" >= 0 AND "encoder_sessions_other" >= 0),
  ADD CONSTRAINT "wolf_instance_capacity" CHECK ("vram_mb" >= 0 AND "encoder_sessions_max" >= 0),
  ADD CONSTRAINT "wolf_instance_counts" CHECK ("flaps" >= 0 AND "create_failures" >= 0 AND "quarantines" >= 0),
  ADD CONSTRAINT "wolf_instance_quarantine_reason"
    CHECK ("quarantine_reason" IN ('creates-failed', 'creates-slow', 'tunnel-flaps')),
  ADD CONSTRAINT "wolf_instance_quarantine" CHECK (("quarantined_until" IS NULL) = ("quarantine_reason" IS NULL)),
  ADD CONSTRAINT "wolf_instance_reconciled" CHECK ("reconciled_epoch" <= "epoch");

ALTER TABLE "session" DROP CONSTRAINT "session_status", DROP CONSTRAINT "session_slot", DROP CONSTRAINT "session_slot_ended";
ALTER TABLE "session"
  ADD CONSTRAINT "session_status"
    CHECK ("status" IN ('queued', 'placed', 'starting', 'running', 'stopping', 'lost', 'stopped', 'failed')),
  ADD CONSTRAINT "session_slot" CHECK (NOT "slot_held"
    OR ("wolf_instance_id" IS NOT NULL AND "status" IN ('placed', 'starting', 'running', 'stopping', 'lost'))),
  ADD CONSTRAINT "session_claims" CHECK ("vram_mb" >= 0 AND "encoder_sessions" >= 0
    AND ("slot_held" OR ("vram_mb" = 0 AND "encoder_sessions" = 0))),
  ADD CONSTRAINT "session_queued" CHECK ("status" <> 'queued' OR ("wolf_instance_id" IS NULL AND "lobby_id" IS NULL
    AND "queued_at" IS NOT NULL AND "queue_deadline" IS NOT NULL)),
  ADD CONSTRAINT "session_stop_reason"
    CHECK ("stop_reason" IN ('requested', 'forced', 'expired', 'idle', 'drained', 'wolf-lost', 'cancelled')),
  ADD CONSTRAINT "session_lock" CHECK (("lock_token" IS NULL) = ("lock_expires_at" IS NULL)),
  ADD CONSTRAINT "session_create_key" CHECK ("create_key" IS NULL OR "ended_at" IS NULL),
  ADD CONSTRAINT "session_numbers" CHECK ("priority" BETWEEN 0 AND 9 AND "attempts" >= 0 AND "idle_seconds" > 0);

-- Of the sessions ever made only the live ones are few: what is looked for among them has an index of them alone.
CREATE INDEX "session_live_owner" ON "session" ("owner_id") WHERE "ended_at" IS NULL;
CREATE INDEX "session_live_expires" ON "session" ("expires_at") WHERE "ended_at" IS NULL;

-- What a view of the fleet has to look at again: rows that a transaction has changed which had not ended at the last look have
-- a number of at least that look's oldest running one. Nothing is missed, whatever commits late.
CREATE FUNCTION "placement_changed"() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  NEW."placement_xid" = pg_current_xact_id()::text::bigint;
  RETURN NEW;
END $$;
CREATE TRIGGER "wolf_instance_placement_new" BEFORE INSERT ON "wolf_instance"
  FOR EACH ROW EXECUTE FUNCTION "placement_changed"();
CREATE TRIGGER "wolf_instance_placement_changed"
  BEFORE UPDATE OF "intent", "connectivity", "health", "quarantined_until", "epoch", "tunnel_since", "reconciled_epoch",
    "wolf_capabilities", "gpu_type", "gpu_model", "labels", "region", "cost_per_hour", "images", "max_sandboxes",
    "connected_sandboxes", "other_lobbies", "vram_mb", "vram_mb_claimed", "vram_mb_other", "encoder_sessions_max",
    "encoder_sessions_claimed", "encoder_sessions_other"
  ON "wolf_instance" FOR EACH ROW
  WHEN ((OLD."connected_sandboxes", OLD."other_lobbies", OLD."max_sandboxes", OLD."vram_mb", OLD."vram_mb_claimed",
      OLD."vram_mb_other", OLD."encoder_sessions_max", OLD."encoder_sessions_claimed", OLD."encoder_sessions_other",
      OLD."intent", OLD."connectivity", OLD."health", OLD."quarantined_until", OLD."epoch", OLD."tunnel_since",
      OLD."reconciled_epoch", OLD."gpu_type", OLD."gpu_model", OLD."region", OLD."cost_per_hour", OLD."labels",
      OLD."wolf_capabilities", OLD."images")
    IS DISTINCT FROM
      (NEW."connected_sandboxes", NEW."other_lobbies", NEW."max_sandboxes", NEW."vram_mb", NEW."vram_mb_claimed",
      NEW."vram_mb_other", NEW."encoder_sessions_max", NEW."encoder_sessions_claimed", NEW."encoder_sessions_other",
      NEW."intent", NEW."connectivity", NEW."health", NEW."quarantined_until", NEW."epoch", NEW."tunnel_since",
      NEW."reconciled_epoch", NEW."gpu_type", NEW."gpu_model", NEW."region", NEW."cost_per_hour", NEW."labels",
      NEW."wolf_capabilities", NEW."images"))
  EXECUTE FUNCTION "placement_changed"();
CREATE FUNCTION "wolf_is_removed"() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO "wolf_removed" ("id", "placement_xid") VALUES (OLD."id", pg_current_xact_id()::text::bigint)
  ON CONFLICT ("id") DO UPDATE SET "placement_xid" = EXCLUDED."placement_xid";
  RETURN NULL;
END $$;
CREATE TRIGGER "wolf_instance_removed" AFTER DELETE ON "wolf_instance"
  FOR EACH ROW EXECUTE FUNCTION "wolf_is_removed"();

-- Events of statuses and axes, in the transaction that makes the change: neither is ever without the other.
CREATE FUNCTION "new_event_id"() RETURNS text LANGUAGE plpgsql AS $$
DECLARE
  alphabet CONSTANT text = '0123456789ABCDEFGHJKMNPQRSTVWXYZ';
  -- A ULID: 48 bits of time and 80 of chance, five bits a character.
  "time" bigint = floor(extract(epoch FROM clock_timestamp()) * 1000);
  high bigint = floor(random() * 1099511627776);
  low bigint = floor(random() * 1099511627776);
  id text = 'evt_';
BEGIN
  FOR shift IN REVERSE 45..0 BY 5 LOOP id = id || substr(alphabet, (("time" >> shift) & 31)::int + 1, 1); END LOOP;
  FOR shift IN REVERSE 35..0 BY 5 LOOP id = id || substr(alphabet, ((high >> shift) & 31)::int + 1, 1); END LOOP;
  FOR shift IN REVERSE 35..0 BY 5 LOOP id = id || substr(alphabet, ((low >> shift) & 31)::int + 1, 1); END LOOP;
  RETURN id;
END $$;

CREATE FUNCTION "session_event"() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  -- There is no OLD of a new row.
  former "session" = CASE WHEN TG_OP = 'UPDATE' THEN OLD END;
BEGIN
  INSERT INTO "fleet_event" ("id", "at", "kind", "session_id", "wolf_instance_id", "owner_id", "detail")
  VALUES (new_event_id(), NEW."updated_at", 'session.' || NEW."status", NEW."id",
    COALESCE(NEW."wolf_instance_id", former."wolf_instance_id"), NEW."owner_id",
    jsonb_strip_nulls(jsonb_build_object('from', former."status", 'failure_code', NEW."failure_code",
      'stop_reason', NEW."stop_reason", 'attempts', NEW."attempts")));
  RETURN NULL;
END $$;
CREATE TRIGGER "session_made" AFTER INSERT ON "session" FOR EACH ROW EXECUTE FUNCTION "session_event"();
CREATE TRIGGER "session_status_changed" AFTER UPDATE OF "status" ON "session"
  FOR EACH ROW WHEN (OLD."status" <> NEW."status") EXECUTE FUNCTION "session_event"();

CREATE FUNCTION "write_wolf_event"(kind text, wolf text, at timestamptz, detail jsonb) RETURNS void LANGUAGE sql AS $$
  INSERT INTO "fleet_event" ("id", "at", "kind", "wolf_instance_id", "detail")
  VALUES (new_event_id(), at, kind, wolf, jsonb_strip_nulls(detail));
$$;
CREATE FUNCTION "wolf_event"() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP = 'INSERT' THEN
    PERFORM write_wolf_event('wolf.registered', NEW."id", NEW."updated_at", jsonb_build_object('name', NEW."name"));
    RETURN NULL;
  ELSIF TG_OP = 'DELETE' THEN
    PERFORM write_wolf_event('wolf.removed', OLD."id", clock_timestamp(), jsonb_build_object('name', OLD."name"));
    RETURN NULL;
  END IF;
  IF OLD."connectivity" <> NEW."connectivity" THEN
    PERFORM write_wolf_event('wolf.connectivity', NEW."id", NEW."updated_at",
      jsonb_build_object('from', OLD."connectivity", 'to', NEW."connectivity", 'epoch', NEW."epoch"));
  END IF;
  IF OLD."health" <> NEW."health" THEN
    PERFORM write_wolf_event('wolf.health', NEW."id", NEW."updated_at",
      jsonb_build_object('from', OLD."health", 'to', NEW."health", 'reasons', NEW."health_reasons"));
  END IF;
  IF OLD."intent" <> NEW."intent" THEN
    PERFORM write_wolf_event('wolf.intent', NEW."id", NEW."updated_at",
      jsonb_build_object('from', OLD."intent", 'to', NEW."intent", 'reason', NEW."intent_reason"));
  END IF;
  IF NEW."quarantined_until" IS NULL AND OLD."quarantined_until" IS NOT NULL THEN
    PERFORM write_wolf_event('wolf.readmitted', NEW."id", NEW."updated_at", '{}');
  ELSIF OLD."quarantined_until" IS DISTINCT FROM NEW."quarantined_until" THEN
    PERFORM write_wolf_event('wolf.quarantined', NEW."id", NEW."updated_at", jsonb_build_object(
      'reason', NEW."quarantine_reason", 'times', NEW."quarantines",
      'until', to_char(NEW."quarantined_until" AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')));
  END IF;
  RETURN NULL;
END $$;
CREATE TRIGGER "wolf_instance_made" AFTER INSERT OR DELETE ON "wolf_instance"
  FOR EACH ROW EXECUTE FUNCTION "wolf_event"();
CREATE TRIGGER "wolf_instance_axis_changed"
  AFTER UPDATE OF "connectivity", "health", "intent", "quarantined_until" ON "wolf_instance" FOR EACH ROW
  WHEN ((OLD."connectivity", OLD."health", OLD."intent", OLD."quarantined_until")
    IS DISTINCT FROM (NEW."connectivity", NEW."health", NEW."intent", NEW."quarantined_until"))
  EXECUTE FUNCTION "wolf_event"();

CREATE FUNCTION "fleet_is_changed"() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO "fleet_event" ("id", "at", "kind")
  VALUES (new_event_id(), COALESCE(NEW."frozen_since", clock_timestamp()),
    CASE WHEN NEW."frozen_since" IS NULL THEN 'fleet.thawed' ELSE 'fleet.frozen' END);
  RETURN NULL;
END $$;
CREATE TRIGGER "fleet_changed" AFTER UPDATE OF "frozen_since" ON "fleet" FOR EACH ROW
  WHEN ((OLD."frozen_since" IS NULL) <> (NEW."frozen_since" IS NULL)) EXECUTE FUNCTION "fleet_is_changed"();

-- The figures of the GPU that sessions render on: the host's one with that render node, or else the only one there is.
CREATE FUNCTION "render_gpu_usage"(host jsonb, render_node text, usage jsonb) RETURNS jsonb LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
  wanted text = (SELECT gpu->>'id' FROM jsonb_array_elements(host->'gpus') gpu WHERE gpu->>'render_node' = render_node LIMIT 1);
BEGIN
  IF wanted IS NULL THEN
    RETURN CASE jsonb_array_length(usage->'gpus') WHEN 1 THEN usage->'gpus'->0 END;
  END IF;
  RETURN (SELECT figures FROM jsonb_array_elements(usage->'gpus') figures WHERE figures->>'id' = wanted LIMIT 1);
END $$;

-- What an owner may have and has. Its row must be locked: who counts, counts alone.
CREATE FUNCTION "session_quota"(owner text, at timestamptz, default_sessions_max int, default_creates_max int,
  OUT sessions_max int, OUT live int, OUT creates_max int, OUT recent int) LANGUAGE sql STABLE AS $$
  SELECT COALESCE(u."sessions_max", default_sessions_max),
    (SELECT count(*) FROM "session" WHERE "owner_id" = owner AND "ended_at" IS NULL)::int,
    COALESCE(u."creates_per_minute", default_creates_max),
    (SELECT count(*) FROM "session" WHERE "owner_id" = owner AND "created_at" > at - interval '1 minute')::int
  FROM "user_account" u WHERE u."id" = owner
$$;
-- When the minute of the session has passed that keeps its owner from making one more.
CREATE FUNCTION "quota_free_at"(owner text, at timestamptz, creates_max int) RETURNS timestamptz LANGUAGE sql STABLE AS $$
  SELECT COALESCE((
    SELECT "created_at" FROM "session" WHERE "owner_id" = owner AND "created_at" > at - interval '1 minute'
    ORDER BY "created_at" DESC OFFSET GREATEST(creates_max - 1, 0) LIMIT 1), at) + interval '1 minute'
$$;

-- A session as it is made; status, place and time of waiting are the caller's.
CREATE FUNCTION "new_session"(columns jsonb, at timestamptz) RETURNS "session" LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
  made "session" = jsonb_populate_record(NULL::"session", columns);
BEGIN
  made."status_since" = at;
  made."slot_held" = false;
  made."vram_mb" = 0;
  made."encoder_sessions" = 0;
  made."attempts" = 0;
  made."turn" = 0;
  made."avoid" = '{}';
  made."culprits" = '{}';
  made."left_wolves" = '{}';
  made."created_at" = at;
  made."updated_at" = at;
  RETURN made;
END $$;

-- What the same request has made already: a session with its id, or a live one with its key. No index answers "owner_id" || '':
-- by the owner's all that it ever had would be read, by a plan that was made while that was little.
CREATE FUNCTION "session_of_request"(request jsonb) RETURNS "session" LANGUAGE plpgsql STABLE AS $$
DECLARE
  known "session";
BEGIN
  SELECT * INTO known FROM "session" WHERE "id" = request->>'id';
  IF NOT FOUND THEN
    SELECT * INTO known FROM "session"
    WHERE "create_key" = request->>'create_key' AND "owner_id" || '' = request->>'owner_id';
  END IF;
  RETURN known;
END $$;

/*
  Gives places to sessions, new ones and ones that wait, each entirely or not at all, in the order of the claims:
  { wolf_id, epoch, lock_token, lock_expires_at, vram_mb, encoder_sessions, session (columns of a new one) | queued (an id), placement }.
  Locks come first and in one order (sessions, owners, wolves, each by id), so that two calls never wait for each other. Each
  statement sees what was there when it began: those that count begin after the locks.

  Plans are kept as long as the connection: the setting keeps those that are made while tables are small from reading them from end
  to end when they are not.
*/
CREATE FUNCTION "place_sessions"(claims jsonb, at timestamptz, default_sessions_max int, default_creates_max int)
RETURNS TABLE (ordinal int, outcome text, quota_limit int, quota_current int, free_at timestamptz, made "session")
LANGUAGE plpgsql SET enable_seqscan = off AS $$
DECLARE
  claim record;
  queued_ids text[] = ARRAY(SELECT value->>'queued' FROM jsonb_array_elements(claims) WHERE value->>'queued' IS NOT NULL);
  owner_ids text[] = ARRAY(SELECT DISTINCT value->'session'->>'owner_id' FROM jsonb_array_elements(claims));
  wolf_ids text[] = ARRAY(SELECT DISTINCT value->>'wolf_id' FROM jsonb_array_elements(claims));
  owners text[];
  owner int;
  lives int[];
  live_limits int[];
  recents int[];
  recent_limits int[];
BEGIN
  PERFORM 1 FROM "session" WHERE "id" = ANY(queued_ids) ORDER BY "id" FOR NO KEY UPDATE;
  owners = ARRAY(SELECT "id" FROM "user_account" WHERE "id" = ANY(owner_ids) ORDER BY "id" FOR NO KEY UPDATE);
  PERFORM 1 FROM "wolf_instance" WHERE "id" = ANY(wolf_ids) ORDER BY "id" FOR NO KEY UPDATE;
  SELECT array_agg(quota.live ORDER BY place), array_agg(quota.sessions_max ORDER BY place),
    array_agg(quota.recent ORDER BY place), array_agg(quota.creates_max ORDER BY place)
  INTO lives, live_limits, recents, recent_limits
  FROM unnest(owners) WITH ORDINALITY AS one(owner_id, place),
    LATERAL session_quota(owner_id, at, default_sessions_max, default_creates_max) AS quota;

  FOR claim IN
    SELECT * FROM ROWS FROM (jsonb_to_recordset(claims) AS (wolf_id text, epoch int, lock_token text, lock_expires_at timestamptz,
      vram_mb int, encoder_sessions int, queued text, placement jsonb, session jsonb)) WITH ORDINALITY
  LOOP
    ordinal = claim.ordinality;
    outcome = NULL;
    quota_limit = NULL;
    quota_current = NULL;
    free_at = NULL;
    made = NULL;
    IF claim.queued IS NOT NULL THEN
      SELECT * INTO made FROM "session" WHERE "id" = claim.queued AND "status" = 'queued';
      IF NOT FOUND THEN
        outcome = 'gone';
      END IF;
      claim.vram_mb = COALESCE((made."spec"->'resources'->>'vram_mb')::int, 0);
      claim.encoder_sessions = COALESCE((made."spec"->'resources'->>'encoder_sessions')::int, 1);
    ELSE
      owner = array_position(owners, claim.session->>'owner_id');
      made = session_of_request(claim.session);
      IF made."id" IS NOT NULL THEN
        outcome = 'exists';
      ELSIF owner IS NULL THEN
        RAISE foreign_key_violation USING MESSAGE = 'a session''s owner does not exist';
      ELSIF lives[owner] >= live_limits[owner] THEN
        outcome = 'too-many';
        quota_limit = live_limits[owner];
        quota_current = lives[owner];
      ELSIF recents[owner] >= recent_limits[owner] THEN
        outcome = 'too-fast';
        quota_limit = recent_limits[owner];
        quota_current = recents[owner];
        free_at = quota_free_at(claim.session->>'owner_id', at, recent_limits[owner]);
      END IF;
    END IF;

    IF outcome IS NULL THEN
      UPDATE "wolf_instance" SET "connected_sandboxes" = "connected_sandboxes" + 1,
        "vram_mb_claimed" = "vram_mb_claimed" + claim.vram_mb,
        "encoder_sessions_claimed" = "encoder_sessions_claimed" + claim.encoder_sessions, "updated_at" = at
      WHERE "id" = claim.wolf_id AND "epoch" = claim.epoch AND "connectivity" = 'connected' AND "intent" = 'active'
        AND "health" <> 'failed' AND "reconciled_epoch" = "epoch"
        AND ("quarantined_until" IS NULL OR "quarantined_until" <= at)
        AND COALESCE("wolf_capabilities"->'missing', '[]') = '[]'
        AND "connected_sandboxes" + "other_lobbies" < "max_sandboxes"
        AND (claim.vram_mb = 0 OR "vram_mb_claimed"::bigint + "vram_mb_other" + claim.vram_mb <= "vram_mb")
        AND (claim.encoder_sessions = 0 OR "encoder_sessions_max" IS NULL
          OR "encoder_sessions_claimed"::bigint + "encoder_sessions_other" + claim.encoder_sessions <= "encoder_sessions_max");
      IF NOT FOUND THEN
        outcome = 'lost';
        made = NULL;
      ELSIF claim.queued IS NOT NULL THEN
        UPDATE "session" SET "status" = 'placed', "status_since" = at, "wolf_instance_id" = claim.wolf_id,
          "placement" = claim.placement, "slot_held" = true, "vram_mb" = claim.vram_mb,
          "encoder_sessions" = claim.encoder_sessions, "attempts" = "attempts" + 1, "lock_token" = claim.lock_token,
          "lock_expires_at" = claim.lock_expires_at, "updated_at" = at
        WHERE "id" = claim.queued
        RETURNING * INTO made;
        outcome = 'claimed';
      ELSE
        made = new_session(claim.session, at);
        made."status" = 'placed';
        made."wolf_instance_id" = claim.wolf_id;
        made."slot_held" = true;
        made."vram_mb" = claim.vram_mb;
        made."encoder_sessions" = claim.encoder_sessions;
        made."attempts" = 1;
        made."lock_token" = claim.lock_token;
        made."lock_expires_at" = claim.lock_expires_at;
        INSERT INTO "session" SELECT made.*;
        lives[owner] = lives[owner] + 1;
        recents[owner] = recents[owner] + 1;
        outcome = 'claimed';
      END IF;
    END IF;
    RETURN NEXT;
  END LOOP;
END $$;

-- A new session that waits. Those who ask take turns, so that the queue's bound holds.
CREATE FUNCTION "enqueue_session"(request jsonb, at timestamptz, queue_max int, deadline timestamptz, default_sessions_max int,
  default_creates_max int)
RETURNS TABLE (outcome text, quota_limit int, quota_current int, free_at timestamptz, made "session")
LANGUAGE plpgsql SET enable_seqscan = off AS $$
DECLARE
  owner text = request->>'owner_id';
  quota record;
  waiting int;
BEGIN
  -- Any number that nothing else in this database locks on.
  PERFORM pg_advisory_xact_lock(7301990414);
  PERFORM 1 FROM "user_account" WHERE "id" = owner FOR NO KEY UPDATE;
  IF NOT FOUND THEN
    RAISE foreign_key_violation USING MESSAGE = 'a session''s owner does not exist';
  END IF;
  made = session_of_request(request);
  IF made."id" IS NOT NULL THEN
    outcome = 'exists';
    RETURN NEXT;
    RETURN;
  END IF;
  SELECT * INTO quota FROM session_quota(owner, at, default_sessions_max, default_creates_max);
  SELECT count(*) INTO waiting FROM "session" WHERE "status" = 'queued';
  IF quota.live >= quota.sessions_max THEN
    outcome = 'too-many';
    quota_limit = quota.sessions_max;
    quota_current = quota.live;
  ELSIF quota.recent >= quota.creates_max THEN
    outcome = 'too-fast';
    quota_limit = quota.creates_max;
    quota_current = quota.recent;
    free_at = quota_free_at(owner, at, quota.creates_max);
  ELSIF waiting >= queue_max THEN
    outcome = 'full';
    quota_limit = queue_max;
    quota_current = waiting;
  ELSE
    made = new_session(request, at);
    made."status" = 'queued';
    made."queued_at" = at;
    made."queue_deadline" = deadline;
    -- Behind its owner's others by one turn each, and never before the turn that the queue has come to: whoever comes late to a
    -- long queue is neither first nor last.
    SELECT GREATEST(COALESCE(min("turn"), 0), COALESCE(max("turn") FILTER (WHERE "owner_id" = owner) + 1, 0)) INTO made."turn"
    FROM "session" WHERE "status" = 'queued' AND "priority" = made."priority";
    INSERT INTO "session" SELECT made.*;
    outcome = 'queued';
  END IF;
  RETURN NEXT;
END $$;
