#!/bin/sh
# Dump the database to the backup volume, prove that the dump can be read, keep the newest ones. With DATABASES (a pattern of
# LIKE) every database whose name fits it: one that cannot be dumped keeps none of the others from it.
# A dump is whole or not there: it gets its name only when it has been read back.
set -eu
cd /backup
rm -f ./*.partial
databases=$PGDATABASE
if [ -n "${DATABASES:-}" ]; then
  databases=$(psql --no-psqlrc --quiet --tuples-only --no-align --dbname=postgres \
    --command="select datname from pg_database where datname like '$DATABASES' and datallowconn order by datname")
fi

dump() {
  name="$1-$(date -u +%Y%m%dT%H%M%SZ).dump"
  pg_dump --dbname="$1" --format=custom --compress=6 --lock-wait-timeout=60s --file="$name.partial" &&
    # Reading everything finds a truncated or damaged file; listing alone would read only its head.
    pg_restore --file=/dev/null "$name.partial" &&
    sha256sum <"$name.partial" | cut -d' ' -f1 >"$name.sha256.partial" &&
    sync "$name.partial" "$name.sha256.partial" &&
    mv "$name.sha256.partial" "$name.sha256" &&
    mv "$name.partial" "$name" &&
    echo "wrote $name, $(stat -c %s "$name") bytes"
}

failed=""
for database in $databases; do
  if ! dump "$database"; then
    failed="$failed $database"
    continue
  fi
  # Names sort by time. Nothing is removed by age alone: when backups fail for a month, the last good ones stay.
  ls -1 "$database"-*.dump | sort -r | tail -n "+$((KEEP + 1))" | while read -r old; do
    rm -f "$old" "$old.sha256"
    echo "removed $old"
  done
done
if [ -n "$failed" ]; then
  echo "Not dumped:$failed" >&2
  exit 1
fi
