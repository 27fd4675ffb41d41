'use strict';

// Express middleware for the header Idempotency-Key, as the draft of the HTTP working group has it:
// a request that is sent again gets the answer that the first one got.

const { createHash } = require('node:crypto');

const clock = require('../base/clock');
const { SekeringError, invalidOption } = require('../base/errors');
const { read } = require('../base/foreign');
const { bag, boolean, func, number } = require('../base/options');
const { Recording } = require('./idempotency-recording');
const { problem, problemOf } = require('./problem');

// The same credentials can be written in several ways.
const AUTHORIZATION = /^(\S+) +(\S.*)$/;

const OPTIONS = ['idempotency', 'methods', 'required', 'scope', 'storeServerErrors', 'maxResponse',
  'ttl', 'lockTimeout', 'wait'];
const METHODS = ['POST', 'PATCH'];
const RESPONSE_BYTES = 1 << 20;
// In base64 it has to fit into what the store keeps of one result.
const RESPONSE_BYTES_MAX = 2 << 20;
const LOCK_MS = 60_000;
const RETRY_AFTER_S = 1;

// A string of RFC 8941, and parameters that nobody has defined yet.
const STRING = '"((?:[ !#-\\[\\]-~]|\\\\["\\\\])*)"';
const PARAMETER = `;[ ]*[a-z*][a-z0-9_.*-]*(?:=(?:${STRING.replace('(', '(?:')}|[^ ;,"]+))?`;
const KEY = new RegExp(`^[ ]*${STRING}(?:${PARAMETER})*[ ]*$`);
const KEY_CHARACTERS_MAX = 255;

const CODE = {
  missing: 'ERR_IDEMPOTENCY_KEY_MISSING',
  malformed: 'ERR_IDEMPOTENCY_KEY_MALFORMED',
  body: 'ERR_IDEMPOTENCY_BODY',
  notKept: 'ERR_IDEMPOTENCY_NOT_KEPT',
};

/** An answer that is not to be stored. */
class NotStored extends SekeringError {}

function readOptions (options) {
  const given = bag('options', options, OPTIONS);
  const {
    idempotency, methods = METHODS, required = false, storeServerErrors = false,
    maxResponse = RESPONSE_BYTES, scope = callerOf, ...run
  } = given;
  func('idempotency.run', idempotency?.run);
  if (!Array.isArray(methods) || !methods.every(name => /^[A-Z]+$/.test(name))) {
    throw invalidOption('methods', 'an array of methods such as POST', methods);
  }
  boolean('required', required);
  boolean('storeServerErrors', storeServerErrors);
  func('scope', scope);
  number('maxResponse', maxResponse, { min: 0, max: RESPONSE_BYTES_MAX, integer: true });
  return { idempotency, methods, required, storeServerErrors, maxResponse, scope, run };
}

/** Whose request it is, by its credentials: `bearer X` and `Bearer  X` are the same caller. */
function callerOf ({ headers: { authorization } }) {
  const [, scheme, credentials] = AUTHORIZATION.exec(authorization ?? '') ?? [];
  if (scheme === undefined) return authorization;
  return `${scheme[0].toUpperCase()}${scheme.slice(1).toLowerCase()} ${credentials}`;
}

/** The key in a header; undefined if it is malformed. */
function keyOf (header) {
  const text = KEY.exec(header)?.[1]?.replace(/\\(.)/g, '$1');
  return text?.length >= 1 && text.length <= KEY_CHARACTERS_MAX ? text : undefined;
}

const isBodyUnread = ({ body, rawBody, headers }) =>
  body === undefined && rawBody === undefined &&
  (headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) > 0);

/** What a request says, as the store compares it. */
function payloadOf ({ method, originalUrl, url, body, rawBody }) {
  const said = rawBody ?? body;
  const bytes = said instanceof Uint8Array;
  return {
    method, url: originalUrl ?? url,
    [bytes ? 'sha256' : 'body']: bytes ? createHash('sha256').update(said).digest('hex') : said,
  };
}

/**
 * Resolves with what was answered, or rejects if nobody answers although the client has long gone:
 * the handler may have noticed, and have stopped.
 */
function untilEnded (res, recording, patience) {
  return new Promise((resolve, reject) => {
    let timer;
    const onClose = () => {
      timer = clock.setTimer(() => reject(new NotStored('ERR_IDEMPOTENCY_ABANDONED',
        'The client has gone, and the request was not answered')), patience, false);
    };
    if (res.destroyed) onClose();
    else res.once('close', onClose);
    recording.ended.then(answer => {
      res.off('close', onClose);
      clock.clearTimer(timer);
      resolve(answer);
    });
  });
}

function replay (res, { status, headers, body }) {
  if (body === undefined) {
    problem(res, 409, {
      code: CODE.notKept, title: 'The answer to this Idempotency-Key was not kept',
      detail: `The request was carried out and answered with ${status}; ` +
        'the answer was too large to be kept.',
    });
    return;
  }
  res.statusCode = status;
  for (const [name, value] of Object.entries(headers)) res.setHeader(name, value);
  res.setHeader('Idempotency-Replayed', 'true');
  res.end(Buffer.from(body, 'base64'));
}

/** What a client is told when his request was not carried out. */
function refuse (res, error, next) {
  const code = read(error, 'code');
  if (code === 'ERR_IDEMPOTENCY_IN_PROGRESS') {
    problem(res, 409, {
      code, title: 'A request is outstanding for this Idempotency-Key',
      detail: 'Send it again when the first one has been answered.', retryAfter: RETRY_AFTER_S,
    });
  } else if (code === 'ERR_IDEMPOTENCY_MISMATCH') {
    problem(res, 422, {
      code, title: 'Idempotency-Key is already used',
      detail: 'This key belongs to another request.',
    });
  } else if (problemOf(error).status === 503) {
    const { members } = problemOf(error);
    problem(res, 503, { retryAfter: RETRY_AFTER_S, ...members });
  } else {
    next(error);
  }
}

class Middleware {
  #options;
  #patience;

  constructor (options) {
    this.#options = readOptions(options);
    this.#patience = this.#options.run.lockTimeout ?? LOCK_MS;
  }

  async handle (req, res, next) {
    const { methods, required } = this.#options;
    if (!methods.includes(req.method)) return next();
    const header = req.headers['idempotency-key'];
    if (header === undefined && !required) return next();
    const key = header === undefined ? undefined : keyOf(header);
    if (key === undefined) return refuseKey(res, header);
    if (isBodyUnread(req)) {
      return problem(res, 415, { code: CODE.body, detail: 'No parser has read this body.' });
    }
    return this.#run(key, req, res, next);
  }

  async #run (key, req, res, next) {
    const { idempotency, scope, run } = this.#options;
    let payload;
    try {
      payload = idempotency.keyOf(payloadOf(req));
    } catch {
      return problem(res, 400, { code: CODE.body, detail: 'The body is nested too deeply.' });
    }
    const made = { recording: undefined };
    try {
      const whose = String(await scope(req) ?? '');
      const { value, replayed } = await idempotency.run(`http:${idempotency.keyOf([whose, key])}`,
        () => this.#answer(made, res, next), { ...run, payload, storeFailures: false });
      if (!replayed || made.recording?.isPassing) return made.recording.send();
      made.recording?.discard();
      return replay(res, value);
    } catch (error) {
      // Whatever has become of the key, the handler's answer is true.
      if (made.recording?.isEnded) return made.recording.send();
      return made.recording === undefined ? refuse(res, error, next) : made.recording.discard();
    }
  }

  /** Has the request answered. @returns {Promise<object>} what is stored */
  async #answer (made, res, next) {
    const { maxResponse, storeServerErrors } = this.#options;
    made.recording = new Recording(res, maxResponse);
    next();
    const { status, headers, body } = await untilEnded(res, made.recording, this.#patience);
    if (status >= 500 && !storeServerErrors) {
      throw new NotStored('ERR_IDEMPOTENCY_SERVER_ERROR', 'A server error is not stored');
    }
    return { status, headers, body: body?.toString('base64') };
  }
}

function refuseKey (res, header) {
  if (header === undefined) {
    return problem(res, 400, {
      code: CODE.missing, title: 'Idempotency-Key is missing',
      detail: 'This request needs the header Idempotency-Key.',
    });
  }
  return problem(res, 400, {
    code: CODE.malformed, title: 'Idempotency-Key is malformed',
    detail: `Idempotency-Key has to be a string of 1 to ${KEY_CHARACTERS_MAX} characters in ` +
      'quotation marks, as in "8e03978e-40d5-43dd-bc93-6894a57f9324".',
  });
}

/** Makes the middleware. It has to come after the parser of bodies. */
function idempotent (options) {
  const middleware = new Middleware(options);
  return (req, res, next) => middleware.handle(req, res, next);
}

module.exports = { idempotent };
