-- Take a turn of each bucket of somebody who is not known yet: 0, or the seconds to wait.
-- Their names get a mark of their own, so that no caller spends the turns of a known one.
CREATE FUNCTION viral.limit_attempts(buckets text[], allowed integer[], spans interval[])
RETURNS double precision
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = ''
AS $$
DECLARE
  wait_s double precision := 0;
BEGIN
  FOR place IN 1..coalesce(cardinality(buckets), 0) LOOP
    wait_s := viral.take_turn('attempt:' || buckets[place], allowed[place], spans[place]);
    EXIT WHEN wait_s > 0;
  END LOOP;
  RETURN wait_s;
END
$$
