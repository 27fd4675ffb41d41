'use strict';

// The switches of the Midtrans fake: what goes wrong, with which requests, how often.

const { bag, number, oneOf } = require('../base/options');

const FAULT_KINDS = [
  'hang', 'reset', 'error', 'html', 'slow', 'drop', 'mute', 'business', 'in-flight'
];
const OPERATIONS = [
  'createTransaction', 'charge', 'capture', 'status', 'approve', 'deny', 'cancel', 'expire',
  'refund', 'directRefund'
];
const FAULT_STATUS_DEFAULT = { error: 500, html: 502, business: 500 };
const SERVER_TROUBLE = "Sorry, we've encountered an unexpected error";

/**
 * @typedef {object} MidtransFault what goes wrong while it is set; a kind alone may be given as a
 *   string.
 * @property {'hang'|'reset'|'error'|'html'|'slow'|'drop'|'mute'|'business'|'in-flight'} kind hang:
 *   never answers. reset: cuts the connection before anything is made. error: a JSON error. html:
 *   an error page of a proxy in between. slow: makes the order, late. drop: makes the order, then
 *   cuts without an answer. mute: makes the order and never answers. business: an error in the body
 *   under HTTP 200 (Core only). in-flight: HTTP 202, an earlier request is being worked on.
 * @property {number} [status] of error (500), html (502) and business (500)
 * @property {number} [delayMs] of slow (ms, default 3000)
 * @property {number} [every] strikes each n-th request only (default 1: all of them)
 * @property {string} [on] strikes this call only: createTransaction, charge, status, ...
 * @property {number} [times] strikes so many times, and then no more
 * @property {object} [headers] of the answer, Retry-After say
 */

function checkedFault (fault) {
  const given = typeof fault === 'string' ? { kind: fault } : bag('fault', fault);
  const kind = oneOf('fault.kind', given.kind, FAULT_KINDS);
  const { delayMs = 3000, on, headers } = given;
  const { status = FAULT_STATUS_DEFAULT[kind] } = given;
  if (status !== undefined) number('fault.status', status, { min: 400, max: 599, integer: true });
  number('fault.delayMs', delayMs, { min: 0 });
  if (on !== undefined) oneOf('fault.on', on, OPERATIONS);
  return { kind, status, delayMs, on, headers };
}

/** The status and the body of an error that the fault makes. */
function faultAnswer ({ kind, status }, call) {
  if (kind === 'in-flight') {
    return [202, { status_code: '202', status_message: 'The request is being processed' }];
  }
  if (!call?.core) return [status, { error_messages: [SERVER_TROUBLE] }];
  const body = { status_code: String(status), status_message: SERVER_TROUBLE };
  return [kind === 'business' ? 200 : status, body];
}

module.exports = { checkedFault, faultAnswer };
