'use strict';

// The configuration that `sekering init` writes: all sections, with comments.

const INIT_FILE = `# Times are milliseconds. "env:NAME" is the environment variable NAME.
# \`sekering check\` finds mistakes, and tests whether the services can be reached.

# production, development (lenient, fast) or testing (few retries, short timeouts)
profile = "production"

[server]
host = "127.0.0.1"
port = 3000

# Clients that may send orders and notifications: the server of the shop
# [[server.tokens]]
# name = "shop"
# token = "env:SHOP_TOKEN"

[store]
# PostgreSQL, if there is more than one process. Otherwise an embedded database in a folder.
# url = "env:DATABASE_URL"
directory = "sekering-data"

# [midtrans]
# server_key = "env:MIDTRANS_SERVER_KEY"
# production = false

# [smtp]
# host = "smtp.example.com"
# port = 587
# user = "env:SMTP_USER"
# password = "env:SMTP_PASSWORD"
# Send nothing without TLS. Use false only for a relay in your own network
# require_tls = true
# from = "Shop <orders@example.com>"

# [whatsapp.cloud]
# access_token = "env:WHATSAPP_ACCESS_TOKEN"
# phone_number_id = "1234567890"
# app_secret = "env:WHATSAPP_APP_SECRET"
# verify_token = "env:WHATSAPP_VERIFY_TOKEN"

# Other services, for gateway.upstream(name, fn)
# [upstreams.movies]
# preset = "movieApi"
# cache = true

# Settings for all services, on top of their presets
[retry]
# retries = 5

[retry.circuit_breaker]
# error_threshold_percentage = 50
# reset_timeout = 60000

[retry.policy]
# retryable_statuses = [408, 429, "5xx"]

[retry.fallback]
# How long a customer waits before the order is queued
max_wait = 5000

[outbox]
max_attempts = 5

[degradation]
# services: NORMAL DEGRADED SEVERE EMERGENCY; levels: NORMAL MINOR MODERATE SEVERE CRITICAL
scheme = "services"

[degradation.features]
# The worst level at which each feature is still on
# recommendations = "NORMAL"

[schedule]
# Cron patterns, or false for never
report = "0 * * * *"
retention_days = 7
audit_retention_days = 365

# Users of the admin API, the dashboard and the command line. Roles: read, operate
# [[admin.tokens]]
# name = "operations"
# role = "operate"
# token = "env:SEKERING_TOKEN"

[logging]
level = "info"
# file = "sekering.log"
`;

module.exports = { INIT_FILE };
