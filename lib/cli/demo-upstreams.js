'use strict';

// The two upstreams of the demonstration as real servers on loopback, and a plain client of each.

const crypto = require('node:crypto');
const http = require('node:http');

const { requirePeer } = require('../base/peer');
const { startMidtransFake } = require('../testing/midtrans-fake');
const { startSmtpFake } = require('../testing/smtp-fake');

const CONNECTIONS_MAX = 64;
const SMTP_CONNECTIONS_MAX = 5;
const MESSAGES_MAX = 1_000_000;
const POSTMASTER = 'postmaster@relay.example';
const SENDER = 'Film Tickets <tickets@shop.example>';

/** Creates Snap transactions over kept-alive connections. */
class SnapClient {
  #agent = new http.Agent({ keepAlive: true, maxSockets: CONNECTIONS_MAX });
  #url;
  #authorization;

  constructor (url, serverKey) {
    this.#url = new URL('/snap/v1/transactions', url);
    this.#authorization = `Basic ${Buffer.from(`${serverKey}:`).toString('base64')}`;
  }

  /**
   * @param {{ id: string, amount: number }} order
   * @param {AbortSignal} [signal] gives the connection up
   * @returns {Promise<{ token: string, redirect_url: string }>}
   */
  createTransaction (order, signal) {
    const body = JSON.stringify({
      transaction_details: { order_id: order.id, gross_amount: order.amount }
    });
    return new Promise((resolve, reject) => {
      const request = http.request(this.#url, {
        method: 'POST',
        agent: this.#agent,
        signal,
        headers: {
          authorization: this.#authorization,
          'content-type': 'application/json',
          'content-length': Buffer.byteLength(body)
        }
      });
      request.on('error', reject);
      request.on('response', response => read(response).then(resolve, reject));
      request.end(body);
    });
  }

  close () {
    this.#agent.destroy();
  }
}

async function read (response) {
  let text = '';
  response.setEncoding('utf8');
  for await (const chunk of response) text += chunk;
  if (response.statusCode === 201) return JSON.parse(text);
  const error = new Error(`Midtrans answered ${response.statusCode}`);
  error.statusCode = response.statusCode;
  error.messages = messagesOf(text);
  throw error;
}

// A proxy's error page is no JSON.
function messagesOf (text) {
  try {
    return JSON.parse(text).error_messages ?? [];
  } catch {
    return [];
  }
}

/** Whether the caller, not Midtrans, is to blame: no reason to open a breaker or to try again. */
function isCallersFault ({ statusCode }) {
  return statusCode >= 400 && statusCode < 500 && statusCode !== 408 && statusCode !== 429;
}

/** Whether an order was refused because an earlier attempt, whose answer was lost, had made it. */
function isAlreadyMade (error) {
  return error.messages?.some(message => message.includes('has already been taken')) ?? false;
}

/** Sends mails over a pool of connections; a mail keeps its Message-ID in every attempt. */
class Mailer {
  #transport;

  constructor (host, port) {
    this.#transport = requirePeer('nodemailer', 'The demonstration').createTransport({
      host, port, pool: true, maxConnections: SMTP_CONNECTIONS_MAX, maxMessages: Infinity,
      secure: false, ignoreTLS: true
    });
  }

  send ({ id, to, subject, text }) {
    return this.#transport.sendMail({ from: SENDER, messageId: id, to, subject, text });
  }

  /** Opens every connection of the pool, so that the first mails need not wait for theirs. */
  async connect () {
    const mails = Array.from({ length: SMTP_CONNECTIONS_MAX }, (_, i) => this.send({
      id: `<connect.${i}@shop.example>`, to: POSTMASTER, subject: 'Hello', text: 'Hello'
    }));
    await Promise.all(mails);
  }

  close () {
    this.#transport.close();
  }
}

/** Starts both servers and their clients. */
async function startUpstreams () {
  const serverKey = `SB-Mid-server-${crypto.randomBytes(8).toString('hex')}`;
  const midtrans = await startMidtransFake({ serverKey, latencyMs: [2, 12] });
  const smtp = await startSmtpFake({ messagesMax: MESSAGES_MAX });
  const snap = new SnapClient(midtrans.url, serverKey);
  const mailer = new Mailer(smtp.host, smtp.port);
  await mailer.connect();
  const close = async () => {
    snap.close();
    mailer.close();
    await Promise.all([midtrans.close(), smtp.close()]);
  };
  return { midtrans, smtp, snap, mailer, close };
}

module.exports = {
  startUpstreams, isCallersFault, isAlreadyMade, POSTMASTER, SMTP_CONNECTIONS_MAX
};
