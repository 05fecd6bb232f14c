CREATE TABLE alembic_version (
    version_num VARCHAR(32) NOT NULL, 
    CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);

-- Running upgrade  -> 0001

CREATE TABLE event (
    id BIGSERIAL NOT NULL, 
    at TIMESTAMP WITH TIME ZONE NOT NULL, 
    queue_id TEXT DEFAULT '' NOT NULL, 
    message_id TEXT DEFAULT '' NOT NULL, 
    direction TEXT DEFAULT '' NOT NULL, 
    sender TEXT DEFAULT '' NOT NULL, 
    recipient TEXT DEFAULT '' NOT NULL, 
    demand TEXT DEFAULT '' NOT NULL, 
    treatment TEXT DEFAULT '' NOT NULL, 
    rules TEXT DEFAULT '' NOT NULL, 
    reasons TEXT DEFAULT '' NOT NULL, 
    detail TEXT DEFAULT '{}' NOT NULL, 
    PRIMARY KEY (id)
);

COMMENT ON TABLE event IS 'what was decided for each recipient, and how it went';

COMMENT ON COLUMN event.at IS 'UTC';

COMMENT ON COLUMN event.queue_id IS 'the mail server''s name for the message';

COMMENT ON COLUMN event.message_id IS 'Message-ID with its angle brackets';

COMMENT ON COLUMN event.direction IS 'out, internal, in or transit';

COMMENT ON COLUMN event.sender IS 'envelope sender';

COMMENT ON COLUMN event.recipient IS 'envelope recipient';

COMMENT ON COLUMN event.demand IS 'what was demanded for this recipient';

COMMENT ON COLUMN event.treatment IS 'how the copy went';

COMMENT ON COLUMN event.rules IS 'names of the rules that matched, a line each';

COMMENT ON COLUMN event.reasons IS 'why, a line each';

COMMENT ON COLUMN event.detail IS 'more about it, as a JSON object';

CREATE INDEX event_message_id ON event (message_id);

CREATE INDEX event_queue_id ON event (queue_id);

CREATE TABLE held (
    id TEXT NOT NULL, 
    queue_id TEXT DEFAULT '' NOT NULL, 
    sender TEXT DEFAULT '' NOT NULL, 
    sender_parameters TEXT DEFAULT '[]' NOT NULL, 
    recipients TEXT DEFAULT '[]' NOT NULL, 
    client TEXT DEFAULT '{}' NOT NULL, 
    subject TEXT DEFAULT '' NOT NULL, 
    message_id TEXT DEFAULT '' NOT NULL, 
    cause TEXT DEFAULT '' NOT NULL, 
    rules TEXT DEFAULT '' NOT NULL, 
    since TIMESTAMP WITH TIME ZONE NOT NULL, 
    expires TIMESTAMP WITH TIME ZONE NOT NULL, 
    blob TEXT DEFAULT '' NOT NULL, 
    data_key BYTEA, 
    state TEXT DEFAULT 'held' NOT NULL, 
    released_at TIMESTAMP WITH TIME ZONE, 
    reason TEXT DEFAULT '' NOT NULL, 
    PRIMARY KEY (id), 
    CONSTRAINT state_is_held_released_or_deleted CHECK (state IN ('held', 'released', 'deleted'))
);

COMMENT ON TABLE held IS 'copies in quarantine';

COMMENT ON COLUMN held.id IS 'UUID';

COMMENT ON COLUMN held.queue_id IS 'the mail server''s name for the message';

COMMENT ON COLUMN held.sender IS 'envelope sender as given, with brackets';

COMMENT ON COLUMN held.sender_parameters IS 'ESMTP parameters of MAIL, as a JSON list';

COMMENT ON COLUMN held.recipients IS 'RCPT arguments as given, with their ESMTP parameters, as a JSON list';

COMMENT ON COLUMN held.client IS 'who handed the message in, as a JSON object';

COMMENT ON COLUMN held.subject IS 'decoded';

COMMENT ON COLUMN held.message_id IS 'Message-ID with its angle brackets';

COMMENT ON COLUMN held.cause IS 'why it is held';

COMMENT ON COLUMN held.rules IS 'names of the rules that held it, a line each';

COMMENT ON COLUMN held.since IS 'UTC';

COMMENT ON COLUMN held.expires IS 'UTC';

COMMENT ON COLUMN held.blob IS 'name of the sealed message in the vault';

COMMENT ON COLUMN held.data_key IS 'the blob''s key, wrapped for the vault; NULL: the message is gone';

COMMENT ON COLUMN held.state IS 'held, released or deleted';

COMMENT ON COLUMN held.released_at IS 'UTC';

COMMENT ON COLUMN held.reason IS 'why it was released or deleted';

CREATE INDEX held_state_expires ON held (state, expires);

CREATE TABLE key (
    fingerprint TEXT NOT NULL, 
    owner TEXT NOT NULL, 
    kind TEXT NOT NULL, 
    certificate BYTEA NOT NULL, 
    trust TEXT NOT NULL, 
    source TEXT DEFAULT '' NOT NULL, 
    expires TIMESTAMP WITH TIME ZONE, 
    own BOOLEAN DEFAULT false NOT NULL, 
    private BYTEA, 
    added TIMESTAMP WITH TIME ZONE NOT NULL, 
    PRIMARY KEY (fingerprint, owner), 
    CONSTRAINT kind_is_openpgp_or_smime CHECK (kind IN ('openpgp', 'smime')), 
    CONSTRAINT owner_is_given CHECK (owner <> ''), 
    CONSTRAINT trust_is_a_known_level CHECK (trust IN ('admin', 'dnssec', 'wkd', 'ca', 'keyserver', 'harvested'))
);

COMMENT ON TABLE key IS 'OpenPGP keys and S/MIME certificates, theirs and ours';

COMMENT ON COLUMN key.fingerprint IS 'upper-case hex';

COMMENT ON COLUMN key.owner IS 'address or domain that it is used for';

COMMENT ON COLUMN key.kind IS 'openpgp or smime';

COMMENT ON COLUMN key.certificate IS 'public half: binary OpenPGP or DER';

COMMENT ON COLUMN key.trust IS 'admin, dnssec, wkd, ca, keyserver or harvested';

COMMENT ON COLUMN key.source IS 'where it came from';

COMMENT ON COLUMN key.expires IS 'UTC; NULL: never';

COMMENT ON COLUMN key.own IS 'the site holds the private half';

COMMENT ON COLUMN key.private IS 'private half, sealed to the secret `keys`';

COMMENT ON COLUMN key.added IS 'UTC';

CREATE INDEX key_owner ON key (owner);

CREATE TABLE notice (
    digest BYTEA NOT NULL, 
    at TIMESTAMP WITH TIME ZONE NOT NULL, 
    recipient TEXT DEFAULT '' NOT NULL, 
    PRIMARY KEY (digest)
);

COMMENT ON TABLE notice IS 'notices already sent';

COMMENT ON COLUMN notice.digest IS 'SHA-256 of what the notice is about';

COMMENT ON COLUMN notice.at IS 'UTC';

COMMENT ON COLUMN notice.recipient IS 'who was told';

CREATE INDEX notice_recipient_at ON notice (recipient, at);

CREATE TABLE partner (
    pattern TEXT NOT NULL, 
    demand TEXT DEFAULT 'none' NOT NULL, 
    ladder TEXT DEFAULT '' NOT NULL, 
    tls TEXT DEFAULT '' NOT NULL, 
    tls_name TEXT DEFAULT '' NOT NULL, 
    tls_ca TEXT DEFAULT '' NOT NULL, 
    nexthop TEXT DEFAULT '' NOT NULL, 
    inbound TEXT DEFAULT 'none' NOT NULL, 
    inbound_action TEXT DEFAULT 'flag' NOT NULL, 
    note TEXT DEFAULT '' NOT NULL, 
    PRIMARY KEY (pattern), 
    CONSTRAINT demand_is_none_tls_or_encrypt CHECK (demand IN ('none', 'tls', 'encrypt')), 
    CONSTRAINT inbound_is_none_tls_or_encrypt CHECK (inbound IN ('none', 'tls', 'encrypt')), 
    CONSTRAINT inbound_action_is_flag_quarantine_or_tempfail CHECK (inbound_action IN ('flag', 'quarantine', 'tempfail')), 
    CONSTRAINT ladder_names_treatments CHECK (ladder = '' OR replace(replace(replace(replace(replace(replace(',' || replace(replace(ladder, ' ', ''), ',', ',,') || ',', ',tls,', ''), ',openpgp,', ''), ',smime,', ''), ',pdf,', ''), ',securedoc,', ''), ',pickup,', '') = ''), 
    CONSTRAINT nexthop_is_host_or_port CHECK (ltrim(nexthop, 'abcdefghijklmnopqrstuvwxyz0123456789._-[]:') = ''), 
    CONSTRAINT pattern_is_address_domain_or_dot_domain CHECK (pattern <> '' AND (rtrim(pattern, 'abcdefghijklmnopqrstuvwxyz0123456789._-') = '' OR rtrim(pattern, 'abcdefghijklmnopqrstuvwxyz0123456789._-') LIKE '%_@') AND pattern NOT LIKE '% %' AND pattern NOT LIKE '%@' AND pattern NOT LIKE '%@.%' AND pattern NOT LIKE '%..%' AND pattern NOT LIKE '%.'), 
    CONSTRAINT tls_is_verify_dane_mta_sts_or_fingerprint CHECK (tls IN ('', 'verify', 'dane', 'mta-sts') OR (length(tls) = 76 AND substr(tls, 1, 12) = 'fingerprint:' AND ltrim(substr(tls, 13), '0123456789abcdef') = '')), 
    CONSTRAINT tls_ca_needs_verify CHECK (tls_ca = '' OR (tls = 'verify' AND tls_ca LIKE '/%')), 
    CONSTRAINT tls_name_needs_verify CHECK (tls_name = '' OR (tls = 'verify' AND ltrim(tls_name, 'abcdefghijklmnopqrstuvwxyz0123456789._-') = '')), 
    CONSTRAINT pattern_is_lower_case CHECK (pattern = lower(pattern))
);

COMMENT ON TABLE partner IS 'how mail to and from each partner is protected';

COMMENT ON COLUMN partner.pattern IS 'address, domain, or .domain with its subdomains; lower case, domains as A-labels (xn--)';

COMMENT ON COLUMN partner.demand IS 'how mail to this partner must be protected: none, tls or encrypt';

COMMENT ON COLUMN partner.ladder IS 'treatments, best first, comma-separated: tls, openpgp, smime, pdf, securedoc, pickup';

COMMENT ON COLUMN partner.tls IS 'how TLS is assured: empty, verify, dane, mta-sts or fingerprint:SHA-256 in lower-case hex';

COMMENT ON COLUMN partner.tls_name IS 'with verify: the name that the certificate must bear; empty: the domain';

COMMENT ON COLUMN partner.tls_ca IS 'with verify: PEM file of the CA that must have issued it; empty: the system''s';

COMMENT ON COLUMN partner.nexthop IS 'where mail on the TLS route goes: host, [host] or either with :port; empty: by MX';

COMMENT ON COLUMN partner.inbound IS 'how mail from this partner must come: none, tls or encrypt';

COMMENT ON COLUMN partner.inbound_action IS 'what happens to mail that came otherwise: flag, quarantine or tempfail';

COMMENT ON COLUMN partner.note IS 'for admins';

CREATE INDEX partner_nexthop ON partner (nexthop) WHERE nexthop <> '';

CREATE INDEX partner_domain ON partner (substr(pattern, length(rtrim(pattern, 'abcdefghijklmnopqrstuvwxyz0123456789._-')) + 1));

CREATE TABLE thread (
    message_id BYTEA NOT NULL, 
    inside TEXT NOT NULL, 
    outside TEXT NOT NULL, 
    cause TEXT NOT NULL, 
    at TIMESTAMP WITH TIME ZONE NOT NULL, 
    PRIMARY KEY (message_id, inside, outside), 
    CONSTRAINT cause_is_known CHECK (cause IN ('protected', 'decrypted', 'portal')), 
    CONSTRAINT message_id_is_sha256 CHECK (length(message_id) = 32)
);

COMMENT ON TABLE thread IS 'messages of conversations that were protected';

COMMENT ON COLUMN thread.message_id IS 'SHA-256 of the Message-ID';

COMMENT ON COLUMN thread.inside IS 'address of ours';

COMMENT ON COLUMN thread.outside IS 'address of the correspondent';

COMMENT ON COLUMN thread.cause IS 'protected, decrypted or portal';

COMMENT ON COLUMN thread.at IS 'UTC';

INSERT INTO alembic_version (version_num) VALUES ('0001') RETURNING alembic_version.version_num;

-- Running upgrade 0001 -> 0002

CREATE TABLE journal (
    key BYTEA NOT NULL, 
    id TEXT NOT NULL, 
    queue_id TEXT DEFAULT '' NOT NULL, 
    plan TEXT DEFAULT '{}' NOT NULL, 
    progress TEXT DEFAULT '[]' NOT NULL, 
    settled BOOLEAN DEFAULT false NOT NULL, 
    holder TEXT DEFAULT '' NOT NULL, 
    claim TEXT DEFAULT '' NOT NULL, 
    lease TIMESTAMP WITH TIME ZONE NOT NULL, 
    at TIMESTAMP WITH TIME ZONE NOT NULL, 
    PRIMARY KEY (key), 
    CONSTRAINT key_is_sha256 CHECK (length(key) = 32)
);

COMMENT ON TABLE journal IS 'plans that are being carried out, so that a retry finishes them and does nothing twice';

COMMENT ON COLUMN journal.key IS 'SHA-256 of the message: the same at each of its tries';

COMMENT ON COLUMN journal.id IS 'UUID; names of held copies are made from it';

COMMENT ON COLUMN journal.queue_id IS 'the mail server''s name for the message at its first try';

COMMENT ON COLUMN journal.plan IS 'what was decided, as a JSON object';

COMMENT ON COLUMN journal.progress IS 'per recipient: pending, sending, submitted or held; queue ID; possible duplicate';

COMMENT ON COLUMN journal.settled IS 'the verdict was given';

COMMENT ON COLUMN journal.holder IS 'which milter works, or last worked, on it';

COMMENT ON COLUMN journal.claim IS 'UUID of the try that does';

COMMENT ON COLUMN journal.lease IS 'UTC; until then every other try is put off';

COMMENT ON COLUMN journal.at IS 'UTC; when it was last written';

CREATE INDEX journal_at ON journal (at);

UPDATE alembic_version SET version_num='0002' WHERE alembic_version.version_num = '0001';

-- Running upgrade 0002 -> 0003

ALTER TABLE event ADD COLUMN kind TEXT DEFAULT 'message' NOT NULL;

COMMENT ON COLUMN event.kind IS 'message, possible-duplicate, release or delivery';

ALTER TABLE event ADD COLUMN host TEXT DEFAULT '' NOT NULL;

COMMENT ON COLUMN event.host IS 'whose milter wrote it: host name and socket; empty: before there were stamps';

ALTER TABLE event ADD COLUMN sequence BIGINT DEFAULT '0' NOT NULL;

COMMENT ON COLUMN event.sequence IS 'its place among the events of this host, without gaps';

UPDATE event SET sequence = id;

CREATE UNIQUE INDEX event_host_sequence ON event (host, sequence);

CREATE TABLE stamp (
    host TEXT NOT NULL, 
    number BIGINT NOT NULL, 
    at TIMESTAMP WITH TIME ZONE NOT NULL, 
    first BIGINT NOT NULL, 
    last BIGINT NOT NULL, 
    digests BYTEA NOT NULL, 
    purged BIGINT NOT NULL, 
    previous BYTEA NOT NULL, 
    code BYTEA NOT NULL, 
    PRIMARY KEY (host, number), 
    CONSTRAINT codes_are_sha256 CHECK (length(code) = 32 AND length(previous) = 32)
);

COMMENT ON TABLE stamp IS 'what proves that events are as they were written';

COMMENT ON COLUMN stamp.host IS 'whose events it covers';

COMMENT ON COLUMN stamp.number IS 'its place in the chain of this host''s stamps, without gaps';

COMMENT ON COLUMN stamp.at IS 'UTC';

COMMENT ON COLUMN stamp.first IS 'sequence of the first event that it covers';

COMMENT ON COLUMN stamp.last IS 'sequence of the last one; first - 1: it covers none';

COMMENT ON COLUMN stamp.digests IS 'SHA-256 of each event, in order';

COMMENT ON COLUMN stamp.purged IS 'the last stamp that expiry deleted; 0: it deleted none';

COMMENT ON COLUMN stamp.previous IS 'code of the stamp before it';

COMMENT ON COLUMN stamp.code IS 'HMAC-SHA256 under a key of the key worker';

UPDATE alembic_version SET version_num='0003' WHERE alembic_version.version_num = '0002';

-- Running upgrade 0003 -> 0004

CREATE TABLE discovery (
    hop TEXT NOT NULL, 
    found TEXT NOT NULL, 
    at TIMESTAMP WITH TIME ZONE NOT NULL, 
    until TIMESTAMP WITH TIME ZONE NOT NULL, 
    PRIMARY KEY (hop), 
    CONSTRAINT hop_is_lower_case CHECK (hop <> '' AND hop = lower(hop)), 
    CONSTRAINT until_is_not_before_at CHECK (until >= at)
);

COMMENT ON TABLE discovery IS 'cache: what DNS and the web say of next hops; rows may be deleted at any time';

COMMENT ON COLUMN discovery.hop IS 'next hop: domain or [host], either with :port; lower case, A-labels';

COMMENT ON COLUMN discovery.found IS 'its mail hosts, DANE and MTA-STS, as a JSON object';

COMMENT ON COLUMN discovery.at IS 'UTC; when it was looked up';

COMMENT ON COLUMN discovery.until IS 'UTC; then it is looked up anew';

CREATE INDEX discovery_until ON discovery (until);

CREATE TABLE sts_policy (
    domain TEXT NOT NULL, 
    id TEXT NOT NULL, 
    text TEXT NOT NULL, 
    fetched TIMESTAMP WITH TIME ZONE NOT NULL, 
    max_age INTEGER NOT NULL, 
    until TIMESTAMP WITH TIME ZONE NOT NULL, 
    PRIMARY KEY (domain), 
    CONSTRAINT domain_is_lower_case CHECK (domain <> '' AND domain = lower(domain)), 
    CONSTRAINT max_age_is_a_year_at_most CHECK (max_age BETWEEN 0 AND 31557600), 
    CONSTRAINT text_is_64_kib_at_most CHECK (length(text) <= 65536), 
    CONSTRAINT until_is_not_before_fetched CHECK (until >= fetched)
);

COMMENT ON TABLE sts_policy IS 'MTA-STS policies from the last good fetch, which count while their host is down';

COMMENT ON COLUMN sts_policy.domain IS 'lower case, A-labels';

COMMENT ON COLUMN sts_policy.id IS 'id of the TXT record that the policy was fetched for';

COMMENT ON COLUMN sts_policy.text IS 'the policy file as it came';

COMMENT ON COLUMN sts_policy.fetched IS 'UTC; when it was last fetched';

COMMENT ON COLUMN sts_policy.max_age IS 'seconds after that for which it counts';

COMMENT ON COLUMN sts_policy.until IS 'UTC; fetched + max_age';

CREATE INDEX sts_policy_until ON sts_policy (until);

UPDATE alembic_version SET version_num='0004' WHERE alembic_version.version_num = '0003';

-- Running upgrade 0004 -> 0005

CREATE TABLE queued_copy (
    host TEXT NOT NULL, 
    queue_id TEXT NOT NULL, 
    recipient TEXT NOT NULL, 
    message TEXT DEFAULT '' NOT NULL, 
    message_id TEXT DEFAULT '' NOT NULL, 
    sender TEXT DEFAULT '' NOT NULL, 
    demand TEXT DEFAULT '' NOT NULL, 
    treatment TEXT DEFAULT '' NOT NULL, 
    automatic BOOLEAN DEFAULT false NOT NULL, 
    status TEXT DEFAULT '' NOT NULL, 
    dsn TEXT DEFAULT '' NOT NULL, 
    waited INTEGER DEFAULT '0' NOT NULL, 
    told BOOLEAN DEFAULT false NOT NULL, 
    at TIMESTAMP WITH TIME ZONE NOT NULL, 
    PRIMARY KEY (host, queue_id, recipient)
);

COMMENT ON TABLE queued_copy IS 'protected copies whose deliveries are followed in the mail server''s log, and those lately delivered';

COMMENT ON COLUMN queued_copy.host IS 'whose milter decided: host name and socket';

COMMENT ON COLUMN queued_copy.queue_id IS 'the mail server''s name for the copy';

COMMENT ON COLUMN queued_copy.recipient IS 'envelope recipient';

COMMENT ON COLUMN queued_copy.message IS 'the mail server''s name for the message that it was made from';

COMMENT ON COLUMN queued_copy.message_id IS 'Message-ID with its angle brackets';

COMMENT ON COLUMN queued_copy.sender IS 'envelope sender';

COMMENT ON COLUMN queued_copy.demand IS 'what was demanded for this recipient';

COMMENT ON COLUMN queued_copy.treatment IS 'how the copy goes';

COMMENT ON COLUMN queued_copy.automatic IS 'no person sent the message';

COMMENT ON COLUMN queued_copy.status IS 'sent, deferred, bounced, expired or deleted; empty: nothing was told yet';

COMMENT ON COLUMN queued_copy.dsn IS 'enhanced status code of the last delivery';

COMMENT ON COLUMN queued_copy.waited IS 'seconds for which it had been queued when it was deferred last';

COMMENT ON COLUMN queued_copy.told IS 'its sender was told that it waits';

COMMENT ON COLUMN queued_copy.at IS 'UTC; when it was last written';

CREATE INDEX queued_copy_status ON queued_copy (host, status);

CREATE TABLE early_delivery (
    id BIGSERIAL NOT NULL, 
    host TEXT NOT NULL, 
    queue_id TEXT NOT NULL, 
    told TEXT NOT NULL, 
    at TIMESTAMP WITH TIME ZONE NOT NULL, 
    PRIMARY KEY (id)
);

COMMENT ON TABLE early_delivery IS 'deliveries that were logged before the decision about their message was recorded';

COMMENT ON COLUMN early_delivery.host IS 'whose log told it';

COMMENT ON COLUMN early_delivery.queue_id IS 'the mail server''s name for the copy';

COMMENT ON COLUMN early_delivery.told IS 'what the log told, as a JSON object';

COMMENT ON COLUMN early_delivery.at IS 'UTC; when it was written';

CREATE INDEX early_delivery_host_queue_id ON early_delivery (host, queue_id);

CREATE TABLE log_position (
    host TEXT NOT NULL, 
    place TEXT NOT NULL, 
    sequence BIGINT NOT NULL, 
    at TIMESTAMP WITH TIME ZONE NOT NULL, 
    PRIMARY KEY (host)
);

COMMENT ON TABLE log_position IS 'how far each host''s mail server''s log was followed';

COMMENT ON COLUMN log_position.host IS 'whose log it is';

COMMENT ON COLUMN log_position.place IS 'how far the log was followed, as a JSON object';

COMMENT ON COLUMN log_position.sequence IS 'how far the recorded decisions were';

COMMENT ON COLUMN log_position.at IS 'UTC; when it was written';

UPDATE alembic_version SET version_num='0005' WHERE alembic_version.version_num = '0004';

-- Running upgrade 0005 -> 0006

ALTER TABLE partner ADD COLUMN sign TEXT DEFAULT '' NOT NULL CONSTRAINT sign_is_never_protected_or_always CHECK (sign IN ('', 'never', 'protected', 'always'));

COMMENT ON COLUMN partner.sign IS 'when mail to this partner is signed: empty (as set), never, protected or always';

ALTER TABLE partner ADD COLUMN cipher_floor TEXT DEFAULT '' NOT NULL CONSTRAINT cipher_floor_is_a_cipher CHECK (cipher_floor IN ('', 'aes128-cbc', 'aes256-cbc', 'aes256-gcm'));

COMMENT ON COLUMN partner.cipher_floor IS 'weakest cipher for S/MIME: empty, aes128-cbc, aes256-cbc or aes256-gcm';

ALTER TABLE key ADD COLUMN capabilities BYTEA;

COMMENT ON COLUMN key.capabilities IS 'SMIMECapabilities in DER that the last mail with its valid signature announced; NULL: none yet';

UPDATE alembic_version SET version_num='0006' WHERE alembic_version.version_num = '0005';

-- Running upgrade 0006 -> 0007

CREATE TABLE exchange (
    digest BYTEA NOT NULL, 
    author BYTEA NOT NULL, 
    at TIMESTAMP WITH TIME ZONE NOT NULL, 
    PRIMARY KEY (digest), 
    CONSTRAINT digests_are_sha256 CHECK (length(digest) = 32 AND length(author) = 32)
);

COMMENT ON TABLE exchange IS 'encrypted messages that came in; the same under another author is a replay';

COMMENT ON COLUMN exchange.digest IS 'SHA-256 of a key-exchange packet''s own data, or of the encrypted content';

COMMENT ON COLUMN exchange.author IS 'SHA-256 of who first brought it: the address in From, and Reply-To';

COMMENT ON COLUMN exchange.at IS 'UTC';

CREATE TABLE addressee (
    digest BYTEA NOT NULL, 
    author BYTEA NOT NULL, 
    recipient BYTEA NOT NULL, 
    PRIMARY KEY (digest, author, recipient)
);

COMMENT ON TABLE addressee IS 'for whom encrypted messages came in';

COMMENT ON COLUMN addressee.digest IS 'SHA-256 of the encrypted content, as in table exchange';

COMMENT ON COLUMN addressee.author IS 'as in table exchange';

COMMENT ON COLUMN addressee.recipient IS 'SHA-256 of the address, lower case';

UPDATE alembic_version SET version_num='0007' WHERE alembic_version.version_num = '0006';

-- Running upgrade 0007 -> 0008

CREATE TABLE authority (
    fingerprint TEXT NOT NULL, 
    certificate BYTEA NOT NULL, 
    private BYTEA NOT NULL, 
    expires TIMESTAMP WITH TIME ZONE NOT NULL, 
    added TIMESTAMP WITH TIME ZONE NOT NULL, 
    PRIMARY KEY (fingerprint)
);

COMMENT ON TABLE authority IS 'the site''s own authorities for S/MIME certificates';

COMMENT ON COLUMN authority.fingerprint IS 'SHA-256 of the certificate, upper-case hex';

COMMENT ON COLUMN authority.certificate IS 'DER';

COMMENT ON COLUMN authority.private IS 'its key, sealed to the secret `keys`';

COMMENT ON COLUMN authority.expires IS 'UTC';

COMMENT ON COLUMN authority.added IS 'UTC; the latest one issues';

CREATE TABLE key_request (
    digest TEXT NOT NULL, 
    owner TEXT NOT NULL, 
    private BYTEA NOT NULL, 
    added TIMESTAMP WITH TIME ZONE NOT NULL, 
    PRIMARY KEY (digest)
);

COMMENT ON TABLE key_request IS 'requests for certificates that an outside authority has not answered yet';

COMMENT ON COLUMN key_request.digest IS 'SHA-256 of the public key, upper-case hex';

COMMENT ON COLUMN key_request.owner IS 'address or domain that it is for';

COMMENT ON COLUMN key_request.private IS 'its key, sealed to the secret `keys`';

COMMENT ON COLUMN key_request.added IS 'UTC';

UPDATE alembic_version SET version_num='0008' WHERE alembic_version.version_num = '0007';

