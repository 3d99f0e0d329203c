-- Make the person of an invitation known, with a password; null when their e-mail is known already
-- or the invitation is spent. An account that nobody can enter - no password, not Clerk's, a member
-- of nothing - is made theirs, as if it were new: else they could never come in.
CREATE FUNCTION viral.register_invited(
  link_sha256 bytea, new_user uuid, person_name text, hash text
) RETURNS uuid
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = ''
AS $$
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
$$
