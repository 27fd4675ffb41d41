'use strict';

// OpenTelemetry spans around calls of breakers, retries, and messages that are sent. They carry
// names, numbers and error codes, but no arguments, results or error messages.

const { invalidOption } = require('../base/errors');
const { read, textOf } = require('../base/foreign');
const { func, is, optionsOf } = require('../base/options');
const { requirePeer } = require('../base/peer');
const { retry } = require('../primitives/retry');
const { stateOf } = require('../primitives/stats');

const OPTIONS = optionsOf({
  tracerProvider: is.having('of OpenTelemetry; default: the global one', ['getTracer']),
});

const CODE = /^[\w.-]{1,64}$/;

/** The kind of an error: its code, or its name. */
function typeOf (error) {
  return [read(error, 'code'), read(error, 'name')].map(type => textOf(type ?? ''))
    .find(type => CODE.test(type)) ?? 'error';
}

function text (option, value) {
  if (typeof value !== 'string' || value === '') throw invalidOption(option, 'a text', value);
  return value;
}

class Tracing {
  #api;
  #tracer;

  constructor (options) {
    const { tracerProvider } = OPTIONS.read(options);
    this.#api = requirePeer('@opentelemetry/api', 'createTracing');
    this.#tracer = (tracerProvider ?? this.#api.trace).getTracer('sekering');
  }

  span (name, attributes, fn) {
    text('name', name);
    func('fn', fn);
    return this.#tracer.startActiveSpan(name, { attributes }, async span => {
      try {
        return await fn(span);
      } catch (error) {
        const type = typeOf(error);
        span.setAttribute('error.type', type);
        span.setStatus({ code: this.#api.SpanStatusCode.ERROR, message: type });
        throw error;
      } finally {
        span.end();
      }
    });
  }

  breaker (breaker) {
    func('breaker.fire', read(breaker, 'fire'));
    return (...args) => this.span(`breaker ${breaker.name}`, {
      'sekering.breaker.name': breaker.name, 'sekering.breaker.state': stateOf(breaker),
    }, () => breaker.fire(...args));
  }

  retry (name, fn, options) {
    text('name', name);
    func('fn', fn);
    let attempts = 0;
    return this.span(`retry ${name}`, {}, async span => {
      try {
        return await retry((bail, attempt) => {
          attempts = attempt;
          return this.span(`attempt ${name}`, { 'sekering.retry.attempt': attempt },
            () => fn(bail, attempt));
        }, options);
      } finally {
        span.setAttribute('sekering.retry.attempts', attempts);
      }
    });
  }

  sender (send) {
    func('send', send);
    return (message, context) => this.span(`send ${message.channel}`, {
      'messaging.system': 'sekering', 'messaging.operation.type': 'send',
      'messaging.destination.name': message.channel, 'messaging.message.id': String(message.id),
      'sekering.retry.attempt': context.attempt,
    }, () => send(message, context));
  }
}

const createTracing = options => new Tracing(options);

module.exports = { createTracing };
