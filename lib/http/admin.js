'use strict';

// The admin API under /admin/reliability, and /reset-circuit-breaker/:id: what operators can see
// and change. Everything needs a token; every change is in the audit log.

const { z } = require('zod');

const clock = require('../base/clock');
const { SekeringError } = require('../base/errors');
const foreign = require('../base/foreign');
const { is, optionsOf } = require('../base/options');
const { requirePeer } = require('../base/peer');
const { totalOf } = require('../gateway/report');
const { STATUSES } = require('../store/outbox');
const { OUTCOMES } = require('../store/payment-ledger');
const { STATES: ORDER_STATES } = require('../store/payment-states');
const { createAdminAccess, ownSiteOnly } = require('./admin-auth');
const { createAudit } = require('./audit');
const { STATES, breakersOption, listBreakers, viewBreaker } = require('./breaker-views');
const { jsonBody, problem, problemHandler, sendJson } = require('./problem');

const PREFIX = '/admin/reliability';
const REQUEST_BYTES_MAX = 65_536;

const OPTIONS = optionsOf({
  tokens: is.any('who may use it; see createAdminAccess'),
  rateLimit: is.any('see createAdminAccess'),
  breakers: breakersOption,
  sessions: is.having('whose instances can be reset', ['reset']),
  store: is.object('of openStore'),
  degradation: is.having('whose level can be set', ['snapshot', 'setLevel']),
  events: is.having('of createEventStream', ['handle']),
  history: is.having('of createBreakerHistory', ['read']),
  health: is.having('of createHealth', ['check']),
  report: is.func("gives an object for { format: 'json' }, a page for 'html'"),
  audit: is.having('of createAudit; default: one of its own', ['record', 'list']),
  log: is.func('gets the entries of that audit log'),
  onError: is.func('gets what was answered with 500'),
});

// ---- Input -------------------------------------------------------------------------------------

// What a change needs may be in the query, where all is text. `read` turns it into a value.
const orText = (pattern, read, schema) => z.preprocess(
  value => (typeof value === 'string' && pattern.test(value) ? read(value) : value), schema);
const orNumber = schema => orText(/^\d{1,15}(\.\d{1,6})?$/, Number, schema);

const PAGE = 100;
const PAGE_MAX = 500;
const IDS_MAX = 1000;
const FAULTS_MAX = 20;
const ID_MAX = 2n ** 63n - 1n;

// Without control characters, line separators and half characters: it is logged and shown.
const line = max => z.string().min(1).max(max)
  .regex(/^[^\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]*$/u, 'must be one line without control characters');

const FIELDS = {
  // The number of a row, as text: it may exceed the safe integers.
  id: z.string().refine(text => /^[1-9]\d{0,18}$/.test(text) && BigInt(text) <= ID_MAX,
    'must be an id: digits'),
  name: line(255),
  orderId: z.string()
    .regex(/^[\w.~-]{1,50}$/, 'must be 1 to 50 characters of A-Z a-z 0-9 - _ ~ .'),
  limit: z.coerce.number().int().min(1).max(PAGE_MAX),
  reason: line(500).refine(text => text.trim() !== '', 'must say something'),
  search: line(200),
};

const limit = FIELDS.limit.default(PAGE);
const page = { before: FIELDS.id.optional(), limit };
const letters = {
  channel: line(64).optional(), kind: line(128).optional(), search: FIELDS.search.optional(),
};
const idList = orText(/^/, text => text.split(','), z.array(FIELDS.id).min(1).max(IDS_MAX));
const selection = { ...letters, ids: idList.optional() };
const breakersQuery = z.strictObject({
  state: z.enum(STATES).optional(),
  search: FIELDS.search.optional(),
  limit: FIELDS.limit.optional(),
});
const optionalReason = z.strictObject({ reason: FIELDS.reason.optional() });
const nothing = z.strictObject({});

/** The input as the schema has it. Errors say where and why it does not fit. */
function readInput (schema, input) {
  const { success, data, error } = schema.safeParse(input ?? {});
  if (success) return data;
  const faults = error.issues.slice(0, FAULTS_MAX)
    .map(({ path, message }) => ({ path: path.join('.'), message }));
  const [{ path, message }] = faults;
  const invalid = new SekeringError('ERR_INVALID_INPUT',
    path === '' ? message : `${path}: ${message}`);
  invalid.faults = faults;
  throw invalid;
}

// ---- Breakers and the level --------------------------------------------------------------------
//
// An action is one of
//
//   { path, also, query, params, show: ({ query, params, req, res }) => answer }
//   { path, also, body, params, action, change: ({ body, params, actor }) => answer }
//
// query, body and params are schemas. `also` lists aliases of the path. `action` is the name in the
// audit log. The answer undefined means 404; null means that `show` has sent the answer itself.

const EVENT_BODY_MAX = 8192;

// With a valid signature anybody could forge notifications.
const SIGNATURES = /[0-9a-f]{128}/gi;

function without (object, ...names) {
  return Object.fromEntries(Object.entries(object).filter(([name]) => !names.includes(name)));
}

function breakerActions ({ breakers, sessions, history }) {
  const named = name => breakers().filter(breaker => breaker.name === name && !breaker.isShutdown);

  function resetNamed (name) {
    const found = named(name);
    for (const breaker of found) breaker.reset();
    return found.length === 0 ? undefined : { name, reset: found.length };
  }

  const resetSession = id => (sessions?.reset(id) === true ? { name: id, reset: 1 } : undefined);

  return [...(history === undefined ? [] : [{
    path: '/breaker-history', query: breakersQuery, show: ({ query }) => history.read(query),
  }]), {
    path: '/circuit-breakers',
    query: breakersQuery,
    show: ({ query }) => ({ at: clock.wall(), ...listBreakers(breakers, query) }),
  }, {
    path: '/circuit-breakers/:name',
    params: { name: FIELDS.name },
    show: ({ params: { name } }) => {
      const found = named(name);
      return found.length === 0 ? undefined : { name, breakers: found.map(viewBreaker) };
    },
  }, {
    path: '/circuit-breakers/:name/reset',
    params: { name: FIELDS.name },
    action: 'breaker.reset',
    change: ({ params: { name } }) => resetNamed(name) ?? resetSession(name),
  }, {
    // At /reset-circuit-breaker/:id. An instance of the session pool comes first.
    path: '/:id',
    alone: true,
    params: { id: FIELDS.name },
    action: 'breaker.reset',
    change: ({ params: { id } }) => resetSession(id) ?? resetNamed(id),
  }];
}

// In a query, null cannot be written.
const AUTOMATIC = /^automatic$/i;

function levelActions (degradation) {
  return [{
    path: '/degradation', show: () => degradation.snapshot(),
  }, {
    path: '/degradation',
    also: ['/degradation/set-level'],
    body: z.strictObject({ level: line(64).nullable(), reason: FIELDS.reason }),
    action: 'degradation.set',
    change: ({ body: { level: wanted, reason }, actor }) => {
      const { levels } = degradation.snapshot();
      const level = wanted === null || AUTOMATIC.test(wanted) ? null
        : levels.find(name => name.toLowerCase() === wanted.toLowerCase());
      if (level === undefined) {
        throw new SekeringError('ERR_INVALID_INPUT',
          `level: must be one of ${levels.join(', ')}, or null (automatic)`);
      }
      degradation.setLevel(level, { reason, by: actor.name });
      return degradation.snapshot();
    },
  }];
}

// ---- Dead letters and the outbox ---------------------------------------------------------------

/** Lists leave out the texts of messages. */
function viewMessage (message) {
  return {
    ...without(message, 'body', 'html', 'data', 'template', 'errorHistory'),
    errors: message.errorHistory?.length ?? 0,
  };
}

/** Adds to each message the last status that its provider reported. */
async function withDelivery (deliveries, messages) {
  const found = await deliveries.of(messages);
  return messages.map(message => ({ ...message, delivery: found.get(message.id) ?? null }));
}

const listing = (deliveries, list) => async ({ query }) =>
  (await withDelivery(deliveries, await list(query))).map(viewMessage);

const showing = (deliveries, get) => async ({ params }) => {
  const message = await get(params.id);
  return message && (await withDelivery(deliveries, [message]))[0];
};

function letterActions ({ deadLetters, deliveries }) {
  const list = listing(deliveries, filter => deadLetters.list(filter));
  return [{
    path: '/dlq',
    query: z.strictObject({ ...letters, ...page }),
    show: async request => ({ letters: await list(request) }),
  }, {
    path: '/dlq/summary',
    show: async () => {
      const summary = await deadLetters.summary();
      return { total: totalOf(summary), summary };
    },
  }, {
    path: '/dlq/retry',
    body: z.strictObject({
      ...selection,
      limit: orNumber(z.number().int().min(1).max(1e6)).optional(),
      rate: orNumber(z.number().min(0.001).max(1e6)).optional(),
      reason: FIELDS.reason.optional(),
    }),
    action: 'dlq.retry-many',
    change: ({ body }) => deadLetters.retryMany(without(body, 'reason')),
  }, {
    path: '/dlq/purge',
    body: z.strictObject({
      ...selection,
      olderThan: orNumber(z.number().min(0).max(1e13)).optional(),
      // Everything is deleted only on explicit demand.
      all: orText(/^true$/, () => true, z.literal(true)).optional(),
      reason: FIELDS.reason,
    }).refine(values => (values.all === true) !==
      Object.keys(values).some(key => key !== 'all' && key !== 'reason'),
    'needs either a filter or "all": true'),
    action: 'dlq.purge',
    change: async ({ body }) =>
      ({ purged: await deadLetters.purge(without(body, 'reason', 'all')) }),
  }, {
    path: '/dlq/:id',
    params: { id: FIELDS.id },
    show: showing(deliveries, id => deadLetters.get(id)),
  }, {
    path: '/dlq/:id/retry',
    params: { id: FIELDS.id },
    action: 'dlq.retry',
    change: async ({ params: { id } }) => {
      if (await deadLetters.retry(id)) return { id, retried: true };
      if (await deadLetters.get(id) === undefined) return undefined;
      throw new SekeringError('ERR_OUTBOX_MESSAGE',
        'Another message with the same key is waiting to be sent');
    },
  }];
}

function messageActions ({ outbox, deliveries }) {
  const list = listing(deliveries, filter => outbox.list(filter));
  return [{
    path: '/outbox/stats', show: () => outbox.stats(),
  }, {
    path: '/undelivered',
    query: z.strictObject({ before: line(512).optional(), limit: FIELDS.limit.optional() }),
    show: async ({ query }) => ({ failures: await deliveries.failures(query) }),
  }, {
    path: '/outbox',
    query: z.strictObject({
      status: z.enum(STATUSES).optional(), channel: letters.channel, search: letters.search,
      ...page,
    }),
    show: async request => ({ messages: await list(request) }),
  }, {
    path: '/outbox/:id',
    params: { id: FIELDS.id },
    show: showing(deliveries, id => outbox.get(id)),
  }];
}

// ---- Payments ----------------------------------------------------------------------------------

// With the token anybody could pay, or see what is to be paid.
function viewOrder (order) {
  return { ...without(order, 'token', 'redirectUrl'), hasToken: order.token != null };
}

function viewEvent (event) {
  const body = String(event.body ?? '').slice(0, EVENT_BODY_MAX).replace(SIGNATURES, '(signature)');
  return { ...event, body };
}

/** Which of these orders are in the store. */
async function knownOrders (store, ids) {
  const { rows } = await store.query(`SELECT order_id AS id FROM ${store.schema}.payment_orders
    WHERE order_id = ANY ($1::text[])`, [ids]);
  return new Set(rows.map(({ id }) => id));
}

function paymentActions (store) {
  const { payments } = store;
  return [{
    path: '/payments',
    query: z.strictObject({
      state: z.enum(ORDER_STATES).optional(),
      held: z.enum(['true', 'false']).transform(text => text === 'true').optional(),
      search: line(100).optional(),
      before: FIELDS.orderId.optional(),
      limit,
    }),
    show: async ({ query }) => ({ payments: (await payments.list(query)).map(viewOrder) }),
  }, {
    path: '/payment-events',
    query: z.strictObject({ outcome: z.enum(OUTCOMES).optional(), ...page }),
    show: async ({ query }) => {
      const events = await payments.listEvents(query);
      const known = await knownOrders(store, events.map(e => e.orderId ?? ''));
      return { events: events.map(e => ({ ...viewEvent(e), isOurs: known.has(e.orderId) })) };
    },
  }, {
    path: '/payments/:id',
    params: { id: FIELDS.orderId },
    show: async ({ params: { id } }) => {
      const order = await payments.get(id);
      return order && viewOrder(order);
    },
  }, {
    path: '/payments/:id/events',
    params: { id: FIELDS.orderId },
    show: async ({ params: { id } }) => ({ events: (await payments.events(id)).map(viewEvent) }),
  }, {
    path: '/payments/:id/review',
    params: { id: FIELDS.orderId },
    body: z.strictObject({ decision: z.enum(['apply', 'dismiss']), reason: FIELDS.reason }),
    action: 'payment.review',
    change: async ({ params: { id }, body: { decision, reason }, actor }) => {
      const order = await payments.review(id, decision, { by: actor.name, reason });
      // A held notification may be about an order that is not in the store.
      return order === undefined ? { orderId: id } : viewOrder(order);
    },
  }];
}

// ---- All of them -------------------------------------------------------------------------------

async function showReport (report, { query, req, res }) {
  const format = query.format ?? (req.accepts(['json', 'html']) || 'json');
  const value = await report({ format });
  if (format === 'json') return value;
  res.setHeader('Content-Security-Policy',
    "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; " +
    "frame-ancestors 'none'");
  res.setHeader('X-Content-Type-Options', 'nosniff');
  res.setHeader('Cache-Control', 'no-store');
  res.type('html').end(String(value));
  return null;
}

/** Which parts there are; the dashboard shows only these. */
function partsOf (options) {
  const names = ['store', 'degradation', 'sessions', 'events', 'history', 'report', 'health'];
  return {
    ...Object.fromEntries(names.map(part => [part, options[part] !== undefined])),
    payments: options.store?.payments !== undefined,
  };
}

/** All actions that the parts of createAdminRouter allow. */
function actionsOf (options) {
  const { audit, degradation, events, health, report, store } = options;
  const parts = partsOf(options);
  return [
    ...breakerActions(options),
    ...parts.degradation ? levelActions(degradation) : [],
    ...parts.store ? [...letterActions(store), ...messageActions(store)] : [],
    ...parts.payments ? paymentActions(store) : [],
    {
      path: '/session',
      show: ({ res: { locals: { actor } } }) =>
        ({ name: actor.name, role: actor.role, parts, time: new Date() }),
    },
    { path: '/audit', query: z.strictObject(page), show: ({ query }) => audit.list(query) },
    ...parts.events ? [{
      path: '/events',
      show: ({ req, res }) => {
        events.handle(req, res);
        return null;
      },
    }] : [],
    ...parts.health ? [{ path: '/health', show: () => health.check() }] : [],
    ...parts.report ? [{
      path: '/report',
      also: ['/reports/reliability'],
      query: z.strictObject({ format: z.enum(['json', 'html']).optional() }),
      show: request => showReport(report, request),
    }] : [],
  ];
}

// ---- Routes ------------------------------------------------------------------------------------

function readParams (schemas, req) {
  return Object.fromEntries(Object.entries(schemas).map(([param, schema]) =>
    [param, readInput(schema, req.params[param])]));
}

function sendOr404 (res, value) {
  if (value === undefined) problem(res, 404, { code: 'ERR_NOT_FOUND' });
  else if (!res.headersSent) sendJson(res, 200, value);
}

/** Answers a request to see something. */
function showIt ({ show, query = nothing, params = {} }) {
  return async (req, res) => sendOr404(res, await show({
    query: readInput(query, req.query), params: readParams(params, req), req, res,
  }));
}

/** The parameters of a change, from the JSON body, the query, or both. */
function inputOf ({ query, body }) {
  return Array.isArray(body) ? body : { ...query, ...body };
}

/** Answers a request to change something, and records the outcome in the audit log. */
function changeIt ({ change, action, body = optionalReason, params = {} }, audit) {
  return async (req, res) => {
    const { actor } = res.locals;
    const target = readParams(params, req);
    const values = readInput(body, inputOf(req));
    const { reason = null, ...detail } = values;
    const entry = { actor, action, target: Object.values(target)[0] ?? null, reason, detail };
    let answer;
    try {
      answer = await change({ body: values, params: target, actor });
    } catch (error) {
      const code = foreign.textOf(foreign.read(error, 'code') ?? 'ERR_INTERNAL');
      await audit.record({ ...entry, result: `failed: ${code}` });
      throw error;
    }
    await audit.record({ ...entry, result: answer === undefined ? 'not found' : 'done' });
    sendOr404(res, answer);
  };
}

/** Adds the actions to a router, each behind its role. Other methods get 405. */
function addActions (router, actions, { need, audit, express }) {
  const json = jsonBody(express, REQUEST_BYTES_MAX);
  const rows = actions.flatMap(action =>
    [action.path, ...action.also ?? []].map(path => ({ ...action, path })));
  for (const path of new Set(rows.map(row => row.path))) {
    const route = router.route(path);
    const allowed = [];
    for (const action of rows.filter(row => row.path === path)) {
      if (action.show !== undefined) {
        route.get(need('read'), showIt(action));
        allowed.push('GET', 'HEAD');
      } else {
        route.post(need('operate'), ownSiteOnly, json, changeIt(action, audit));
        allowed.push('POST');
      }
    }
    route.all((req, res) => {
      res.setHeader('Allow', allowed.join(', '));
      problem(res, 405, {
        code: 'ERR_METHOD_NOT_ALLOWED',
        detail: `Use ${allowed.join(' or ')}.`,
      });
    });
  }
}

function createAdminRouter (options) {
  const parts = OPTIONS.read(options);
  const { store, tokens, rateLimit, log, onError } = parts;
  const express = requirePeer('express', 'createAdminRouter');
  const audit = parts.audit ?? createAudit({ store, log });
  const onRefused = ({ actor, path }) => {
    audit.record({ actor, action: 'refused', target: path, result: 'refused' });
  };
  const access = createAdminAccess({ tokens, rateLimit, onRefused });
  const actions = actionsOf({ ...parts, audit });
  const tools = { need: access.need, audit, express };
  const admin = express.Router({ caseSensitive: true });
  addActions(admin, actions.filter(({ alone }) => !alone), tools);
  const noSuchPage = (req, res) => problem(res, 404, { code: 'ERR_NOT_FOUND' });
  admin.use(access.need('read'), noSuchPage);
  const reset = express.Router();
  addActions(reset, actions.filter(({ alone }) => alone), tools);
  const errors = problemHandler({ onError });
  const router = express.Router();
  router.use(PREFIX, access.enter, admin, errors);
  router.use('/reset-circuit-breaker', access.enter, reset, errors);
  return router;
}

module.exports = { FIELDS, createAdminRouter, readInput };
