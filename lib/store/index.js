'use strict';

// sekering/store: keeps what must not be lost, on PostgreSQL or on an embedded PGlite.

const { migrateStore, openStore } = require('./store');
const { StoreError } = require('./store-errors');

module.exports = { migrateStore, openStore, StoreError };
