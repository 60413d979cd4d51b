-- The roles that the schema expects, and what each may do. May be run again at any time: after a restore into a new server,
-- or to put a changed password into force (manifests/README.md, "Rotating secrets").
\set QUIET on
\set ON_ERROR_STOP on
\getenv migrate_password AURICLE_MIGRATE_PASSWORD
\getenv app_password AURICLE_APP_PASSWORD
\getenv next_password AURICLE_APP_NEXT_PASSWORD

-- auricle_migrate owns and alters. auricle_app reads and writes rows; nobody logs in as it. Its two logins take turns: a new
-- password goes to the one that nobody uses, then the functions move over.
select format('create role %I', name)
from unnest(array['auricle_migrate', 'auricle_app', 'auricle_app_a', 'auricle_app_b']) as wanted(name)
where name not in (select rolname from pg_roles) \gexec

alter role auricle_migrate login password :'migrate_password';
alter role auricle_app nologin;
alter role auricle_app_a login password :'app_password';
alter role auricle_app_b login password :'next_password';
grant auricle_app to auricle_app_a, auricle_app_b;

alter database :"DBNAME" owner to auricle_migrate;
revoke all on database :"DBNAME" from public;
grant connect on database :"DBNAME" to auricle_app;
create extension if not exists vector;
