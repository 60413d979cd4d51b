#!/bin/sh
# Put a dump into a new database, and only when all of it is there, exchange the two. The database of before stays beside it
# under another name, so that a restore can be undone and a broken dump changes nothing.
set -eu
cd /backup
database=${DATABASE:-auricle}
dump=${BACKUP:-$(ls -1 "$database"-*.dump 2>/dev/null | sort | tail -n 1)}
if [ -z "$dump" ] || [ ! -f "$dump" ]; then
  echo "There is no dump ${BACKUP:-of $database} in the backup volume. It has: $(ls -1 ./*.dump 2>/dev/null | tr '\n' ' ')" >&2
  exit 1
fi
if [ "$(sha256sum <"$dump" | cut -d' ' -f1)" != "$(cat "$dump.sha256")" ]; then
  echo "$dump is not what was written (its checksum differs). Take an older one: set BACKUP." >&2
  exit 1
fi
now=$(date -u +%Y%m%d_%H%M%S)
new="restored_$now"
export PGOPTIONS="-c client_min_messages=warning"
ask() { psql --no-psqlrc --quiet --set=ON_ERROR_STOP=1 "$@"; }

# From template0, so that the dump's own extensions and schemas find nothing there; of nobody yet.
ask --dbname=postgres --command="create database $new template template0"
ask --dbname=postgres --command="revoke all on database $new from public"
# A tenant's roles are there: the operator makes them, and lets them into this database, too.
if [ "$database" = auricle ]; then PGDATABASE=$new ask --file=/scripts/roles.sql; fi
# One transaction: all of it or nothing. As superuser, and each table goes back to the role that owned it.
pg_restore --exit-on-error --single-transaction --no-comments --dbname="$new" "$dump"
PGDATABASE=$new ask --command='analyze'

# Nobody may hold the database while it changes its name; functions connect again by themselves and repeat what they were at.
# A server without the database (a new one) has nothing to keep.
if [ "$(ask --dbname=postgres --tuples-only --no-align --command="select count(*) from pg_database where datname = '$database'")" = 1 ]; then
  ask --dbname=postgres --output=/dev/null <<SQL
alter database $database allow_connections false;
select count(pg_terminate_backend(pid)) from pg_stat_activity where datname = '$database' and pid <> pg_backend_pid();
select pg_sleep(1);
alter database $database rename to before_$now;
SQL
fi
ask --dbname=postgres --command="alter database $new rename to $database"
echo "restored $dump. The database of before is before_$now; drop it when you miss nothing."
