-- Take a turn of a bucket that allows so many in a span: 0, or the seconds until there is one.
-- Generic cell rate algorithm (ITU-T I.371): one timestamp a bucket, the theoretical arrival time.
CREATE FUNCTION viral.take_turn(wanted text, allowed integer, span interval)
RETURNS double precision
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = ''
AS $$
DECLARE
  pace interval := span / allowed;
  moment timestamptz := clock_timestamp();
  arrival timestamptz;
BEGIN
  INSERT INTO viral.rate_limits AS r (bucket, arrival_at) VALUES (wanted, moment + pace)
  ON CONFLICT (bucket) DO UPDATE SET arrival_at = greatest(r.arrival_at, moment) + pace
    WHERE greatest(r.arrival_at, moment) + pace <= moment + span
  RETURNING r.arrival_at INTO arrival;
  IF FOUND THEN
    RETURN 0;
  END IF;
  SELECT r.arrival_at INTO arrival FROM viral.rate_limits AS r WHERE r.bucket = wanted;
  RETURN greatest(extract(epoch FROM arrival + pace - span - moment), 0.001);
END
$$
