-- expand
-- Lobbies of a Wolf that no session has take slots. That a wolf was compared for the first time since its tunnel came up is no event: in a
-- fleet that comes back as one it would be one more row for each wolf.
CREATE FUNCTION "wolf_lobbies_event"() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  PERFORM write_wolf_event('wolf.lobbies', NEW."id", NEW."updated_at",
    jsonb_build_object('from', OLD."other_lobbies", 'to', NEW."other_lobbies"));
  RETURN NULL;
END $$;
CREATE TRIGGER "wolf_lobbies_changed" AFTER UPDATE OF "other_lobbies" ON "wolf_instance" FOR EACH ROW
  WHEN (OLD."other_lobbies" <> NEW."other_lobbies") EXECUTE FUNCTION "wolf_lobbies_event"();
