'use strict';

// Green API: WhatsApp by way of an instance that somebody has paired with a telephone. The token
// stands in the address, so that no address is ever shown.

const { invalidOption } = require('../base/errors');
const { bag } = require('../base/options');
const { presets } = require('../primitives/presets');
const { Faults } = require('./input');
const { OPTIONS, WhatsAppChannel, secret } = require('./whatsapp-channel');
const { classifyGreenError, errorOfAnswer, unreadable } = require('./whatsapp-errors');
const { CHAT_TEXT, chatOf } = require('./whatsapp-numbers');

const BASE_URL = 'https://api.green-api.com';
const MESSAGE_CHARACTERS_MAX = 20_000;
const HEADERS = {
  accept: 'application/json', 'content-type': 'application/json', 'user-agent': 'sekering'
};

function parse (text) {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

class GreenApiClient extends WhatsAppChannel {
  #instance;
  #token;

  /**
   * @param {object} options those of CloudApiClient from `baseUrl` on (the breaker's over
   *   presets.greenApi), and:
   * @param {string|number} options.instanceId
   * @param {string} options.token apiTokenInstance
   * @param {string} [options.baseUrl='https://api.green-api.com']
   * @param {number|false} [options.timeout=30000] ms of one attempt
   * @throws {TypeError|RangeError} ERR_INVALID_OPTION
   * @throws {SekeringError} ERR_MISSING_PEER
   */
  constructor (options) {
    const given = bag('options', options, [...OPTIONS, 'instanceId', 'token']);
    const { instanceId, token } = given;
    if (!/^\d{1,20}$/.test(String(instanceId))) {
      throw invalidOption('instanceId', 'the digits of an id', instanceId);
    }
    secret('token', token);
    super(given, {
      name: 'whatsapp-green', preset: presets.greenApi, baseUrl: BASE_URL, secrets: [token],
    });
    this.#instance = String(instanceId);
    this.#token = encodeURIComponent(token);
  }

  /**
   * Sends a text.
   * @param {{ to: string, message: string, quotedMessageId?: string, reference?: string }} message
   *   `to` is a number of E.164 or a chat (…@c.us, …@g.us); `reference` is a name of your own
   * @param {{ signal?: AbortSignal }} [options]
   * @returns {Promise<object>} { messageId, recipient, reference, attempts, ambiguous, response }
   * @throws {TypeError} ERR_INVALID_INPUT with `faults`, before anything is sent
   * @throws {WhatsAppError}
   */
  async send (message, options) {
    const { recipient, reference, body } = this.#read(message);
    const { answer, delivery } = await this._deliver({
      recipient, reference, path: this.#pathOf('sendMessage'), headers: HEADERS, body,
    }, options);
    const { attempts, ambiguous } = delivery;
    return {
      messageId: answer.idMessage, recipient, reference, attempts, ambiguous, response: answer,
    };
  }

  /**
   * Checks a message as send() does, and sends nothing.
   * @throws {TypeError} ERR_INVALID_INPUT with `faults`
   */
  check (message) { this.#read(message); }

  #read (message) {
    const faults = new Faults('send');
    if (message === null || typeof message !== 'object') {
      faults.add('message', 'an object', message);
      faults.throwIfAny();
    }
    const { to, message: text, quotedMessageId, reference = this._newReference() } = message;
    const recipient = chatOf(to, 'c.us');
    if (recipient === undefined) faults.add('to', CHAT_TEXT, to);
    if (typeof text !== 'string' || text === '' || text.length > MESSAGE_CHARACTERS_MAX) {
      faults.add('message', `1 to ${MESSAGE_CHARACTERS_MAX} characters`, text);
    }
    if (quotedMessageId !== undefined && typeof quotedMessageId !== 'string') {
      faults.add('quotedMessageId', 'a text', quotedMessageId);
    }
    faults.throwIfAny();
    const body = JSON.stringify({ chatId: recipient, message: text, quotedMessageId });
    return { recipient, reference, body };
  }

  /** Sends a text to a number or a chat. */
  async sendText (to, message, options) {
    return this.send({ to, message }, options);
  }

  /**
   * Whether the instance is paired and ready. It passes the breaker by.
   * @param {{ signal?: AbortSignal }} [options]
   * @returns {Promise<{ ok: boolean, state: string }>}
   * @throws {WhatsAppError}
   */
  async ping (options) {
    const { signal } = bag('options', options);
    const path = this.#pathOf('getStateInstance');
    const { stateInstance } = await this._ask({ method: 'GET', path, headers: HEADERS }, signal);
    return { ok: stateInstance === 'authorized', state: stateInstance };
  }

  #pathOf (method) {
    return `/waInstance${this.#instance}/${method}/${this.#token}`;
  }

  /** The answer's body, or the error that it is. */
  _read (response, redact) {
    const { status, text } = response;
    const body = parse(text);
    const isAnswer = [body?.idMessage, body?.stateInstance].some(value =>
      typeof value === 'string' && value !== '');
    if (status < 300) return isAnswer ? body : unreadable(response);
    const said = typeof body?.message === 'string' ? redact(body.message) : '';
    return errorOfAnswer(response, classifyGreenError(status, text), { message: said });
  }
}

module.exports = { GreenApiClient };
