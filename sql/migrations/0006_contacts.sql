-- Contact methods: what their addresses must look like, a code before the first use, and word
-- through another channel when one is switched off.

-- An address fits its channel; a new one has to be verified anew.
CREATE FUNCTION contact_method_check() RETURNS trigger
LANGUAGE plpgsql AS $$
DECLARE
    wanted text := CASE
        WHEN NEW.channel IN ('twilio_sms', 'twilio_whatsapp', 'twilio_voice', 'vapi_voice')
            AND NEW.address !~ '^\+[1-9][0-9]{1,14}$'
            THEN 'a number in E.164: +, country code and number, at most 15 digits and nothing else'
        WHEN NEW.channel = 'email' AND NEW.address !~ '^[^@[:space:]<>]+@[^@[:space:]<>]+$'
            THEN 'one address such as name@example.org'
        WHEN NEW.channel = 'webhook' AND NEW.address !~ '^https?://[^[:space:]/?#]'
            THEN 'an address that starts with https:// or http://'
        WHEN NEW.channel = 'slack' AND NEW.address !~ '^[^[:space:]]+$'
            THEN 'the id of a conversation or a member, such as C0123456789' END;
BEGIN
    IF wanted IS NOT NULL THEN
        RAISE EXCEPTION '% needs %, which "%" is not', NEW.channel, wanted, NEW.address
            USING ERRCODE = 'check_violation';
    END IF;
    IF TG_OP = 'UPDATE' AND (NEW.address <> OLD.address OR NEW.channel <> OLD.channel) THEN
        IF NEW.verified_at IS NOT DISTINCT FROM OLD.verified_at THEN
            NEW.verified_at := NULL;
        END IF;
        DELETE FROM contact_verification AS v WHERE v.contact_method_id = NEW.id;
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER contact_method_fits BEFORE INSERT OR UPDATE OF channel, address ON contact_method
    FOR EACH ROW EXECUTE FUNCTION contact_method_check();

-- The code of a contact method that waits for it, hashed with a salt.
CREATE TABLE contact_verification (
    contact_method_id bigint PRIMARY KEY REFERENCES contact_method ON DELETE CASCADE,
    salt text NOT NULL,
    code_hash bytea NOT NULL,
    tries int NOT NULL DEFAULT 0,
    begun_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL
);

CREATE FUNCTION contact_code_hash(salt text, code text) RETURNS bytea
LANGUAGE sql IMMUTABLE AS $$ SELECT sha256(convert_to(salt || ':' || code, 'UTF8')) $$;

-- Six digits nobody can guess: of 48 random bits.
CREATE FUNCTION contact_code_new() RETURNS text
LANGUAGE sql VOLATILE AS $$
    SELECT lpad((('x' || substr(replace(gen_random_uuid()::text, '-', ''), 1, 12))::bit(48)::bigint
        % 1000000)::text, 6, '0')
$$;

-- Sends a code of six digits through a contact method, which is then verified by
-- contact_method_verify() within 10 minutes. At most once a minute; a new code takes the place of
-- the one before. Returns the id of the notification.
CREATE FUNCTION contact_method_verify_begin(method_id bigint) RETURNS bigint
LANGUAGE plpgsql AS $$
DECLARE
    method contact_method;
    code text := contact_code_new();
    new_salt text := gen_random_uuid()::text;
    sent_as bigint;
BEGIN
    SELECT c.* INTO method FROM contact_method AS c WHERE c.id = method_id FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'there is no contact method %', method_id USING ERRCODE = 'no_data_found';
    ELSIF method.disabled_at IS NOT NULL THEN
        RAISE EXCEPTION 'contact method % is switched off: %', method_id,
            coalesce(method.disabled_reason, 'no reason given')
            USING ERRCODE = 'object_not_in_prerequisite_state';
    ELSIF method.channel IN ('console', 'webhook') THEN
        RAISE EXCEPTION 'contact method % is the operator''s own (%): it needs no code', method_id,
            method.channel USING ERRCODE = 'object_not_in_prerequisite_state';
    ELSIF method.verified_at IS NOT NULL THEN
        RAISE EXCEPTION 'contact method % is verified already', method_id
            USING ERRCODE = 'object_not_in_prerequisite_state';
    ELSIF EXISTS (SELECT FROM contact_verification AS v
        WHERE v.contact_method_id = method_id AND v.begun_at > now() - interval '1 minute') THEN
        RAISE EXCEPTION 'contact method % was sent a code less than a minute ago', method_id
            USING ERRCODE = 'object_not_in_prerequisite_state';
    END IF;
    INSERT INTO contact_verification (contact_method_id, salt, code_hash, expires_at)
    VALUES (method_id, new_salt, contact_code_hash(new_salt, code), now() + interval '10 minutes')
    ON CONFLICT (contact_method_id) DO UPDATE
    SET salt = EXCLUDED.salt, code_hash = EXCLUDED.code_hash, tries = 0, begun_at = now(),
        expires_at = EXCLUDED.expires_at;
    INSERT INTO notification (org_id, user_id, contact_method_id, channel, mode, kind, gate, policy,
        body, due_at, next_attempt_at, useless_after, idempotency_key)
    VALUES (method.org_id, method.user_id, method_id, method.channel, method.modes[1],
        'contact_verification', 'alerts', 'at_least_once',
        -- Digits one by one, so that they are also understood when read out.
        format('Your code is %s', regexp_replace(code, '(\d)(?=\d)', '\1 ', 'g')),
        now(), now(), now() + interval '10 minutes', format('verify:%s:%s', method_id, new_salt))
    RETURNING id INTO sent_as;
    PERFORM pg_notify('tocsin_worker-escalation', '');
    RETURN sent_as;
END
$$;

-- Takes the code that a person gives, blanks allowed: 'verified', 'wrong', 'expired', 'too many
-- tries' (five a code) or 'none begun'. It never raises for a wrong code, so that each try counts.
CREATE FUNCTION contact_method_verify(method_id bigint, code text) RETURNS text
LANGUAGE plpgsql AS $$
DECLARE
    it contact_verification;
BEGIN
    SELECT v.* INTO it FROM contact_verification AS v WHERE v.contact_method_id = method_id FOR UPDATE;
    IF NOT FOUND THEN
        RETURN 'none begun';
    ELSIF it.expires_at <= now() THEN
        RETURN 'expired';
    ELSIF it.tries >= 5 THEN
        RETURN 'too many tries';
    END IF;
    UPDATE contact_verification AS v SET tries = v.tries + 1 WHERE v.contact_method_id = method_id;
    IF it.code_hash IS DISTINCT FROM
        contact_code_hash(it.salt, regexp_replace(coalesce(code, ''), '\s', '', 'g')) THEN
        RETURN 'wrong';
    END IF;
    UPDATE contact_method AS c SET verified_at = now() WHERE c.id = method_id;
    DELETE FROM contact_verification AS v WHERE v.contact_method_id = method_id;
    RETURN 'verified';
END
$$;

-- A code stays no longer in its notification than it takes to send it.
CREATE FUNCTION notification_forget_code() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    NEW.body := 'Your code is …';
    RETURN NEW;
END
$$;
CREATE TRIGGER notification_forgets_code BEFORE UPDATE ON notification FOR EACH ROW
    WHEN (OLD.kind = 'contact_verification' AND OLD.pending AND NOT NEW.pending)
    EXECUTE FUNCTION notification_forget_code();

-- Whoever switches a contact method off, its person hears of it through another one.
CREATE FUNCTION contact_method_tell_disabled() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM notification_tell(NEW.user_id, 'contact_disabled',
        format('%s:%s', NEW.id, extract(epoch FROM NEW.disabled_at)),
        format('%s to %s is switched off: %s. Messages go to your other contacts.', NEW.channel,
            NEW.address, coalesce(NEW.disabled_reason, 'no reason given')));
    RETURN NULL;
END
$$;
CREATE TRIGGER contact_method_disabled AFTER UPDATE OF disabled_at ON contact_method FOR EACH ROW
    WHEN (OLD.disabled_at IS NULL AND NEW.disabled_at IS NOT NULL)
    EXECUTE FUNCTION contact_method_tell_disabled();
