-- Mend who is let in.

-- step: expand: change accept_invitation, end_membership, open_session, register_invited and switch_session
-- With who may call them: nobody would sign in between two steps.
SET LOCAL check_function_bodies = off;

SET LOCAL ROLE viral_auth;

CREATE OR REPLACE FUNCTION viral.accept_invitation(link_sha256 bytea, person uuid, new_membership uuid)
 RETURNS uuid
 LANGUAGE sql
 SECURITY DEFINER
 SET search_path TO ''
AS $function$
  WITH accepted AS (
    UPDATE public.invitations AS i SET accepted_at = now()
    FROM public.users AS u
    WHERE i.token_sha256 = link_sha256 AND i.accepted_at IS NULL AND i.revoked_at IS NULL
      AND i.expires_at > now() AND u.id = person AND u.email = i.email
    RETURNING i.tenant_id, i.role
  ), member AS (
    INSERT INTO public.memberships AS m (tenant_id, id, user_id, role)
    SELECT a.tenant_id, new_membership, person, a.role FROM accepted AS a
    ON CONFLICT (tenant_id, user_id) DO UPDATE
      SET ended_at = NULL,
          role = CASE WHEN m.ended_at IS NULL AND m.role = 'ADMIN' THEN m.role
                      ELSE excluded.role END
    RETURNING m.tenant_id, m.role
  ), before AS (
    -- As the statement found it.
    SELECT m.tenant_id, m.ended_at FROM public.memberships AS m
    JOIN member ON member.tenant_id = m.tenant_id
    WHERE m.user_id = person AND (m.ended_at IS NOT NULL OR m.role <> member.role)
  ), sessions AS (
    UPDATE public.sessions AS s SET ended_at = now() FROM before
    WHERE s.tenant_id = before.tenant_id AND s.user_id = person AND s.ended_at IS NULL
      AND s.method <> 'clerk'
  ), keys AS (
    UPDATE public.api_keys AS k SET revoked_at = now() FROM before
    WHERE k.tenant_id = before.tenant_id AND k.user_id = person AND k.revoked_at IS NULL
      AND before.ended_at IS NOT NULL
  )
  SELECT member.tenant_id FROM member
$function$
;

REVOKE ALL ON FUNCTION viral.accept_invitation(bytea, uuid, uuid) FROM PUBLIC;

CREATE OR REPLACE FUNCTION viral.end_membership(credential bytea, member uuid)
 RETURNS boolean
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO ''
AS $function$
DECLARE
  here uuid := viral.tenant_id();
  actor uuid := viral.acting_member(credential, false);
  someone uuid;
BEGIN
  PERFORM FROM public.tenants AS t WHERE t.id = here FOR NO KEY UPDATE;
  SELECT m.user_id INTO someone FROM public.memberships AS m
  WHERE m.tenant_id = here AND m.id = member AND m.ended_at IS NULL;
  IF someone IS NULL THEN
    RETURN false;
  END IF;
  IF someone <> actor THEN
    PERFORM viral.acting_member(credential, true);
  END IF;
  UPDATE public.memberships AS m SET ended_at = now() WHERE m.tenant_id = here AND m.id = member;
  PERFORM viral.keep_an_admin();
  UPDATE public.sessions AS s SET ended_at = now()
  WHERE s.tenant_id = here AND s.user_id = someone AND s.ended_at IS NULL
    AND s.method <> 'clerk';
  UPDATE public.api_keys AS k SET revoked_at = now()
  WHERE k.tenant_id = here AND k.user_id = someone AND k.revoked_at IS NULL;
  UPDATE public.invitations AS i SET revoked_at = now()
  FROM public.users AS u
  WHERE u.id = someone AND i.tenant_id = here AND (i.invited_by = someone OR i.email = u.email)
    AND i.accepted_at IS NULL AND i.revoked_at IS NULL;
  RETURN true;
END
$function$
;

REVOKE ALL ON FUNCTION viral.end_membership(bytea, uuid) FROM PUBLIC;

-- lint: ban-drop-function: it is made again in the same step
DROP FUNCTION viral.open_session(bytea, bytea, interval);

CREATE OR REPLACE FUNCTION viral.open_session(link_sha256 bytea, session_sha256 bytea, lifetime interval)
 RETURNS TABLE(user_id uuid, tenant_id uuid)
 LANGUAGE sql
 SECURITY DEFINER
 SET search_path TO ''
AS $function$
  WITH opened AS (
    UPDATE public.sessions AS s
    SET token_sha256 = session_sha256, opened_at = now(), last_seen_at = now(),
        expires_at = now() + least(lifetime, interval '90 days')
    FROM public.memberships AS m
    WHERE s.token_sha256 = link_sha256 AND s.opened_at IS NULL AND s.ended_at IS NULL
      AND s.expires_at > now() AND m.tenant_id = s.tenant_id AND m.user_id = s.user_id
      AND m.ended_at IS NULL
    RETURNING s.user_id, s.tenant_id
  ), noted AS (
    UPDATE public.users AS u SET last_login_at = now() FROM opened WHERE u.id = opened.user_id
  )
  SELECT opened.user_id, opened.tenant_id FROM opened
$function$
;

REVOKE ALL ON FUNCTION viral.open_session(bytea, bytea, interval) FROM PUBLIC;

CREATE OR REPLACE FUNCTION viral.register_invited(link_sha256 bytea, new_user uuid, person_name text, hash text)
 RETURNS uuid
 LANGUAGE sql
 SECURITY DEFINER
 SET search_path TO ''
AS $function$
  INSERT INTO public.users AS u (id, email, name, password_hash)
  SELECT new_user, i.email, person_name, hash FROM public.invitations AS i
  WHERE i.token_sha256 = link_sha256 AND i.accepted_at IS NULL AND i.revoked_at IS NULL
    AND i.expires_at > now()
  ON CONFLICT (email) DO UPDATE
    SET name = coalesce(excluded.name, u.name), password_hash = excluded.password_hash,
        tenant_id = NULL, updated_at = now()
    WHERE u.password_hash IS NULL AND u.clerk_id IS NULL AND NOT u.is_operator
      AND NOT EXISTS (
        SELECT FROM public.memberships AS m WHERE m.user_id = u.id AND m.ended_at IS NULL
      )
  RETURNING u.id
$function$
;

REVOKE ALL ON FUNCTION viral.register_invited(bytea, uuid, text, text) FROM PUBLIC;

-- lint: ban-drop-function: it is made again in the same step
DROP FUNCTION viral.switch_session(bytea, bytea, uuid);

CREATE OR REPLACE FUNCTION viral.switch_session(session_sha256 bytea, new_session_sha256 bytea, membership uuid)
 RETURNS TABLE(user_id uuid, tenant_id uuid)
 LANGUAGE sql
 SECURITY DEFINER
 SET search_path TO ''
AS $function$
  UPDATE public.sessions AS s SET tenant_id = m.tenant_id, token_sha256 = new_session_sha256
  FROM public.memberships AS m
  WHERE s.token_sha256 = session_sha256 AND s.opened_at IS NOT NULL AND s.ended_at IS NULL
    AND s.expires_at > now() AND s.method <> 'clerk' AND m.id = membership
    AND m.user_id = s.user_id AND m.ended_at IS NULL
  RETURNING s.user_id, s.tenant_id
$function$
;

REVOKE ALL ON FUNCTION viral.switch_session(bytea, bytea, uuid) FROM PUBLIC;

GRANT EXECUTE ON FUNCTION viral.open_session(bytea, bytea, interval) TO viral_app;

GRANT EXECUTE ON FUNCTION viral.switch_session(bytea, bytea, uuid) TO viral_app;

SET LOCAL ROLE viral_owner;

-- step: contract: let viral_system read the columns of public.users but password_hash
-- Revoked first: what is revoked of a table is revoked of its columns, too.
REVOKE SELECT ON public.users FROM viral_system;

GRANT SELECT (
  clerk_id, created_at, email, id, image_url,
  is_operator, last_login_at, name, tenant_id, updated_at
) ON public.users TO viral_system;

-- step: expand: build public.ix_webhook_events_subject, outside a transaction
CREATE INDEX CONCURRENTLY ix_webhook_events_subject ON public.webhook_events USING btree (provider, ((payload ->> 'subject'::text)));
