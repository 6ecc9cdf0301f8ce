-- Who may sign in to the dashboard, what they are signed in with, and what they did there.

-- name_key: the name as it is compared. role: viewer, operator or admin. password_hash: argon2, null for who comes by
-- OpenID Connect alone; subject is who the provider at issuer says they are.
create table hookline_dashboard_users (
    row_id integer primary key autoincrement,
    id text not null unique,
    name text not null,
    name_key text not null unique,
    role text not null,
    password_hash text,
    issuer text,
    subject text,
    theme text not null,
    created_ms integer not null,
    signed_in_ms integer,
    disabled_ms integer
);
create unique index hookline_dashboard_users_subject on hookline_dashboard_users (issuer, subject)
where subject is not null;

-- A session is known by its token, of which the SHA-256 is kept; its row goes when it ends. method: how it began
-- (password, link, oidc).
create table hookline_dashboard_sessions (
    token_hash text primary key,
    id text not null unique,
    user_row integer not null,
    method text not null,
    address text not null,
    agent text not null,
    created_ms integer not null,
    used_ms integer not null,
    expires_ms integer not null
);
create index hookline_dashboard_sessions_of on hookline_dashboard_sessions (user_row);

-- Tokens that are good once. kind: first (makes the first admin), password (sets the password of user_row), oidc (the
-- state of a sign-in that was completed: such a row is there from its use on).
create table hookline_dashboard_links (
    token_hash text primary key,
    kind text not null,
    user_row integer,
    created_ms integer not null,
    expires_ms integer not null,
    used_ms integer
);
create index hookline_dashboard_links_expiry on hookline_dashboard_links (expires_ms);

-- Failed sign-ins in a row, by the hash of a name or by where they came from, and until when none is taken.
create table hookline_dashboard_sign_ins (
    tried text primary key,
    failures integer not null,
    last_ms integer not null,
    until_ms integer not null
);

-- What was done in the dashboard and is in no other audit trail.
create table hookline_dashboard_audit (
    row_id integer primary key autoincrement,
    at_ms integer not null,
    actor text not null,
    action text not null,
    object_id text,
    detail text not null,
    address text not null
);
create index hookline_dashboard_audit_at on hookline_dashboard_audit (at_ms);
