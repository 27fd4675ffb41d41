'use strict';

// The admin API under /admin/reliability, and /reset-circuit-breaker/:id. Everything needs a token;
// every change is in the audit log.

const foreign = require('../base/foreign');
const { is, optionsOf } = require('../base/options');
const { requirePeer } = require('../base/peer');
const { actionsOf } = require('./admin-actions');
const { createAdminAccess, ownSiteOnly } = require('./admin-auth');
const { read } = require('./admin-input');
const { createAudit } = require('./audit');
const { breakersOption } = require('./breaker-views');
const { sendJson } = require('./json');
const { problem, problemHandler } = require('./problem');

const PREFIX = '/admin/reliability';
const BODY_MAX = 65_536;

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

function readParams (schemas, req) {
  return Object.fromEntries(Object.entries(schemas).map(([name, schema]) =>
    [name, read(schema, req.params[name])]));
}

function sendOr404 (res, value) {
  if (value === undefined) problem(res, 404, { code: 'ERR_NOT_FOUND' });
  else if (!res.headersSent) sendJson(res, 200, value);
}

/** Answers a request to see something. */
function showing ({ show, query = 'nothing', params = {} }) {
  return async (req, res) => sendOr404(res, await show({
    query: read(query, req.query), params: readParams(params, req), req, res,
  }));
}

/** Answers a request to change something, and records the outcome in the audit log. */
function changing ({ change, action, body = 'optionalReason', params = {} }, audit) {
  return async (req, res) => {
    const { actor } = res.locals;
    const target = readParams(params, req);
    const values = read(body, req.body);
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

/** Which parts there are; the dashboard shows only these. */
function partsOf (options) {
  const names = ['store', 'degradation', 'sessions', 'events', 'history', 'report', 'health'];
  return {
    ...Object.fromEntries(names.map(name => [name, options[name] !== undefined])),
    payments: options.store?.payments !== undefined,
  };
}

/** Options as the types describe them. */
function createAdminRouter (options) {
  const parts = OPTIONS.read(options);
  const { store, tokens, rateLimit, log, onError } = parts;
  const express = requirePeer('express', 'createAdminRouter');
  const audit = parts.audit ?? createAudit({ store, log });
  const onRefused = ({ actor, path }) => {
    audit.record({ actor, action: 'refused', target: path, result: 'refused' });
  };
  const access = createAdminAccess({ tokens, rateLimit, onRefused });
  const actions = actionsOf({ ...parts, audit, parts: partsOf(parts) });
  const tools = { need: access.need, audit, express };
  const admin = express.Router({ caseSensitive: true });
  addActions(admin, actions.filter(({ alone }) => !alone), tools);
  admin.use(access.need('read'), (req, res) => problem(res, 404, { code: 'ERR_NOT_FOUND' }));
  const reset = express.Router();
  addActions(reset, actions.filter(({ alone }) => alone), tools);
  const errors = problemHandler({ onError });
  const router = express.Router();
  router.use(PREFIX, access.enter, admin, errors);
  router.use('/reset-circuit-breaker', access.enter, reset, errors);
  return router;
}

module.exports = { createAdminRouter };
