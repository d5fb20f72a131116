-- DropIndex
DROP INDEX "fleet_event_owner_id_id_idx";

-- DropIndex
DROP INDEX "fleet_event_session_id_id_idx";

-- DropIndex
DROP INDEX "fleet_event_wolf_instance_id_id_idx";

-- AlterTable
ALTER TABLE "fleet_event" ADD COLUMN     "actor" TEXT,
ADD COLUMN     "actor_id" TEXT,
ADD COLUMN     "cause" TEXT,
ADD COLUMN     "object_id" TEXT,
ADD COLUMN     "request_id" TEXT,
ADD COLUMN     "seq" BIGINT NOT NULL DEFAULT 0;

-- AlterTable
ALTER TABLE "session" ADD COLUMN     "requested_by" JSONB;

-- What there is keeps the order of its ids.
CREATE SEQUENCE "fleet_event_order";
UPDATE "fleet_event" SET "seq" = placed."seq"
FROM (SELECT "id", row_number() OVER (ORDER BY "id") AS "seq" FROM "fleet_event") AS placed WHERE placed."id" = "fleet_event"."id";
SELECT setval('fleet_event_order', count(*)) FROM "fleet_event" HAVING count(*) > 0;

-- CreateIndex
CREATE UNIQUE INDEX "fleet_event_seq_key" ON "fleet_event"("seq");

-- CreateIndex
CREATE INDEX "fleet_event_session_id_seq_idx" ON "fleet_event"("session_id", "seq");

-- CreateIndex
CREATE INDEX "fleet_event_wolf_instance_id_seq_idx" ON "fleet_event"("wolf_instance_id", "seq");

-- CreateIndex
CREATE INDEX "fleet_event_actor_id_seq_idx" ON "fleet_event"("actor_id", "seq");

-- CreateIndex
CREATE INDEX "fleet_event_owner_id_seq_idx" ON "fleet_event"("owner_id", "seq");

-- So that the index finds the beginnings of kinds, too; schema.prisma cannot say it.
ALTER TABLE "fleet_event" ALTER COLUMN "kind" TYPE TEXT COLLATE "C";

-- CreateIndex
CREATE INDEX "fleet_event_kind_seq_idx" ON "fleet_event"("kind", "seq");

-- A closed set that schema.prisma cannot say.
ALTER TABLE "fleet_event"
  ADD CONSTRAINT "fleet_event_actor" CHECK ("actor" IN ('user', 'agent', 'join-token', 'runner-token', 'system'));

/*
  Every event gets its place in the order, and who made it. Places are given when events are written, and transactions end in
  another order: whoever reads behind the last place that it has seen would miss what commits late. So a transaction, before its
  first event gets a place, takes a lock whose number says "nothing of mine has a place up to here"; it shares the lock with others and
  waits for nobody. The lock ends with the transaction, after its rows are seen.

  Who and why, the statement itself says in a comment in front of it: so it costs no round trip more, and no store has to pass it on.
*/
CREATE FUNCTION "fleet_event_is_new"() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  told text[];
BEGIN
  IF COALESCE(current_setting('wolfpack.writes_events', true), '') = '' THEN
    PERFORM pg_advisory_xact_lock_shared((1::bigint << 48) | CASE WHEN is_called THEN last_value ELSE 0 END)
    FROM "fleet_event_order";
    PERFORM set_config('wolfpack.writes_events', 'yes', true);
  END IF;
  NEW."seq" = nextval('fleet_event_order');
  IF NEW."actor" IS NULL THEN
    told = regexp_match(left(current_query(), 300), '^/\* wolfpack (\S+) (\S+) (\S+) (\S+) \*/');
    NEW."actor" = NULLIF(told[1], '-');
    NEW."actor_id" = NULLIF(told[2], '-');
    NEW."cause" = NULLIF(told[3], '-');
    NEW."request_id" = NULLIF(told[4], '-');
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER "fleet_event_new" BEFORE INSERT ON "fleet_event" FOR EACH ROW EXECUTE FUNCTION "fleet_event_is_new"();

/*
  Up to which place nothing is missing any more, and whether somebody may be about to write. To be asked before the rows, in a
  statement of its own: who has a place below `newest` had its lock before that was read, and if it has none now, a later statement
  sees its rows.
*/
CREATE FUNCTION "event_horizon"(OUT settled bigint, OUT waiting boolean) LANGUAGE plpgsql AS $$
DECLARE
  newest bigint;
  unsettled bigint;
BEGIN
  SELECT CASE WHEN is_called THEN last_value ELSE 0 END INTO newest FROM "fleet_event_order";
  SELECT min(((classid::bigint << 32) | objid::bigint) & ((1::bigint << 48) - 1)) INTO unsettled FROM pg_locks
  WHERE locktype = 'advisory' AND objsubid = 1 AND classid::bigint >> 16 = 1
    AND database = (SELECT oid FROM pg_database WHERE datname = current_database());
  settled = LEAST(newest, unsettled);
  waiting = unsettled IS NOT NULL;
END $$;

/*
  Told with the end of the transaction. Transactions that notify end one after the other, each when it is on disk: so only one at a
  time does it. Whoever reads by its word sees that others are still at it, and reads again.
*/
CREATE FUNCTION "tell_of_events"() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  -- Any number that nothing else in this database locks on.
  IF pg_try_advisory_xact_lock(7301990415) THEN
    PERFORM pg_notify('wolfpack_events', '');
  END IF;
  RETURN NULL;
END $$;
CREATE TRIGGER "fleet_event_told" AFTER INSERT ON "fleet_event" FOR EACH STATEMENT EXECUTE FUNCTION "tell_of_events"();

-- Times in details, as the API writes all times, whatever the time zone of the connection.
CREATE FUNCTION "event_time"(at timestamptz) RETURNS text LANGUAGE sql STABLE AS $$
  SELECT to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"');
$$;

-- `made_by`: who asked for what is made, where that is known better than from the statement.
CREATE FUNCTION "write_event"(kind text, at timestamptz, about jsonb, detail jsonb, made_by jsonb DEFAULT NULL) RETURNS void
LANGUAGE sql AS $$
  INSERT INTO "fleet_event" ("id", "at", "kind", "session_id", "wolf_instance_id", "owner_id", "object_id", "detail", "actor",
    "actor_id", "cause", "request_id")
  VALUES (new_event_id(), at, kind, about->>'session', about->>'wolf', about->>'owner', about->>'object', jsonb_strip_nulls(detail),
    made_by->>'actor', made_by->>'actor_id', CASE WHEN made_by->>'actor' IS NOT NULL THEN 'requested' END, made_by->>'request_id');
$$;

DROP TRIGGER "session_status_changed" ON "session";
CREATE OR REPLACE FUNCTION "session_event"() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  -- There is no OLD of a new row.
  former "session" = CASE WHEN TG_OP = 'UPDATE' THEN OLD END;
  at timestamptz = NEW."updated_at";
  about jsonb = jsonb_build_object('session', NEW."id", 'owner', NEW."owner_id",
    'wolf', COALESCE(NEW."wolf_instance_id", former."wolf_instance_id"));
  made_by jsonb = CASE WHEN TG_OP = 'INSERT' THEN NEW."requested_by" END;
BEGIN
  IF former."status" IS DISTINCT FROM NEW."status" THEN
    PERFORM write_event('session.' || NEW."status", at, about, jsonb_build_object('from', former."status",
      'failure_code', NEW."failure_code", 'stop_reason', NEW."stop_reason", 'attempts', NEW."attempts"), made_by);
    IF NEW."status" = 'queued' THEN
      PERFORM write_event('queue.entered', at, about, jsonb_build_object('priority', NEW."priority", 'turn', NEW."turn",
        'deadline', event_time(NEW."queue_deadline")), made_by);
    ELSIF former."status" = 'queued' THEN
      PERFORM write_event('queue.left', at, about, jsonb_build_object('to', NEW."status",
        'waited_ms', (extract(epoch FROM at - former."status_since") * 1000)::bigint));
    END IF;
  ELSIF former."expires_at" IS DISTINCT FROM NEW."expires_at" THEN
    PERFORM write_event('session.extended', at, about, jsonb_build_object('expires_at', event_time(NEW."expires_at")));
  END IF;
  IF NEW."slot_held" AND NOT COALESCE(former."slot_held", false) THEN
    PERFORM write_event('placement.made', at, about, jsonb_build_object('policy', NEW."placement"->>'policy',
      'attempts', NEW."attempts"), made_by);
  ELSIF former."slot_held" AND NOT NEW."slot_held" THEN
    PERFORM write_event('placement.released', at, about, jsonb_build_object('status', NEW."status"));
  END IF;
  RETURN NULL;
END $$;
CREATE TRIGGER "session_changed" AFTER UPDATE OF "status", "slot_held", "expires_at" ON "session" FOR EACH ROW
  WHEN ((OLD."status", OLD."slot_held", OLD."expires_at") IS DISTINCT FROM (NEW."status", NEW."slot_held", NEW."expires_at"))
  EXECUTE FUNCTION "session_event"();

-- What operators and agents say of a wolf: the names of the fields that are another now. Not figures, which change all the time.
CREATE FUNCTION "wolf_fields_changed"(former "wolf_instance", now "wolf_instance") RETURNS jsonb LANGUAGE sql IMMUTABLE AS $$
  SELECT jsonb_agg(field) FROM (VALUES
    ('address', former."address" IS DISTINCT FROM now."address"),
    ('agent_version', former."agent_version" IS DISTINCT FROM now."agent_version"),
    ('cost_per_hour', former."cost_per_hour" IS DISTINCT FROM now."cost_per_hour"),
    ('drain', former."drain" IS DISTINCT FROM now."drain" AND former."intent" = now."intent"),
    ('encoder_sessions_max', former."encoder_sessions_max" IS DISTINCT FROM now."encoder_sessions_max"),
    ('gpu_model', former."gpu_model" IS DISTINCT FROM now."gpu_model"),
    ('gpu_type', former."gpu_type" IS DISTINCT FROM now."gpu_type"),
    ('host', former."host" IS DISTINCT FROM now."host"),
    ('images', former."images" IS DISTINCT FROM now."images"),
    ('labels', former."labels" IS DISTINCT FROM now."labels"),
    ('max_sandboxes', former."max_sandboxes" IS DISTINCT FROM now."max_sandboxes"),
    ('region', former."region" IS DISTINCT FROM now."region"),
    ('wolf_capabilities', former."wolf_capabilities" IS DISTINCT FROM now."wolf_capabilities")
  ) AS each(field, changed) WHERE changed
$$;

DROP TRIGGER "wolf_instance_axis_changed" ON "wolf_instance";
CREATE OR REPLACE FUNCTION "write_wolf_event"(kind text, wolf text, at timestamptz, detail jsonb) RETURNS void LANGUAGE sql AS $$
  SELECT write_event(kind, at, jsonb_build_object('wolf', wolf), detail);
$$;
CREATE OR REPLACE FUNCTION "wolf_event"() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  fields jsonb;
BEGIN
  IF TG_OP = 'INSERT' THEN
    PERFORM write_wolf_event('wolf.registered', NEW."id", NEW."updated_at", jsonb_build_object('name', NEW."name"));
    RETURN NULL;
  ELSIF TG_OP = 'DELETE' THEN
    PERFORM write_wolf_event('wolf.removed', OLD."id", clock_timestamp(), jsonb_build_object('name', OLD."name"));
    RETURN NULL;
  END IF;
  IF OLD."epoch" <> NEW."epoch" THEN
    PERFORM write_wolf_event('wolf.tunnel', NEW."id", NEW."updated_at", jsonb_build_object('epoch', NEW."epoch",
      'protocol', NEW."tunnel_protocol", 'legacy_credential', NEW."tunnel_legacy_credential"));
  END IF;
  IF OLD."connectivity" <> NEW."connectivity" THEN
    PERFORM write_wolf_event('wolf.connectivity', NEW."id", NEW."updated_at",
      jsonb_build_object('from', OLD."connectivity", 'to', NEW."connectivity", 'epoch', NEW."epoch"));
  END IF;
  -- Details of a reason are figures that go up and down.
  IF OLD."health" <> NEW."health" OR jsonb_path_query_array(OLD."health_reasons", '$[*].code')
      <> jsonb_path_query_array(NEW."health_reasons", '$[*].code') THEN
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
      'until', event_time(NEW."quarantined_until")));
  END IF;
  fields = wolf_fields_changed(OLD, NEW);
  IF fields IS NOT NULL THEN
    PERFORM write_wolf_event('wolf.changed', NEW."id", NEW."updated_at", jsonb_build_object('fields', fields));
  END IF;
  RETURN NULL;
END $$;
CREATE TRIGGER "wolf_instance_changed"
  AFTER UPDATE OF "connectivity", "health", "health_reasons", "intent", "quarantined_until", "epoch", "address", "agent_version",
    "cost_per_hour", "drain", "encoder_sessions_max", "gpu_model", "gpu_type", "host", "images", "labels", "max_sandboxes",
    "region", "wolf_capabilities"
  ON "wolf_instance" FOR EACH ROW
  WHEN ((OLD."connectivity", OLD."health", OLD."health_reasons", OLD."intent", OLD."quarantined_until", OLD."epoch", OLD."address",
      OLD."agent_version", OLD."cost_per_hour", OLD."drain", OLD."encoder_sessions_max", OLD."gpu_model", OLD."gpu_type", OLD."host",
      OLD."images", OLD."labels", OLD."max_sandboxes", OLD."region", OLD."wolf_capabilities")
    IS DISTINCT FROM
      (NEW."connectivity", NEW."health", NEW."health_reasons", NEW."intent", NEW."quarantined_until", NEW."epoch", NEW."address",
      NEW."agent_version", NEW."cost_per_hour", NEW."drain", NEW."encoder_sessions_max", NEW."gpu_model", NEW."gpu_type", NEW."host",
      NEW."images", NEW."labels", NEW."max_sandboxes", NEW."region", NEW."wolf_capabilities"))
  EXECUTE FUNCTION "wolf_event"();

DROP TRIGGER "fleet_changed" ON "fleet";
CREATE OR REPLACE FUNCTION "fleet_is_changed"() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF (OLD."frozen_since" IS NULL) <> (NEW."frozen_since" IS NULL) THEN
    PERFORM write_event(CASE WHEN NEW."frozen_since" IS NULL THEN 'fleet.thawed' ELSE 'fleet.frozen' END,
      COALESCE(NEW."frozen_since", clock_timestamp()), '{}', '{}');
  END IF;
  IF NEW."override_until" IS NOT NULL AND NEW."override_until" IS DISTINCT FROM OLD."override_until" THEN
    PERFORM write_event('fleet.override', clock_timestamp(), '{}',
      jsonb_build_object('until', event_time(NEW."override_until")));
  END IF;
  RETURN NULL;
END $$;
CREATE TRIGGER "fleet_changed" AFTER UPDATE OF "frozen_since", "override_until" ON "fleet" FOR EACH ROW
  WHEN ((OLD."frozen_since", OLD."override_until") IS DISTINCT FROM (NEW."frozen_since", NEW."override_until"))
  EXECUTE FUNCTION "fleet_is_changed"();

-- Who may use the fleet. Never a hash, a cookie or a public key.
CREATE FUNCTION "user_event"() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  about jsonb = jsonb_build_object('object', NEW."id");
  shown jsonb = jsonb_build_object('name', NEW."name", 'role', NEW."role", 'disabled', NEW."disabled_at" IS NOT NULL,
    'sessions_max', NEW."sessions_max", 'creates_per_minute', NEW."creates_per_minute");
BEGIN
  IF TG_OP = 'INSERT' THEN
    PERFORM write_event('user.created', NEW."created_at", about, shown);
  ELSE
    PERFORM write_event('user.changed', clock_timestamp(), about, shown || jsonb_build_object('from', jsonb_strip_nulls(
      jsonb_build_object('role', NULLIF(OLD."role", NEW."role"), 'disabled',
        NULLIF(OLD."disabled_at" IS NOT NULL, NEW."disabled_at" IS NOT NULL), 'sessions_max',
        NULLIF(OLD."sessions_max", NEW."sessions_max"), 'creates_per_minute',
        NULLIF(OLD."creates_per_minute", NEW."creates_per_minute")))));
  END IF;
  RETURN NULL;
END $$;
CREATE TRIGGER "user_made" AFTER INSERT ON "user_account" FOR EACH ROW EXECUTE FUNCTION "user_event"();
CREATE TRIGGER "user_changed" AFTER UPDATE OF "name", "role", "disabled_at", "sessions_max", "creates_per_minute" ON "user_account"
  FOR EACH ROW WHEN ((OLD."name", OLD."role", OLD."disabled_at" IS NULL, OLD."sessions_max", OLD."creates_per_minute")
    IS DISTINCT FROM (NEW."name", NEW."role", NEW."disabled_at" IS NULL, NEW."sessions_max", NEW."creates_per_minute"))
  EXECUTE FUNCTION "user_event"();

CREATE FUNCTION "api_key_event"() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  about jsonb = jsonb_build_object('object', NEW."id", 'owner', NEW."user_id");
  shown jsonb = jsonb_build_object('name', NEW."name", 'scopes', NEW."scopes", 'expires_at', event_time(NEW."expires_at"));
BEGIN
  IF TG_OP = 'INSERT' THEN
    PERFORM write_event('api-key.created', NEW."created_at", about, shown);
  ELSE
    PERFORM write_event('api-key.revoked', NEW."revoked_at", about, shown);
  END IF;
  RETURN NULL;
END $$;
CREATE TRIGGER "api_key_made" AFTER INSERT ON "api_key" FOR EACH ROW EXECUTE FUNCTION "api_key_event"();
CREATE TRIGGER "api_key_revoked" AFTER UPDATE OF "revoked_at" ON "api_key" FOR EACH ROW
  WHEN (OLD."revoked_at" IS NULL AND NEW."revoked_at" IS NOT NULL) EXECUTE FUNCTION "api_key_event"();

CREATE FUNCTION "join_token_event"() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  about jsonb = jsonb_build_object('object', NEW."id");
  shown jsonb = jsonb_build_object('wolf_name', NEW."wolf_name", 'uses', NEW."uses", 'uses_max', NEW."uses_max",
    'expires_at', event_time(NEW."expires_at"));
BEGIN
  IF TG_OP = 'INSERT' THEN
    PERFORM write_event('join-token.created', NEW."created_at", about, shown);
  ELSIF OLD."revoked_at" IS NULL AND NEW."revoked_at" IS NOT NULL THEN
    PERFORM write_event('join-token.revoked', NEW."revoked_at", about, shown);
  ELSE
    PERFORM write_event('join-token.used', clock_timestamp(), about, shown);
  END IF;
  RETURN NULL;
END $$;
CREATE TRIGGER "join_token_made" AFTER INSERT ON "join_token" FOR EACH ROW EXECUTE FUNCTION "join_token_event"();
CREATE TRIGGER "join_token_changed" AFTER UPDATE OF "uses", "revoked_at" ON "join_token" FOR EACH ROW
  WHEN ((OLD."uses", OLD."revoked_at" IS NULL) IS DISTINCT FROM (NEW."uses", NEW."revoked_at" IS NULL))
  EXECUTE FUNCTION "join_token_event"();

CREATE FUNCTION "agent_key_event"() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  about jsonb = jsonb_build_object('object', NEW."id", 'wolf', NEW."wolf_instance_id");
  shown jsonb = jsonb_build_object('status', NEW."status", 'enrolled_by', NEW."enrolled_by",
    'expires_at', event_time(NEW."expires_at"));
BEGIN
  IF TG_OP = 'INSERT' THEN
    PERFORM write_event('agent-key.enrolled', NEW."created_at", about, shown);
  ELSIF NEW."status" = 'revoked' THEN
    PERFORM write_event('agent-key.revoked', NEW."revoked_at", about, shown);
  ELSE
    PERFORM write_event('agent-key.approved', clock_timestamp(), about, shown);
  END IF;
  RETURN NULL;
END $$;
CREATE TRIGGER "agent_key_made" AFTER INSERT ON "agent_key" FOR EACH ROW EXECUTE FUNCTION "agent_key_event"();
CREATE TRIGGER "agent_key_status_changed" AFTER UPDATE OF "status" ON "agent_key" FOR EACH ROW
  WHEN (OLD."status" <> NEW."status") EXECUTE FUNCTION "agent_key_event"();
