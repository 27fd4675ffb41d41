'use strict';

// Midtrans over HTTP for orders of payment-model: their pages, their status, and its faults.

const { createHash } = require('node:crypto');

const { HttpFake, answer, cutOff, pause, readBody } = require('../../lib/testing/fake-server');
const { KEY } = require('./midtrans-helpers');
const { Midtrans } = require('./payment-model');

const SLOW_MS = 20;

/** The id of the order that a page or a transaction belongs to. */
const orderOf = id => id.replace(/^none-/, '').replace(/-t\d+$/, '').replace(/~\d$/, '');

/** A notification as Midtrans signs it, unless it is forged. */
function signed (body) {
  if (!Midtrans.isSigned(body)) return body;
  const { order_id: id, status_code: code, gross_amount: amount } = body;
  const signature = createHash('sha512').update(`${id}${code}${amount}${KEY}`).digest('hex');
  return { ...body, signature_key: signature };
}

class MidtransServer extends HttpFake {
  /** By id: models. */
  orders = new Map();
  /** By token: { id, life } */
  pages = new Map();
  counts = { faulted: 0 };
  #count = 0;

  static async start () {
    const read = fault => ({ every: 1, times: Infinity, ...fault });
    return new MidtransServer(read)._listen({ port: 0, host: '127.0.0.1' });
  }

  async _serve (request, response) {
    const call = request.method === 'POST' ? 'page' : 'status';
    const fault = this._strike(({ on = call }) => on === call);
    const bytes = await readBody(request);
    const trouble = () => answer(response, fault.status ?? 500,
      { status_code: String(fault.status ?? 500), error_messages: ['trouble'] });
    if (fault?.kind === 'hang') return;
    if (fault?.kind === 'reset') { cutOff(request.socket); return; }
    if (fault?.kind === 'error') { trouble(); return; }
    const [, id] = /^\/v2\/([^/]+)\/status$/.exec(request.url) ?? [];
    const [status, body] = id === undefined ? this.#makePage(JSON.parse(bytes))
      : this.#status(decodeURIComponent(id));
    if (fault?.kind === 'slow') await pause(SLOW_MS);
    if (fault?.kind === 'drop') cutOff(request.socket);
    else if (fault?.kind === 'late-error') trouble();
    else answer(response, status, body);
  }

  #makePage ({ transaction_details: { order_id: id } }) {
    const { life } = this.orders.get(orderOf(id));
    const isTaken = [...this.pages.values()].some(page => page.id === id && page.life === life);
    if (isTaken) {
      return [400, { error_messages: ['transaction_details.order_id has already been taken'] }];
    }
    const token = `token-${this.#count++}`;
    this.pages.set(token, { id, life });
    return [201, { token, redirect_url: `${this.url}/${token}` }];
  }

  #status (id) {
    const body = this.orders.get(orderOf(id))?.status(id);
    return [200, body ?? { status_code: '404', status_message: "Transaction doesn't exist." }];
  }
}

module.exports = { MidtransServer, signed };
