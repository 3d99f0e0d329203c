-- Hand in the attempts that ended and take new jobs, in one statement and one commit. Rows with a
-- place of null and an attempt of 0 are attempts that were refused. Payloads come along where a
-- context of their tenant is given. Who holds a job in an open transaction does not hold up all
-- others: then this fails soon.
CREATE FUNCTION viral.exchange_jobs(
  worker uuid, jobs uuid[], tries integer[], outcomes jsonb[], failures text[],
  retries_s double precision[], lane text, wanted integer, after uuid, running_limit integer,
  rate_limit integer, rate_span interval, may_suspect boolean, contexts text[]
) RETURNS TABLE (
  id uuid, tenant_id uuid, job_type text, attempt integer, crashes integer, has_payload boolean,
  place uuid, payload text
)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = ''
SET enable_seqscan = off SET plan_cache_mode = force_generic_plan SET lock_timeout = '250ms'
AS $$
DECLARE
  owners uuid[];
BEGIN
  IF cardinality(jobs) > 0 THEN
    RETURN QUERY
      SELECT f.id, NULL::uuid, NULL::text, 0, NULL::integer, NULL::boolean, NULL::uuid, NULL::text
      FROM viral.finish_jobs(worker, jobs, tries, outcomes, failures, retries_s) AS f (id);
  END IF;
  IF wanted < 1 THEN
    RETURN;
  END IF;
  IF jobs IS NULL OR cardinality(jobs) = 0 THEN
    -- A claim that is lost with the server is made again: it need not wait for the disk.
    PERFORM set_config('synchronous_commit', 'off', true);
  END IF;
  owners := viral.owners_of(contexts);
  RETURN QUERY
    SELECT c.*, CASE WHEN c.has_payload AND c.tenant_id = ANY (owners) THEN (
      SELECT p.payload::text FROM public.job_queue AS p WHERE p.id = c.id) END
    FROM viral.claim_jobs(
      worker, lane, wanted, after, running_limit, rate_limit, rate_span, may_suspect) AS c;
END
$$
