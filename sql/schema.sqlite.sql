CREATE TABLE alembic_version (
    version_num VARCHAR(32) NOT NULL, 
    CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);

-- Running upgrade  -> 0001

CREATE TABLE event (
    id INTEGER NOT NULL, 
    at DATETIME NOT NULL /* UTC */, 
    queue_id TEXT DEFAULT '' NOT NULL /* the mail server's name for the message */, 
    message_id TEXT DEFAULT '' NOT NULL /* Message-ID with its angle brackets */, 
    direction TEXT DEFAULT '' NOT NULL /* out, internal, in or transit */, 
    sender TEXT DEFAULT '' NOT NULL /* envelope sender */, 
    recipient TEXT DEFAULT '' NOT NULL /* envelope recipient */, 
    demand TEXT DEFAULT '' NOT NULL /* what was demanded for this recipient */, 
    treatment TEXT DEFAULT '' NOT NULL /* how the copy went */, 
    rules TEXT DEFAULT '' NOT NULL /* names of the rules that matched, a line each */, 
    reasons TEXT DEFAULT '' NOT NULL /* why, a line each */, 
    detail TEXT DEFAULT '{}' NOT NULL /* more about it, as a JSON object */, 
    PRIMARY KEY (id)
);

CREATE INDEX event_message_id ON event (message_id);

CREATE INDEX event_queue_id ON event (queue_id);

CREATE TABLE held (
    id TEXT NOT NULL /* UUID */, 
    queue_id TEXT DEFAULT '' NOT NULL /* the mail server's name for the message */, 
    sender TEXT DEFAULT '' NOT NULL /* envelope sender as given, with brackets */, 
    sender_parameters TEXT DEFAULT '[]' NOT NULL /* ESMTP parameters of MAIL, as a JSON list */, 
    recipients TEXT DEFAULT '[]' NOT NULL /* RCPT arguments as given, with their ESMTP parameters, as a JSON list */, 
    client TEXT DEFAULT '{}' NOT NULL /* who handed the message in, as a JSON object */, 
    subject TEXT DEFAULT '' NOT NULL /* decoded */, 
    message_id TEXT DEFAULT '' NOT NULL /* Message-ID with its angle brackets */, 
    cause TEXT DEFAULT '' NOT NULL /* why it is held */, 
    rules TEXT DEFAULT '' NOT NULL /* names of the rules that held it, a line each */, 
    since DATETIME NOT NULL /* UTC */, 
    expires DATETIME NOT NULL /* UTC */, 
    blob TEXT DEFAULT '' NOT NULL /* name of the sealed message in the vault */, 
    data_key BLOB /* the blob's key, wrapped for the vault; NULL: the message is gone */, 
    state TEXT DEFAULT 'held' NOT NULL /* held, released or deleted */, 
    released_at DATETIME /* UTC */, 
    reason TEXT DEFAULT '' NOT NULL /* why it was released or deleted */, 
    PRIMARY KEY (id), 
    CONSTRAINT state_is_held_released_or_deleted CHECK (state IN ('held', 'released', 'deleted'))
);

CREATE INDEX held_state_expires ON held (state, expires);

CREATE TABLE "key" (
    fingerprint TEXT NOT NULL /* upper-case hex */, 
    owner TEXT NOT NULL /* address or domain that it is used for */, 
    kind TEXT NOT NULL /* openpgp or smime */, 
    certificate BLOB NOT NULL /* public half: binary OpenPGP or DER */, 
    trust TEXT NOT NULL /* admin, dnssec, wkd, ca, keyserver or harvested */, 
    source TEXT DEFAULT '' NOT NULL /* where it came from */, 
    expires DATETIME /* UTC; NULL: never */, 
    own BOOLEAN DEFAULT 0 NOT NULL /* the site holds the private half */, 
    private BLOB /* private half, sealed to the secret `keys` */, 
    added DATETIME NOT NULL /* UTC */, 
    PRIMARY KEY (fingerprint, owner), 
    CONSTRAINT kind_is_openpgp_or_smime CHECK (kind IN ('openpgp', 'smime')), 
    CONSTRAINT owner_is_given CHECK (owner <> ''), 
    CONSTRAINT trust_is_a_known_level CHECK (trust IN ('admin', 'dnssec', 'wkd', 'ca', 'keyserver', 'harvested'))
);

CREATE INDEX key_owner ON "key" (owner);

CREATE TABLE notice (
    digest BLOB NOT NULL /* SHA-256 of what the notice is about */, 
    at DATETIME NOT NULL /* UTC */, 
    recipient TEXT DEFAULT '' NOT NULL /* who was told */, 
    PRIMARY KEY (digest)
);

CREATE INDEX notice_recipient_at ON notice (recipient, at);

CREATE TABLE partner (
    pattern TEXT NOT NULL /* address, domain, or .domain with its subdomains; lower case, domains as A-labels (xn--) */, 
    demand TEXT DEFAULT 'none' NOT NULL /* how mail to this partner must be protected: none, tls or encrypt */, 
    ladder TEXT DEFAULT '' NOT NULL /* treatments, best first, comma-separated: tls, openpgp, smime, pdf, securedoc, pickup */, 
    tls TEXT DEFAULT '' NOT NULL /* how TLS is assured: empty, verify, dane, mta-sts or fingerprint:SHA-256 in lower-case hex */, 
    tls_name TEXT DEFAULT '' NOT NULL /* with verify: the name that the certificate must bear; empty: the domain */, 
    tls_ca TEXT DEFAULT '' NOT NULL /* with verify: PEM file of the CA that must have issued it; empty: the system's */, 
    nexthop TEXT DEFAULT '' NOT NULL /* where mail on the TLS route goes: host, [host] or either with :port; empty: by MX */, 
    inbound TEXT DEFAULT 'none' NOT NULL /* how mail from this partner must come: none, tls or encrypt */, 
    inbound_action TEXT DEFAULT 'flag' NOT NULL /* what happens to mail that came otherwise: flag, quarantine or tempfail */, 
    note TEXT DEFAULT '' NOT NULL /* for admins */, 
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

CREATE INDEX partner_nexthop ON partner (nexthop) WHERE nexthop <> '';

CREATE INDEX partner_domain ON partner (substr(pattern, length(rtrim(pattern, 'abcdefghijklmnopqrstuvwxyz0123456789._-')) + 1));

CREATE TABLE thread (
    message_id BLOB NOT NULL /* SHA-256 of the Message-ID */, 
    inside TEXT NOT NULL /* address of ours */, 
    outside TEXT NOT NULL /* address of the correspondent */, 
    cause TEXT NOT NULL /* protected, decrypted or portal */, 
    at DATETIME NOT NULL /* UTC */, 
    PRIMARY KEY (message_id, inside, outside), 
    CONSTRAINT cause_is_known CHECK (cause IN ('protected', 'decrypted', 'portal')), 
    CONSTRAINT message_id_is_sha256 CHECK (length(message_id) = 32)
)
 WITHOUT ROWID;

INSERT INTO alembic_version (version_num) VALUES ('0001') RETURNING version_num;

-- Running upgrade 0001 -> 0002

CREATE TABLE journal (
    "key" BLOB NOT NULL /* SHA-256 of the message: the same at each of its tries */, 
    id TEXT NOT NULL /* UUID; names of held copies are made from it */, 
    queue_id TEXT DEFAULT '' NOT NULL /* the mail server's name for the message at its first try */, 
    "plan" TEXT DEFAULT '{}' NOT NULL /* what was decided, as a JSON object */, 
    progress TEXT DEFAULT '[]' NOT NULL /* per recipient: pending, sending, submitted or held; queue ID; possible duplicate */, 
    settled BOOLEAN DEFAULT 0 NOT NULL /* the verdict was given */, 
    holder TEXT DEFAULT '' NOT NULL /* which milter works, or last worked, on it */, 
    claim TEXT DEFAULT '' NOT NULL /* UUID of the try that does */, 
    lease DATETIME NOT NULL /* UTC; until then every other try is put off */, 
    at DATETIME NOT NULL /* UTC; when it was last written */, 
    PRIMARY KEY ("key"), 
    CONSTRAINT key_is_sha256 CHECK (length(key) = 32)
);

CREATE INDEX journal_at ON journal (at);

UPDATE alembic_version SET version_num='0002' WHERE alembic_version.version_num = '0001';

-- Running upgrade 0002 -> 0003

ALTER TABLE event ADD COLUMN kind TEXT DEFAULT 'message' NOT NULL /* message, possible-duplicate, release or delivery */;

ALTER TABLE event ADD COLUMN host TEXT DEFAULT '' NOT NULL /* whose milter wrote it: host name and socket; empty: before there were stamps */;

ALTER TABLE event ADD COLUMN sequence BIGINT DEFAULT '0' NOT NULL /* its place among the events of this host, without gaps */;

UPDATE event SET sequence = id;

CREATE UNIQUE INDEX event_host_sequence ON event (host, sequence);

CREATE TABLE stamp (
    host TEXT NOT NULL /* whose events it covers */, 
    number BIGINT NOT NULL /* its place in the chain of this host's stamps, without gaps */, 
    at DATETIME NOT NULL /* UTC */, 
    first BIGINT NOT NULL /* sequence of the first event that it covers */, 
    last BIGINT NOT NULL /* sequence of the last one; first - 1: it covers none */, 
    digests BLOB NOT NULL /* SHA-256 of each event, in order */, 
    purged BIGINT NOT NULL /* the last stamp that expiry deleted; 0: it deleted none */, 
    previous BLOB NOT NULL /* code of the stamp before it */, 
    code BLOB NOT NULL /* HMAC-SHA256 under a key of the key worker */, 
    PRIMARY KEY (host, number), 
    CONSTRAINT codes_are_sha256 CHECK (length(code) = 32 AND length(previous) = 32)
);

UPDATE alembic_version SET version_num='0003' WHERE alembic_version.version_num = '0002';

-- Running upgrade 0003 -> 0004

CREATE TABLE discovery (
    hop TEXT NOT NULL /* next hop: domain or [host], either with :port; lower case, A-labels */, 
    found TEXT NOT NULL /* its mail hosts, DANE and MTA-STS, as a JSON object */, 
    at DATETIME NOT NULL /* UTC; when it was looked up */, 
    until DATETIME NOT NULL /* UTC; then it is looked up anew */, 
    PRIMARY KEY (hop), 
    CONSTRAINT hop_is_lower_case CHECK (hop <> '' AND hop = lower(hop)), 
    CONSTRAINT until_is_not_before_at CHECK (until >= at)
);

CREATE INDEX discovery_until ON discovery (until);

CREATE TABLE sts_policy (
    domain TEXT NOT NULL /* lower case, A-labels */, 
    id TEXT NOT NULL /* id of the TXT record that the policy was fetched for */, 
    text TEXT NOT NULL /* the policy file as it came */, 
    fetched DATETIME NOT NULL /* UTC; when it was last fetched */, 
    max_age INTEGER NOT NULL /* seconds after that for which it counts */, 
    until DATETIME NOT NULL /* UTC; fetched + max_age */, 
    PRIMARY KEY (domain), 
    CONSTRAINT domain_is_lower_case CHECK (domain <> '' AND domain = lower(domain)), 
    CONSTRAINT max_age_is_a_year_at_most CHECK (max_age BETWEEN 0 AND 31557600), 
    CONSTRAINT text_is_64_kib_at_most CHECK (length(text) <= 65536), 
    CONSTRAINT until_is_not_before_fetched CHECK (until >= fetched)
);

CREATE INDEX sts_policy_until ON sts_policy (until);

UPDATE alembic_version SET version_num='0004' WHERE alembic_version.version_num = '0003';

-- Running upgrade 0004 -> 0005

CREATE TABLE queued_copy (
    host TEXT NOT NULL /* whose milter decided: host name and socket */, 
    queue_id TEXT NOT NULL /* the mail server's name for the copy */, 
    recipient TEXT NOT NULL /* envelope recipient */, 
    message TEXT DEFAULT '' NOT NULL /* the mail server's name for the message that it was made from */, 
    message_id TEXT DEFAULT '' NOT NULL /* Message-ID with its angle brackets */, 
    sender TEXT DEFAULT '' NOT NULL /* envelope sender */, 
    demand TEXT DEFAULT '' NOT NULL /* what was demanded for this recipient */, 
    treatment TEXT DEFAULT '' NOT NULL /* how the copy goes */, 
    automatic BOOLEAN DEFAULT 0 NOT NULL /* no person sent the message */, 
    status TEXT DEFAULT '' NOT NULL /* sent, deferred, bounced, expired or deleted; empty: nothing was told yet */, 
    dsn TEXT DEFAULT '' NOT NULL /* enhanced status code of the last delivery */, 
    waited INTEGER DEFAULT '0' NOT NULL /* seconds for which it had been queued when it was deferred last */, 
    told BOOLEAN DEFAULT 0 NOT NULL /* its sender was told that it waits */, 
    at DATETIME NOT NULL /* UTC; when it was last written */, 
    PRIMARY KEY (host, queue_id, recipient)
);

CREATE INDEX queued_copy_status ON queued_copy (host, status);

CREATE TABLE early_delivery (
    id INTEGER NOT NULL, 
    host TEXT NOT NULL /* whose log told it */, 
    queue_id TEXT NOT NULL /* the mail server's name for the copy */, 
    told TEXT NOT NULL /* what the log told, as a JSON object */, 
    at DATETIME NOT NULL /* UTC; when it was written */, 
    PRIMARY KEY (id)
);

CREATE INDEX early_delivery_host_queue_id ON early_delivery (host, queue_id);

CREATE TABLE log_position (
    host TEXT NOT NULL /* whose log it is */, 
    place TEXT NOT NULL /* how far the log was followed, as a JSON object */, 
    sequence BIGINT NOT NULL /* how far the recorded decisions were */, 
    at DATETIME NOT NULL /* UTC; when it was written */, 
    PRIMARY KEY (host)
);

UPDATE alembic_version SET version_num='0005' WHERE alembic_version.version_num = '0004';

-- Running upgrade 0005 -> 0006

ALTER TABLE partner ADD COLUMN sign TEXT DEFAULT '' NOT NULL /* when mail to this partner is signed: empty (as set), never, protected or always */ CONSTRAINT sign_is_never_protected_or_always CHECK (sign IN ('', 'never', 'protected', 'always'));;

ALTER TABLE partner ADD COLUMN cipher_floor TEXT DEFAULT '' NOT NULL /* weakest cipher for S/MIME: empty, aes128-cbc, aes256-cbc or aes256-gcm */ CONSTRAINT cipher_floor_is_a_cipher CHECK (cipher_floor IN ('', 'aes128-cbc', 'aes256-cbc', 'aes256-gcm'));;

ALTER TABLE key ADD COLUMN capabilities BLOB /* SMIMECapabilities in DER that the last mail with its valid signature announced; NULL: none yet */ ;;

UPDATE alembic_version SET version_num='0006' WHERE alembic_version.version_num = '0005';

-- Running upgrade 0006 -> 0007

CREATE TABLE exchange (
    digest BLOB NOT NULL /* SHA-256 of a key-exchange packet's own data, or of the encrypted content */, 
    author BLOB NOT NULL /* SHA-256 of who first brought it: the address in From, and Reply-To */, 
    at DATETIME NOT NULL /* UTC */, 
    PRIMARY KEY (digest), 
    CONSTRAINT digests_are_sha256 CHECK (length(digest) = 32 AND length(author) = 32)
)
 WITHOUT ROWID;

CREATE TABLE addressee (
    digest BLOB NOT NULL /* SHA-256 of the encrypted content, as in table exchange */, 
    author BLOB NOT NULL /* as in table exchange */, 
    recipient BLOB NOT NULL /* SHA-256 of the address, lower case */, 
    PRIMARY KEY (digest, author, recipient)
)
 WITHOUT ROWID;

UPDATE alembic_version SET version_num='0007' WHERE alembic_version.version_num = '0006';

-- Running upgrade 0007 -> 0008

CREATE TABLE authority (
    fingerprint TEXT NOT NULL /* SHA-256 of the certificate, upper-case hex */, 
    certificate BLOB NOT NULL /* DER */, 
    private BLOB NOT NULL /* its key, sealed to the secret `keys` */, 
    expires DATETIME NOT NULL /* UTC */, 
    added DATETIME NOT NULL /* UTC; the latest one issues */, 
    PRIMARY KEY (fingerprint)
);

CREATE TABLE key_request (
    digest TEXT NOT NULL /* SHA-256 of the public key, upper-case hex */, 
    owner TEXT NOT NULL /* address or domain that it is for */, 
    private BLOB NOT NULL /* its key, sealed to the secret `keys` */, 
    added DATETIME NOT NULL /* UTC */, 
    PRIMARY KEY (digest)
);

UPDATE alembic_version SET version_num='0008' WHERE alembic_version.version_num = '0007';

