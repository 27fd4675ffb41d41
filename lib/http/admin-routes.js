'use strict';

// The admin API: what an operator may see and change, under /admin/reliability, and the one address
// /reset-circuit-breaker/:id. Everything needs a token; every change is in the audit log.

const foreign = require('../base/foreign');
const { bag, func } = require('../base/options');
const { requirePeer } = require('../base/peer');
const { problem } = require('../base/problem');
const { createAdminAccess, ownSiteOnly } = require('./admin-auth');
const { breakerActions, levelActions } = require('./admin-breakers');
const { read } = require('./admin-input');
const { letterActions, messageActions } = require('./admin-messages');
const { paymentActions } = require('./admin-payments');
const { toJson } = require('./admin-views');
const { createAudit } = require('./audit');
const { problemHandler } = require('./problem');

const PREFIX = '/admin/reliability';
const BODY_MAX = 65_536;

function sendJson (res, value, status = 200) {
  res.statusCode = status;
  res.setHeader('Content-Type', 'application/json; charset=utf-8');
  res.setHeader('Cache-Control', 'no-store');
  res.setHeader('X-Content-Type-Options', 'nosniff');
  res.end(toJson(value));
}

/** Answers a request to see something. */
function showing ({ show, query = 'nothing', params = {} }) {
  return async (req, res) => {
    const value = await show({
      query: read(query, req.query), params: readParams(params, req), req, res,
    });
    if (value === undefined) problem(res, 404, { code: 'ERR_NOT_FOUND' });
    else if (!res.headersSent) sendJson(res, value);
  };
}

/**
 * Answers a request to change something, and writes down what became of it. `change` returns the
 * answer, or undefined when there is nothing of that name.
 */
function changing ({ change, action, body = 'optionalReason', params = {} }, audit) {
  return async (req, res) => {
    const { actor } = res.locals;
    const named = readParams(params, req);
    const given = read(body, req.body);
    const { reason, ...detail } = given;
    const [target = null] = Object.values(named);
    const entry = { actor, action, target, reason: reason ?? null, detail };
    let value;
    try {
      value = await change({ body: given, params: named, actor });
    } catch (error) {
      const code = foreign.read(error, 'code');
      await audit.record({ ...entry, result: `failed: ${foreign.textOf(code ?? 'ERR_INTERNAL')}` });
      throw error;
    }
    await audit.record({ ...entry, result: value === undefined ? 'not found' : 'done' });
    if (value === undefined) problem(res, 404, { code: 'ERR_NOT_FOUND' });
    else sendJson(res, value);
  };
}

function readParams (schemas, req) {
  return Object.fromEntries(Object.entries(schemas).map(([name, schema]) =>
    [name, read(schema, req.params[name])]));
}

/** What else there is to see. */
function generalActions ({ report, health, audit, events, parts }) {
  const actions = [{
    path: '/session',
    show: ({ res }) => ({
      name: res.locals.actor.name, role: res.locals.actor.role, parts, time: new Date()
    }),
  }, {
    path: '/audit', query: 'page', show: ({ query }) => audit.list(query),
  }];
  if (events !== undefined) {
    actions.push({
      path: '/events',
      show: ({ req, res }) => {
        events.handle(req, res);
        return null;
      },
    });
  }
  if (health !== undefined) actions.push({ path: '/health', show: () => health.check() });
  if (report !== undefined) actions.push(reportAction(report));
  return actions;
}

function reportAction (report) {
  return {
    path: '/report',
    query: 'report',
    show: async ({ query, req, res }) => {
      const format = query.format ?? (req.accepts(['json', 'html']) || 'json');
      const value = await report({ format });
      if (format === 'json') return value;
      res.setHeader('Content-Security-Policy', "default-src 'none'; style-src 'unsafe-inline'");
      res.setHeader('X-Content-Type-Options', 'nosniff');
      res.setHeader('Cache-Control', 'no-store');
      res.type('html').end(String(value));
      return null;
    },
  };
}

function actionsOf (options) {
  const { store, degradation } = options;
  return [
    ...breakerActions(options),
    ...(degradation === undefined ? [] : levelActions(degradation)),
    ...(store === undefined ? [] : [
      ...letterActions(store), ...messageActions(store), ...paymentActions(store),
    ]),
    ...generalActions(options),
  ];
}

/** Puts actions into a router: what a path does not do is refused with what it does. */
function fill (router, actions, { need, audit, express }) {
  const json = express.json({ limit: BODY_MAX, inflate: false });
  for (const path of new Set(actions.map(action => action.path))) {
    const route = router.route(path);
    const allowed = [];
    for (const action of actions.filter(other => other.path === path)) {
      if (action.show !== undefined) {
        route.get(need('read'), showing(action));
        allowed.push('GET', 'HEAD');
      } else {
        route.post(need('operate'), ownSiteOnly, json, changing(action, audit));
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

function check (options) {
  const given = bag('options', options);
  const { breakers = require('../primitives/breaker').breakers, report, health } = given;
  func('breakers', breakers);
  if (report !== undefined) func('report', report);
  if (health !== undefined) func('health.check', health.check);
  return { ...given, breakers };
}

/** Options as the types describe them. */
function createAdminRouter (options) {
  const given = check(options);
  const { store, degradation, sessions, events, tokens, rateLimit, log } = given;
  const express = requirePeer('express', 'createAdminRouter');
  const audit = given.audit ?? createAudit({ store, log });
  const onRefused = ({ actor, path }) => {
    audit.record({ actor, action: 'refused', target: path, result: 'refused' });
  };
  const access = createAdminAccess({ tokens, rateLimit, onRefused });
  const parts = {
    store: store !== undefined, payments: store?.payments !== undefined,
    degradation: degradation !== undefined, sessions: sessions !== undefined,
    events: events !== undefined, history: given.history !== undefined,
    report: given.report !== undefined, health: given.health !== undefined,
  };
  const router = express.Router();
  const admin = express.Router({ caseSensitive: true });
  const reset = express.Router();
  const tools = { need: access.need, audit, express };
  const actions = actionsOf({ ...given, audit, parts });
  fill(admin, actions.filter(({ alone }) => !alone), tools);
  admin.use(access.need('read'), (req, res) => problem(res, 404, { code: 'ERR_NOT_FOUND' }));
  fill(reset, actions.filter(({ alone }) => alone), tools);
  const errors = problemHandler({ onError: given.onError });
  router.use(PREFIX, access.enter, admin, errors);
  router.use('/reset-circuit-breaker', access.enter, reset, errors);
  return router;
}

module.exports = { createAdminRouter };
