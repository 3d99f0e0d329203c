-- Hand in the attempts that ended and take new jobs, in one statement and one commit. Rows with a
-- place of null and an attempt of 0 are attempts that were refused. Who holds a job in an open
-- transaction does not hold up all others: then this fails soon.
CREATE FUNCTION viral.exchange_jobs(
  worker uuid, jobs uuid[], tries integer[], outcomes jsonb[], failures text[],
  retries_s double precision[], lane text, wanted integer, after uuid, running_limit integer,
  rate_limit integer, rate_span interval, may_suspect boolean
) RETURNS TABLE (
  id uuid, tenant_id uuid, job_type text, attempt integer, crashes integer, has_payload boolean,
  place uuid
)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = ''
SET lock_timeout = '250ms'
AS $$
BEGIN
  IF cardinality(jobs) > 0 THEN
    RETURN QUERY
      SELECT f.id, NULL::uuid, NULL::text, 0, NULL::integer, NULL::boolean, NULL::uuid
      FROM viral.finish_jobs(worker, jobs, tries, outcomes, failures, retries_s) AS f (id);
  END IF;
  RETURN QUERY SELECT * FROM viral.claim_jobs(
    worker, lane, wanted, after, running_limit, rate_limit, rate_span, may_suspect);
END
$$
