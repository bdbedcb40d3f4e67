-- Run once, by the image of PostgreSQL, on an empty volume: a database for Prefect and one for campaigns, each with a
-- user that sees no other. psql reads the passwords itself, so that they are in no command line.
\set prefect_password `cat /run/secrets/prefect_database`
\set motherlode_password `cat /run/secrets/motherlode_database`
-- A statement that fails is not written to the log with what it holds.
SET log_min_error_statement = panic;
CREATE ROLE prefect LOGIN PASSWORD :'prefect_password';
CREATE DATABASE prefect OWNER prefect;
REVOKE ALL ON DATABASE prefect FROM PUBLIC;
CREATE ROLE motherlode LOGIN PASSWORD :'motherlode_password';
CREATE DATABASE motherlode OWNER motherlode;
REVOKE ALL ON DATABASE motherlode FROM PUBLIC;
REVOKE CONNECT ON DATABASE postgres, template1 FROM PUBLIC;
