-- People, keys and limits: who enters, and what members change.

-- step: expand: create the functions from accept_invitation to limit_attempts
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
  ), keys AS (
    UPDATE public.api_keys AS k SET revoked_at = now() FROM before
    WHERE k.tenant_id = before.tenant_id AND k.user_id = person AND k.revoked_at IS NULL
      AND before.ended_at IS NOT NULL
  ), home AS (
    UPDATE public.users AS u SET tenant_id = member.tenant_id
    FROM member WHERE u.id = person AND u.tenant_id IS NULL
  )
  SELECT member.tenant_id FROM member
$function$
;

REVOKE ALL ON FUNCTION viral.accept_invitation(bytea, uuid, uuid) FROM PUBLIC;

CREATE OR REPLACE FUNCTION viral.acting_member(credential bytea, needs_admin boolean)
 RETURNS uuid
 LANGUAGE plpgsql
 STABLE SECURITY DEFINER
 SET search_path TO ''
AS $function$
DECLARE
  here uuid := viral.tenant_id();
  found uuid;
BEGIN
  SELECT m.user_id INTO found
  FROM public.memberships AS m
  WHERE m.tenant_id = here AND m.ended_at IS NULL AND (m.role = 'ADMIN' OR NOT needs_admin)
    AND (
      m.user_id = (
        SELECT s.user_id FROM public.sessions AS s
        WHERE s.token_sha256 = credential AND s.tenant_id = here AND s.opened_at IS NOT NULL
          AND s.ended_at IS NULL AND s.expires_at > now()
      ) OR m.user_id = (
        SELECT k.user_id FROM public.api_keys AS k
        WHERE k.key_hmac = credential AND k.tenant_id = here AND k.revoked_at IS NULL
          AND (k.expires_at IS NULL OR k.expires_at > now()) AND k.scopes ? 'admin'
      )
    );
  IF found IS NULL THEN
    RAISE EXCEPTION 'not allowed' USING ERRCODE = 'VT003';
  END IF;
  RETURN found;
END
$function$
;

REVOKE ALL ON FUNCTION viral.acting_member(bytea, boolean) FROM PUBLIC;

CREATE OR REPLACE FUNCTION viral.begin_session(person uuid, place uuid, new_id uuid, session_sha256 bytea, lifetime interval)
 RETURNS uuid
 LANGUAGE sql
 SECURITY DEFINER
 SET search_path TO ''
AS $function$
  WITH opened AS (
    INSERT INTO public.sessions
      (id, tenant_id, user_id, token_sha256, method, opened_at, last_seen_at, expires_at)
    SELECT new_id, m.tenant_id, u.id, session_sha256, 'password', now(), now(),
           now() + least(lifetime, interval '90 days')
    FROM public.users AS u
    JOIN public.memberships AS m ON m.user_id = u.id AND m.ended_at IS NULL
    WHERE u.id = person
    ORDER BY m.tenant_id = place DESC NULLS LAST, m.tenant_id = u.tenant_id DESC NULLS LAST,
             m.created_at, m.id
    LIMIT 1
    RETURNING tenant_id
  ), noted AS (
    UPDATE public.users AS u SET last_login_at = now() FROM opened WHERE u.id = person
  )
  SELECT opened.tenant_id FROM opened
$function$
;

REVOKE ALL ON FUNCTION viral.begin_session(uuid, uuid, uuid, bytea, interval) FROM PUBLIC;

CREATE OR REPLACE FUNCTION viral.change_role(credential bytea, member uuid, new_role text)
 RETURNS boolean
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO ''
AS $function$
DECLARE
  here uuid := viral.tenant_id();
  someone uuid;
BEGIN
  -- Asked behind the lock: whoever waited for it may be no admin any more.
  PERFORM FROM public.tenants AS t WHERE t.id = here FOR NO KEY UPDATE;
  PERFORM viral.acting_member(credential, true);
  UPDATE public.memberships AS m SET role = new_role
  WHERE m.tenant_id = here AND m.id = member AND m.ended_at IS NULL AND m.role <> new_role
  RETURNING m.user_id INTO someone;
  IF someone IS NULL THEN
    RETURN EXISTS (
      SELECT FROM public.memberships AS m
      WHERE m.tenant_id = here AND m.id = member AND m.ended_at IS NULL
    );
  END IF;
  PERFORM viral.keep_an_admin();
  UPDATE public.sessions AS s SET ended_at = now()
  WHERE s.tenant_id = here AND s.user_id = someone AND s.ended_at IS NULL
    AND s.method <> 'clerk';
  UPDATE public.api_keys AS k SET scopes = k.scopes - 'admin'
  WHERE k.tenant_id = here AND k.user_id = someone AND new_role <> 'ADMIN';
  UPDATE public.invitations AS i SET revoked_at = now()
  FROM public.users AS u
  WHERE u.id = someone AND i.tenant_id = here AND (i.invited_by = someone OR i.email = u.email)
    AND i.accepted_at IS NULL AND i.revoked_at IS NULL AND new_role <> 'ADMIN';
  RETURN true;
END
$function$
;

REVOKE ALL ON FUNCTION viral.change_role(bytea, uuid, text) FROM PUBLIC;

CREATE OR REPLACE FUNCTION viral.create_api_key(credential bytea, new_id uuid, key_name text, key_prefix text, hmac bytea, key_scopes jsonb, until timestamp with time zone)
 RETURNS uuid
 LANGUAGE sql
 SECURITY DEFINER
 SET search_path TO ''
AS $function$
  INSERT INTO public.api_keys
    (id, tenant_id, user_id, name, prefix, key_hmac, scopes, expires_at)
  SELECT new_id, viral.tenant_id(), viral.acting_member(credential, key_scopes ? 'admin'),
         key_name, key_prefix, hmac, key_scopes, until
  RETURNING id
$function$
;

REVOKE ALL ON FUNCTION viral.create_api_key(bytea, uuid, text, text, bytea, jsonb, timestamp with time zone) FROM PUBLIC;

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
  WHERE s.tenant_id = here AND s.user_id = someone AND s.ended_at IS NULL;
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

CREATE OR REPLACE FUNCTION viral.end_sessions(session_sha256 bytea)
 RETURNS integer
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO ''
AS $function$
DECLARE
  ended integer;
BEGIN
  UPDATE public.sessions AS s SET ended_at = now()
  WHERE s.ended_at IS NULL AND s.user_id = (
    SELECT mine.user_id FROM public.sessions AS mine
    WHERE mine.token_sha256 = session_sha256 AND mine.opened_at IS NOT NULL
      AND mine.ended_at IS NULL AND mine.expires_at > now()
  );
  GET DIAGNOSTICS ended = ROW_COUNT;
  RETURN ended;
END
$function$
;

REVOKE ALL ON FUNCTION viral.end_sessions(bytea) FROM PUBLIC;

CREATE OR REPLACE FUNCTION viral.enter_by_clerk(person text, organization text, new_id uuid, session_sha256 bytea, until timestamp with time zone, address text, allowed integer[])
 RETURNS TABLE(user_id uuid, tenant_id uuid, role text, is_operator boolean, email text, wait_s double precision)
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO ''
AS $function$
#variable_conflict use_column
DECLARE
  someone uuid;
BEGIN
  wait_s := viral.take_turn('address:' || address, allowed[1], '1 minute');
  IF wait_s = 0 THEN
    SELECT u.id INTO someone FROM public.users AS u WHERE u.clerk_id = person;
    SELECT u.id, m.tenant_id, m.role, u.is_operator, u.email
    INTO user_id, tenant_id, role, is_operator, email
    FROM public.users AS u
    JOIN public.memberships AS m ON m.user_id = u.id AND m.ended_at IS NULL
    JOIN public.tenants AS t ON t.id = m.tenant_id
    WHERE u.id = someone AND CASE WHEN organization IS NULL
      THEN t.id = u.tenant_id AND t.clerk_organization_id IS NULL
      ELSE t.clerk_organization_id = organization END;
    IF NOT FOUND THEN
      RETURN;
    END IF;
    INSERT INTO public.sessions AS s
      (id, tenant_id, user_id, token_sha256, method, opened_at, last_seen_at, expires_at)
    VALUES (new_id, tenant_id, user_id, session_sha256, 'clerk', now(), now(), until)
    ON CONFLICT (token_sha256) DO UPDATE SET expires_at = until, last_seen_at = now()
      WHERE s.expires_at < until AND s.ended_at IS NULL;
    IF EXISTS (
      SELECT FROM public.sessions AS s
      WHERE s.token_sha256 = session_sha256 AND s.ended_at IS NOT NULL
    ) THEN
      RETURN;
    END IF;
    wait_s := viral.take_turn('user:' || someone, allowed[2], '1 minute');
    IF wait_s = 0 THEN
      wait_s := viral.take_turn('tenant:' || tenant_id, allowed[3], '1 minute');
    END IF;
  END IF;
  RETURN NEXT;
END
$function$
;

REVOKE ALL ON FUNCTION viral.enter_by_clerk(text, text, uuid, bytea, timestamp with time zone, text, integer[]) FROM PUBLIC;

CREATE OR REPLACE FUNCTION viral.enter_by_key(hmac bytea, address text, allowed integer[])
 RETURNS TABLE(user_id uuid, tenant_id uuid, role text, is_operator boolean, email text, wait_s double precision, key_id uuid, scopes jsonb)
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO ''
AS $function$
#variable_conflict use_column
DECLARE
  names text[];
BEGIN
  wait_s := viral.take_turn('address:' || address, allowed[1], '1 minute');
  IF wait_s = 0 THEN
    SELECT u.id, m.tenant_id, m.role, false, u.email, k.id, k.scopes,
           ARRAY['user:' || u.id, 'tenant:' || m.tenant_id, 'key:' || k.id]
    INTO user_id, tenant_id, role, is_operator, email, key_id, scopes, names
    FROM public.api_keys AS k
    JOIN public.users AS u ON u.id = k.user_id
    JOIN public.memberships AS m ON m.tenant_id = k.tenant_id AND m.user_id = k.user_id
    WHERE k.key_hmac = hmac AND k.revoked_at IS NULL
      AND (k.expires_at IS NULL OR k.expires_at > now()) AND m.ended_at IS NULL;
    IF NOT FOUND THEN
      RETURN;
    END IF;
    FOR place IN 1..3 LOOP
      wait_s := viral.take_turn(names[place], allowed[place + 1], '1 minute');
      EXIT WHEN wait_s > 0;
    END LOOP;
  END IF;
  RETURN NEXT;
END
$function$
;

REVOKE ALL ON FUNCTION viral.enter_by_key(bytea, text, integer[]) FROM PUBLIC;

CREATE OR REPLACE FUNCTION viral.enter_by_session(session_sha256 bytea, idle interval, address text, allowed integer[])
 RETURNS TABLE(user_id uuid, tenant_id uuid, role text, is_operator boolean, email text, wait_s double precision)
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO ''
AS $function$
#variable_conflict use_column
DECLARE
  seen_at timestamptz;
  someone uuid;
  somewhere uuid;
BEGIN
  wait_s := viral.take_turn('address:' || address, allowed[1], '1 minute');
  IF wait_s = 0 THEN
    SELECT u.id, m.tenant_id, m.role, u.is_operator, u.email, s.last_seen_at
    INTO user_id, tenant_id, role, is_operator, email, seen_at
    FROM public.sessions AS s
    JOIN public.users AS u ON u.id = s.user_id
    JOIN public.memberships AS m ON m.tenant_id = s.tenant_id AND m.user_id = s.user_id
    WHERE s.token_sha256 = session_sha256 AND s.opened_at IS NOT NULL AND s.ended_at IS NULL
      AND s.expires_at > now() AND s.last_seen_at > now() - idle AND s.method <> 'clerk'
      AND m.ended_at IS NULL;
    IF NOT FOUND THEN
      RETURN;
    END IF;
    IF seen_at < now() - interval '1 minute' THEN
      UPDATE public.sessions AS s SET last_seen_at = now()
      WHERE s.token_sha256 = session_sha256;
    END IF;
    someone := user_id;
    somewhere := tenant_id;
    wait_s := viral.take_turn('user:' || someone, allowed[2], '1 minute');
    IF wait_s = 0 THEN
      wait_s := viral.take_turn('tenant:' || somewhere, allowed[3], '1 minute');
    END IF;
  END IF;
  RETURN NEXT;
END
$function$
;

REVOKE ALL ON FUNCTION viral.enter_by_session(bytea, interval, text, integer[]) FROM PUBLIC;

CREATE OR REPLACE FUNCTION viral.invitation_of(link_sha256 bytea)
 RETURNS TABLE(email text, role text, tenant_name text)
 LANGUAGE sql
 STABLE SECURITY DEFINER
 SET search_path TO ''
AS $function$
  SELECT i.email, i.role, t.name
  FROM public.invitations AS i
  JOIN public.tenants AS t ON t.id = i.tenant_id
  WHERE i.token_sha256 = link_sha256 AND i.accepted_at IS NULL AND i.revoked_at IS NULL
    AND i.expires_at > now()
$function$
;

REVOKE ALL ON FUNCTION viral.invitation_of(bytea) FROM PUBLIC;

CREATE OR REPLACE FUNCTION viral.invite(credential bytea, new_id uuid, person text, as_role text, link_sha256 bytea, lifetime interval)
 RETURNS uuid
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO ''
AS $function$
DECLARE
  here uuid := viral.tenant_id();
  admin uuid;
BEGIN
  -- Behind the lock of those who change members: an admin who is let go meanwhile invites nobody.
  PERFORM FROM public.tenants AS t WHERE t.id = here FOR SHARE;
  admin := viral.acting_member(credential, true);
  UPDATE public.invitations AS i SET revoked_at = now()
  WHERE i.tenant_id = here AND i.email = person AND i.accepted_at IS NULL
    AND i.revoked_at IS NULL;
  INSERT INTO public.invitations
    (id, tenant_id, email, role, invited_by, token_sha256, expires_at)
  VALUES (new_id, here, person, as_role, admin, link_sha256,
          now() + least(lifetime, interval '30 days'));
  RETURN new_id;
END
$function$
;

REVOKE ALL ON FUNCTION viral.invite(bytea, uuid, text, text, bytea, interval) FROM PUBLIC;

CREATE OR REPLACE FUNCTION viral.keep_an_admin()
 RETURNS void
 LANGUAGE plpgsql
 STABLE SECURITY DEFINER
 SET search_path TO ''
AS $function$
BEGIN
  IF NOT EXISTS (
    SELECT FROM public.memberships AS m
    WHERE m.tenant_id = (SELECT viral.tenant_id()) AND m.role = 'ADMIN' AND m.ended_at IS NULL
  ) THEN
    RAISE EXCEPTION 'the last admin' USING ERRCODE = 'VT004';
  END IF;
END
$function$
;

REVOKE ALL ON FUNCTION viral.keep_an_admin() FROM PUBLIC;

CREATE OR REPLACE FUNCTION viral.limit_attempts(buckets text[], allowed integer[], spans interval[])
 RETURNS double precision
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO ''
AS $function$
DECLARE
  wait_s double precision := 0;
BEGIN
  FOR place IN 1..coalesce(cardinality(buckets), 0) LOOP
    wait_s := viral.take_turn('attempt:' || buckets[place], allowed[place], spans[place]);
    EXIT WHEN wait_s > 0;
  END LOOP;
  RETURN wait_s;
END
$function$
;

REVOKE ALL ON FUNCTION viral.limit_attempts(text[], integer[], interval[]) FROM PUBLIC;
