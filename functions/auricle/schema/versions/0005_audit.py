"""Expand: the audit trail. Entries are appended by the functions' role, chained at commit, and altered by nobody.

An entry is an insert like any other: it waits for nobody and belongs to its transaction. A deferred trigger gives it its
number and its hash at the very end, while the transaction commits. Only this last moment is one after another (a lock of
the transaction, fine behind pgbouncer), and no other lock is ever awaited while it is held, so it deadlocks with nothing.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0005"
down_revision: str | None = "0004"
branch_labels: tuple[str, ...] | None = None
depends_on: str | None = None

SEAL = """
create function audit_seal() returns trigger language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
  head public.audit_head%rowtype;
begin
  perform pg_advisory_xact_lock(7003);
  -- A new statement, a new snapshot: this sees what the last holder of the lock committed.
  select * into strict head from public.audit_head;
  head.seq := head.seq + 1;
  head.sealed_at := greatest(clock_timestamp(), head.sealed_at);  -- clocks are set back now and then; days must not mix
  head.hash := sha256(
    head.hash || int8send(head.seq) || int8send((extract(epoch from head.sealed_at) * 1000000)::bigint) || new.digest
  );
  update public.audit_head set seq = head.seq, hash = head.hash, sealed_at = head.sealed_at;
  insert into public.audit_links (seq, event_id, sealed_at, hash) values (head.seq, new.id, head.sealed_at, head.hash);
  return null;
end $$
"""
GUARD_ENTRIES = """
create function audit_keep() returns trigger language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
  -- What an anchor of a pruned day covers may go; everything else stays as it was written.
  if tg_op = 'DELETE' and tg_table_name = 'audit_events' then
    if exists (
      select from public.audit_links link join public.audit_anchors anchor on anchor.seq >= link.seq
      where link.event_id = old.id and anchor.pruned_at is not null
    ) then return old; end if;
  elsif tg_op = 'DELETE' and tg_table_name = 'audit_links' then
    if exists (select from public.audit_anchors anchor where anchor.seq >= old.seq and anchor.pruned_at is not null) then
      return old;
    end if;
  end if;
  raise exception using errcode = '42501', message = 'The audit trail is append-only: entries are neither changed nor deleted.';
end $$
"""
GUARD_CHAIN = """
create function audit_owned() returns trigger language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
  -- Inside our own functions the current user is their owner, who owns the tables, too.
  if current_user = (select pg_get_userbyid(relowner) from pg_class where oid = tg_relid) then return new; end if;
  raise exception using errcode = '42501', message = 'The chain of the audit trail is written by the database alone.';
end $$
"""
ANCHOR = """
create function audit_anchor(ended date, object_key text, object_sha256 text, verified boolean) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
  last public.audit_anchors%rowtype;
  first_day date;
  reached bigint;
  reached_hash bytea;
begin
  perform pg_advisory_xact_lock(7003);
  if ended >= (clock_timestamp() at time zone 'utc')::date then
    raise exception using errcode = '22023', message = 'A day is anchored when it is over.';
  end if;
  select * into last from public.audit_anchors order by day desc limit 1;
  select (min(sealed_at) at time zone 'utc')::date into first_day from public.audit_links;
  if last.day = ended then
    if last.object_sha256 is distinct from audit_anchor.object_sha256 then
      raise exception using errcode = '22023', message = 'This day is anchored already, with another object.';
    end if;
    return;
  elsif ended is distinct from coalesce(last.day + 1, first_day) then
    raise exception using errcode = '22023', message = 'Days are anchored one after another.';
  end if;
  select seq, hash into reached, reached_hash from public.audit_links
    where sealed_at < (ended + 1)::timestamp at time zone 'utc' order by seq desc limit 1;
  insert into public.audit_anchors (day, previous_seq, previous_hash, seq, hash, object_key, object_sha256, whole)
    values (ended, coalesce(last.seq, 0), coalesce(last.hash, decode(repeat('00', 32), 'hex')),
      coalesce(reached, last.seq), coalesce(reached_hash, last.hash), object_key, object_sha256, verified);
end $$
"""
PRUNE = """
create function audit_prune(keep_from date) returns bigint
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
  oldest public.audit_anchors%rowtype;
  gone bigint;
begin
  -- Whatever a setting or a stolen password asks for: nothing younger goes (FedRAMP AU-11, on-line for at least 90 days).
  if keep_from > (clock_timestamp() at time zone 'utc')::date - 90 then
    raise exception using errcode = '22023', message = 'The audit trail is kept for at least 90 days.';
  end if;
  select * into oldest from public.audit_anchors
    where pruned_at is null and day < keep_from order by day limit 1 for update;
  if not found or not oldest.whole then return null; end if;
  update public.audit_anchors set pruned_at = clock_timestamp() where day = oldest.day;
  delete from public.audit_events event using public.audit_links link
    where link.event_id = event.id and link.seq <= oldest.seq;
  get diagnostics gone = row_count;
  delete from public.audit_links where seq <= oldest.seq;
  return gone;
end $$
"""
TRIGGERS = """
create constraint trigger audit_seal after insert on audit_events
  deferrable initially deferred for each row execute function audit_seal();
create trigger audit_keep before update or delete on audit_events for each row execute function audit_keep();
create trigger audit_keep before update or delete on audit_links for each row execute function audit_keep();
create trigger audit_keep before delete on audit_head for each row execute function audit_keep();
create trigger audit_keep before delete on audit_anchors for each row execute function audit_keep();
create trigger audit_owned before insert on audit_links for each row execute function audit_owned();
create trigger audit_owned before insert or update on audit_head for each row execute function audit_owned();
create trigger audit_owned before insert or update on audit_anchors for each row execute function audit_owned();
create trigger audit_whole before truncate on audit_events for each statement execute function audit_keep();
create trigger audit_whole before truncate on audit_links for each statement execute function audit_keep();
create trigger audit_whole before truncate on audit_head for each statement execute function audit_keep();
create trigger audit_whole before truncate on audit_anchors for each statement execute function audit_keep();
revoke all on function audit_seal(), audit_keep(), audit_owned() from public;
revoke all on function audit_anchor(date, text, text, boolean), audit_prune(date) from public
"""
GRANTS = """
do $$ begin
  if exists (select from pg_roles where rolname = 'auricle_app') then
    revoke all on audit_events, audit_links, audit_head, audit_anchors from auricle_app;
    grant select, insert on audit_events to auricle_app;
    grant select on audit_links, audit_head, audit_anchors to auricle_app;
    grant execute on function audit_anchor(date, text, text, boolean), audit_prune(date) to auricle_app;
  end if;
end $$
"""
"""The functions' role appends and reads. Older migrations give it every right on new tables: first all are taken back."""


def upgrade() -> None:
    """Tables that older functions do not know, and the functions that alone write the chain."""
    op.create_table(
        "audit_events",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("actor_kind", sa.Text(), nullable=False),
        sa.Column("actor", sa.Uuid(), nullable=True),
        sa.Column("behalf_of", sa.Uuid(), nullable=True),
        sa.Column("credential", sa.Text(), nullable=True),
        sa.Column("credential_id", sa.Uuid(), nullable=True),
        sa.Column("address", sa.Text(), nullable=True),
        sa.Column("user_agent", sa.Text(), nullable=True),
        sa.Column("function", sa.Text(), nullable=True),
        sa.Column("subject_kind", sa.Text(), nullable=True),
        sa.Column("subject_id", sa.Text(), nullable=True),
        sa.Column("trace_id", sa.Text(), nullable=True),
        sa.Column("details", postgresql.JSONB(astext_type=sa.Text()), server_default="{}", nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.CheckConstraint("octet_length(digest) = 32", name="audit_events_digest"),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("audit_events_by_time", "audit_events", ["at"], unique=False)
    op.create_index("audit_events_by_kind", "audit_events", ["kind", "id"], unique=False)
    op.create_index("audit_events_by_actor", "audit_events", ["actor", "id"], unique=False)
    op.create_index("audit_events_by_subject", "audit_events", ["subject_id", "id"], unique=False)
    op.create_index("audit_events_by_address", "audit_events", ["address", "id"], unique=False)
    op.create_table(
        "audit_links",
        sa.Column("seq", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("event_id", sa.Uuid(), nullable=False),
        sa.Column("sealed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("seq"),
        sa.UniqueConstraint("event_id"),
    )
    op.create_index("audit_links_by_time", "audit_links", ["sealed_at"], unique=False)
    op.create_table(
        "audit_head",
        sa.Column("one", sa.Boolean(), server_default="true", nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.Column("sealed_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("one", name="audit_head_one"),
        sa.PrimaryKeyConstraint("one"),
    )
    op.execute("insert into audit_head (seq, hash, sealed_at) values (0, decode(repeat('00', 32), 'hex'), 'epoch')")
    op.create_table(
        "audit_anchors",
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("previous_seq", sa.BigInteger(), nullable=False),
        sa.Column("previous_hash", sa.LargeBinary(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.Column("object_key", sa.Text(), nullable=False),
        sa.Column("object_sha256", sa.Text(), nullable=False),
        sa.Column("whole", sa.Boolean(), nullable=False),
        sa.Column("anchored_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("pruned_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("day"),
    )
    op.create_index("audit_anchors_by_seq", "audit_anchors", ["seq"], unique=False)
    for statement in (SEAL, GUARD_ENTRIES, GUARD_CHAIN, ANCHOR, PRUNE, *TRIGGERS.split(";"), GRANTS):
        op.execute(statement)


def downgrade() -> None:
    """Forget it, all of it."""
    for table in ("audit_anchors", "audit_head", "audit_links", "audit_events"):
        op.drop_table(table)
    for name in (
        "audit_prune(date)",
        "audit_anchor(date, text, text, boolean)",
        "audit_owned()",
        "audit_keep()",
        "audit_seal()",
    ):
        op.execute(f"drop function {name}")
