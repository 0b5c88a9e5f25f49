#!/bin/bash
# Run once, by the image's first start on an empty volume: a role and a database for Dagster, and others for the corrections.
set -euo pipefail
psql --set ON_ERROR_STOP=1 --username postgres \
  --set dagster="$FLYWHEEL_DAGSTER_PASSWORD" --set qa="$FLYWHEEL_QA_PASSWORD" <<'SQL'
CREATE ROLE dagster LOGIN PASSWORD :'dagster';
CREATE ROLE flywheel_qa LOGIN PASSWORD :'qa';
CREATE DATABASE dagster OWNER dagster;
CREATE DATABASE flywheel_qa OWNER flywheel_qa;
REVOKE CONNECT ON DATABASE dagster, flywheel_qa FROM PUBLIC;
SQL
