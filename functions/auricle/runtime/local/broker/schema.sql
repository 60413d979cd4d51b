-- What the broker keeps. Applied at every start by whoever may create; safe to repeat.
-- Rows come and go by the hundred a second: vacuum soon and often, in small bites.

create schema if not exists broker;

-- One row. Each start takes the next generation; whoever holds an older one may not write any more.
create table if not exists broker.owner (
    only_row boolean primary key default true check (only_row),
    generation bigint not null default 0
);
insert into broker.owner default values on conflict do nothing;

-- No foreign key between the next two: both are written by one statement, and trimming looks before it deletes.
create table if not exists broker.events (
    id bigint primary key,                          -- generation × 2^32 + a count: grows for ever, no sequence to ask
    attributes json not null,
    trace json not null,
    data bytea not null,
    accepted_at timestamptz not null default now()
) with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000);

-- One row per subscription that still has to get the event. Done means deleted.
create table if not exists broker.deliveries (
    id bigint primary key,
    event bigint not null,
    subscription text not null,
    attempt int not null default 0,                 -- tries that failed
    losses int not null default 0,                  -- workers that died under it
    dead boolean not null default false,            -- a dead letter: tried for ever
    due_at timestamptz not null
) with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000, fillfactor = 80);
create index if not exists deliveries_due on broker.deliveries (subscription, due_at, id);
create index if not exists deliveries_event on broker.deliveries (event);

create table if not exists broker.timers (
    name text primary key,
    fired_at timestamptz not null default now()     -- the first tick comes one period after the first start
);
