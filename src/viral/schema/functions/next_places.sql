-- The next places of the ring after one, all round it at most.
CREATE FUNCTION viral.next_places(lane text, after uuid, wanted integer) RETURNS uuid[]
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = ''
AS $$
DECLARE
  start constant uuid := '00000000-0000-0000-0000-000000000000';
  ring uuid[] := viral.waiting_places(lane, after, wanted);
  wrapped uuid[];
BEGIN
  IF after > start AND cardinality(ring) < wanted THEN
    wrapped := viral.waiting_places(lane, start, wanted - cardinality(ring));
    ring := ring || ARRAY(SELECT w.place FROM unnest(wrapped) AS w (place) WHERE w.place <= after);
  END IF;
  RETURN ring;
END
$$
