-- expand
-- What a new session of an owner that is to wait is answered, and its turn if it does wait. It decides for enqueue_session, behind
-- its locks; whoever asks without them hears what would be answered now.
CREATE FUNCTION "session_prospect"(owner text, wanted_priority int, at timestamptz, queue_max int, default_sessions_max int,
  default_creates_max int, OUT outcome text, OUT quota_limit int, OUT quota_current int, OUT free_at timestamptz, OUT next_turn int)
LANGUAGE plpgsql STABLE SET enable_seqscan = off AS $$
DECLARE
  quota record;
  waiting int;
BEGIN
  SELECT * INTO quota FROM session_quota(owner, at, default_sessions_max, default_creates_max);
  IF quota.sessions_max IS NULL THEN
    RAISE foreign_key_violation USING MESSAGE = 'a session''s owner does not exist';
  END IF;
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
    outcome = 'queued';
    -- Behind its owner's others by one turn each, and never before the turn that the queue has come to: whoever comes late to a
    -- long queue is neither first nor last.
    SELECT GREATEST(COALESCE(min("turn"), 0), COALESCE(max("turn") FILTER (WHERE "owner_id" = owner) + 1, 0)) INTO next_turn
    FROM "session" WHERE "status" = 'queued' AND "priority" = wanted_priority;
  END IF;
END $$;

-- A new session that waits. Those who ask take turns, so that the queue's bound holds.
CREATE OR REPLACE FUNCTION "enqueue_session"(request jsonb, at timestamptz, queue_max int, deadline timestamptz,
  default_sessions_max int, default_creates_max int)
RETURNS TABLE (outcome text, quota_limit int, quota_current int, free_at timestamptz, made "session")
LANGUAGE plpgsql SET enable_seqscan = off AS $$
DECLARE
  owner text = request->>'owner_id';
  prospect record;
BEGIN
  -- Any number that nothing else in this database locks on.
  PERFORM pg_advisory_xact_lock(7301990414);
  PERFORM 1 FROM "user_account" WHERE "id" = owner FOR NO KEY UPDATE;
  made = session_of_request(request);
  IF made."id" IS NOT NULL THEN
    outcome = 'exists';
    RETURN NEXT;
    RETURN;
  END IF;
  SELECT * INTO prospect FROM session_prospect(owner, (request->>'priority')::int, at, queue_max, default_sessions_max,
    default_creates_max);
  outcome = prospect.outcome;
  quota_limit = prospect.quota_limit;
  quota_current = prospect.quota_current;
  free_at = prospect.free_at;
  IF outcome = 'queued' THEN
    made = new_session(request, at);
    made."status" = 'queued';
    made."queued_at" = at;
    made."queue_deadline" = deadline;
    made."turn" = prospect.next_turn;
    INSERT INTO "session" SELECT made.*;
  END IF;
  RETURN NEXT;
END $$;
