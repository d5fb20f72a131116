-- expand
/*
  A statement for many wolves is made by as many agents: whom each event is by, it says by the wolf, as `wolfpack.made_by`, for as long as
  its transaction lasts: {wolf: [actor, actor_id, cause, request_id]}. Whoever is not named there is named in front of the statement, as
  before; a replica of an earlier version names nobody there.
*/
CREATE OR REPLACE FUNCTION "fleet_event_is_new"() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  told text[];
  named jsonb;
BEGIN
  IF COALESCE(current_setting('wolfpack.writes_events', true), '') = '' THEN
    PERFORM pg_advisory_xact_lock_shared((1::bigint << 48) | CASE WHEN is_called THEN last_value ELSE 0 END)
    FROM "fleet_event_order";
    PERFORM set_config('wolfpack.writes_events', 'yes', true);
  END IF;
  NEW."seq" = nextval('fleet_event_order');
  IF NEW."actor" IS NULL THEN
    named = NULLIF(current_setting('wolfpack.made_by', true), '')::jsonb->NEW."wolf_instance_id";
    IF named IS NULL THEN
      told = regexp_match(left(current_query(), 300), '^/\* wolfpack (\S+) (\S+) (\S+) (\S+) \*/');
    ELSE
      told = ARRAY[named->>0, named->>1, named->>2, named->>3];
    END IF;
    NEW."actor" = NULLIF(told[1], '-');
    NEW."actor_id" = NULLIF(told[2], '-');
    NEW."cause" = NULLIF(told[3], '-');
    NEW."request_id" = NULLIF(told[4], '-');
  END IF;
  RETURN NEW;
END $$;
