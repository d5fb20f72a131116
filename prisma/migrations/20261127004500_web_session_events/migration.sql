-- expand
-- Browsers that sign in and out. Never a hash. Expiry is no change of a row, and so no event: when it will be, stands in the first one.
CREATE FUNCTION "web_session_event"() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  about jsonb = jsonb_build_object('object', NEW."id", 'owner', NEW."user_id");
  -- It ends with its key, if that is sooner. LEAST passes over a key that does not expire.
  ends timestamptz = LEAST(NEW."expires_at", (SELECT "expires_at" FROM "api_key" WHERE "id" = NEW."api_key_id"));
  shown jsonb = jsonb_build_object('api_key_id', NEW."api_key_id", 'expires_at', event_time(ends));
BEGIN
  IF TG_OP = 'INSERT' THEN
    PERFORM write_event('web-session.opened', NEW."created_at", about, shown);
  ELSIF NEW."revoked_at" < ends THEN
    PERFORM write_event('web-session.ended', NEW."revoked_at", about, shown);
  END IF;
  RETURN NULL;
END $$;
CREATE TRIGGER "web_session_made" AFTER INSERT ON "web_session" FOR EACH ROW EXECUTE FUNCTION "web_session_event"();
CREATE TRIGGER "web_session_revoked" AFTER UPDATE OF "revoked_at" ON "web_session" FOR EACH ROW
  WHEN (OLD."revoked_at" IS NULL AND NEW."revoked_at" IS NOT NULL) EXECUTE FUNCTION "web_session_event"();
