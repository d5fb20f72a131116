-- expand
-- An agent's key that ends sooner than its events have said so far, because a newer one of its wolf is in use.
CREATE FUNCTION "agent_key_shortened_event"() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  PERFORM write_event('agent-key.shortened', clock_timestamp(),
    jsonb_build_object('object', NEW."id", 'wolf', NEW."wolf_instance_id"),
    jsonb_build_object('status', NEW."status", 'enrolled_by', NEW."enrolled_by", 'expires_at', event_time(NEW."expires_at"),
      'from', jsonb_build_object('expires_at', event_time(OLD."expires_at"))));
  RETURN NULL;
END $$;
CREATE TRIGGER "agent_key_shortened" AFTER UPDATE OF "expires_at" ON "agent_key" FOR EACH ROW
  WHEN (OLD."status" = NEW."status" AND NEW."expires_at" < OLD."expires_at") EXECUTE FUNCTION "agent_key_shortened_event"();
