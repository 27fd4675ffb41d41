'use strict';

// An admin API over HTTP with a token for each role, and what calls it.

const { createHash, randomUUID } = require('node:crypto');

const { CircuitBreaker } = require('../..');
const { createAdminRouter } = require('../../lib/http');
const { serve } = require('./http-helpers');

const OPERATOR = 'operator-token-0123456789';
const READER = 'reader-token-0123456789';
const TOKENS = [
  { token: OPERATOR, name: 'Ani', role: 'operate' },
  { sha256: createHash('sha256').update(READER).digest('hex'), name: 'Budi', role: 'read' },
];
const BASE = '/admin/reliability';

const open = [];
/** Ends something after the test. */
const later = end => { open.push(end); };

async function endAll () {
  for (const end of open.splice(0).reverse()) await end();
}

/**
 * A server of these options, with middleware before it.
 * @returns {Promise<object>} { url, call, get, post, log }; `log`: entries of the audit log
 */
async function start (options = {}, ...before) {
  const log = [];
  const server = await serve(...before, createAdminRouter({
    tokens: TOKENS, log: entry => log.push(entry), breakers: () => [], ...options
  }));
  later(server.close);
  async function call (method, path, { token = OPERATOR, body, headers, type, text } = {}) {
    const sent = text ?? (body === undefined ? undefined : JSON.stringify(body));
    const response = await fetch(server.url + path, {
      method,
      body: sent,
      headers: {
        ...(token === null ? {} : { authorization: `Bearer ${token}` }),
        ...(method === 'POST' && type !== null
          ? { 'content-type': type ?? 'application/json' } : {}),
        ...headers,
      },
    });
    const answer = await response.text();
    const isJson = /json/.test(response.headers.get('content-type'));
    return {
      status: response.status, headers: response.headers, text: answer,
      body: isJson && answer !== '' ? JSON.parse(answer) : undefined,
    };
  }
  const get = (path, options) => call('GET', BASE + path, options);
  const post = (path, body, options) => call('POST', BASE + path, { body, ...options });
  return { ...server, call, get, post, log };
}

function breakerOf (name = `breaker ${randomUUID()}`) {
  const breaker = new CircuitBreaker(async fail => {
    if (fail) throw new Error('down');
  }, { name, resetTimeout: 60_000 });
  later(() => breaker.shutdown());
  return breaker;
}

module.exports = { BASE, OPERATOR, READER, TOKENS, breakerOf, endAll, later, start };
