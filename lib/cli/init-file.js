'use strict';

// The configuration that `sekering init` writes: all sections, with what they mean.

const CONFIG = `# Times are milliseconds. "env:NAME" stands for a variable of the environment.
# \`sekering check\` says what is wrong or missing, and what can be reached.

# production, development (lenient, quick) or testing (few retries, short timeouts)
profile = "production"

[server]
host = "127.0.0.1"
port = 3000

# Who may post orders and notifications: the shop's own server
# [[server.tokens]]
# name = "shop"
# token = "env:SHOP_TOKEN"

[store]
# PostgreSQL for more than one process. Without it an embedded database in a folder of its own.
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
# Nothing is sent without TLS; false only for a relay in a network of your own
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

# Over the presets of all services
[retry]
# retries = 5

[retry.circuit_breaker]
# error_threshold_percentage = 50
# reset_timeout = 60000

[retry.policy]
# retryable_statuses = [408, 429, "5xx"]

[retry.fallback]
# After how long a customer is told that the order is queued
max_wait = 5000

[outbox]
max_attempts = 5

[degradation]
# services: NORMAL DEGRADED SEVERE EMERGENCY; levels: NORMAL MINOR MODERATE SEVERE CRITICAL
scheme = "services"

[degradation.features]
# The worst level at which each is on
# recommendations = "NORMAL"

[schedule]
# Cron patterns; false for never
report = "0 * * * *"
retention_days = 7
audit_retention_days = 365

# Who may use the admin API, the dashboard and this command line: read, or operate
# [[admin.tokens]]
# name = "operations"
# role = "operate"
# token = "env:SEKERING_TOKEN"

[logging]
level = "info"
# file = "sekering.log"
`;

module.exports = { CONFIG };
