-- The smallest version 7 UUID of a millisecond (RFC 9562, 5.7).
CREATE FUNCTION viral.first_id_at(moment timestamptz) RETURNS uuid
LANGUAGE sql IMMUTABLE SECURITY DEFINER SET search_path = ''
AS $$
  SELECT (lpad(to_hex(floor(extract(epoch FROM moment) * 1000)::bigint), 12, '0')
          || '70008000000000000000')::uuid
$$
