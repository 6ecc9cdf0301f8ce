-- Who may sign in to the dashboard, the sessions they have, and what was done there that no end records by itself.

create table hookline_dashboard_users (
    name text primary key,
    role text not null,
    password_hash text,
    oidc_subject text unique,
    theme text not null default 'system',
    created_ms integer not null,
    disabled_ms integer
);

create table hookline_dashboard_sessions (
    token_sha256 text primary key,
    id text not null unique,
    user_name text not null,
    created_ms integer not null,
    seen_ms integer not null,
    expires_ms integer not null,
    address text not null,
    agent text not null
);
create index hookline_dashboard_sessions_user on hookline_dashboard_sessions (user_name, created_ms);
create index hookline_dashboard_sessions_expiry on hookline_dashboard_sessions (expires_ms);

-- Links that let somebody in once: kind 'first' makes the first admin, 'user' signs a user in to choose a password.
create table hookline_dashboard_links (
    token_sha256 text primary key,
    kind text not null,
    user_name text,
    created_ms integer not null,
    expires_ms integer not null
);

-- Failed sign-ins in a row, by whom and from where: how long the next one has to wait.
create table hookline_dashboard_failures (
    subject text primary key,
    failures integer not null,
    last_ms integer not null,
    wait_until_ms integer not null
);
create index hookline_dashboard_failures_last on hookline_dashboard_failures (last_ms);

create table hookline_dashboard_audit (
    row_id integer primary key,
    at_ms integer not null,
    actor text not null,
    action text not null,
    object_id text,
    detail text not null,
    address text not null
);
create index hookline_dashboard_audit_at on hookline_dashboard_audit (at_ms);
