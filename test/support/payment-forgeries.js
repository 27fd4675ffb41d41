'use strict';

// Notifications that nobody should believe: not JSON, of the wrong grammar, or not signed. None of
// them leaves a signed part and the signature as they were.

const FIELDS = ['order_id', 'status_code', 'gross_amount', 'signature_key'];

/** A generator of numbers below `max` that gives the same ones each time. */
function random (seed) {
  let state = seed;
  return max => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor(state / 2 ** 32 * max);
  };
}

const ODD_VALUES = [
  undefined, null, '', 0, -1, 1e21, true, [], {}, ['200'], { toString: 'x' }, 'NaN', '200 ', ' 200',
  '２００', '1e4', '0x10', '10000', '10000.0', '10000.000', '-1.00', '+1.00', '.00', '9'.repeat(400),
  'a'.repeat(51), '../../etc', '..', "' OR 1=1 --", '\0', '\ud800', '💸', '__proto__', 'a/b', 'a?b',
  'forged-200\r\nX: y', '0'.repeat(128), 'f'.repeat(127),
];

const MAKERS = [
  // Half of it, and bytes that are no UTF-8.
  (body, text, pick) => text.slice(0, pick(text.length - 1)),
  (body, text, pick) => {
    const bytes = Buffer.from(text);
    bytes[pick(bytes.length)] = 0xff;
    return bytes;
  },
  // Not an object.
  (body, text, pick) => ['', 'null', '[]', '1', '"a"', '{', `[${text}]`, '<html>', '[[[['][pick(9)],
  (body, text, pick) => Buffer.from(Array.from({ length: pick(200) }, () => pick(256))),
  (body, text, pick) => '['.repeat(1000 + pick(60_000)),
  // Too large.
  body => JSON.stringify({ ...body, padding: 'x'.repeat(65_536) }),
  // A signed part, or the signature, is something else.
  (body, text, pick) => JSON.stringify({
    ...body, [FIELDS[pick(FIELDS.length)]]: ODD_VALUES[pick(ODD_VALUES.length)],
  }),
  (body, text, pick) => {
    const field = FIELDS[pick(FIELDS.length)];
    const at = pick(body[field].length);
    const change = String.fromCharCode(body[field].charCodeAt(at) ^ (1 << pick(5)));
    return JSON.stringify({
      ...body, [field]: body[field].slice(0, at) + change + body[field].slice(at + 1),
    });
  },
  // A random signature of the right form.
  (body, text, pick) => JSON.stringify({
    ...body,
    signature_key: Array.from({ length: 128 }, () => pick(16).toString(16)).join(''),
  }),
  // Digits that move from one part to the next.
  body => JSON.stringify({
    ...body, order_id: body.order_id.slice(0, -3), status_code: body.order_id.slice(-3),
    gross_amount: `${body.status_code}${body.gross_amount}`,
  }),
  // What is acted upon beyond the signature is of the wrong form.
  (body, text, pick) => JSON.stringify({
    ...body, [['transaction_id', 'transaction_status'][pick(2)]]:
      [undefined, null, 5, '', {}, 'a\nb', '\u2028', 'a'.repeat(256), '\0'][pick(9)],
  }),
  (body, text, pick) => JSON.stringify({
    ...body, ...[{ fraud_status: 5 }, { fraud_status: '<' }, { currency: 'rupiah' },
      { currency: 1 }, { refunds: {} }, { refunds: 'none' }][pick(6)],
  }),
];

/** The same notifications each time. */
function* forgeries (body, count, seed = 20_231_115) {
  const pick = random(seed);
  const text = JSON.stringify(body);
  for (let i = 0; i < count;) {
    const forgery = MAKERS[i % MAKERS.length](body, text, pick);
    // A change that is none: the letters of a signature may be large.
    if (isTrue(forgery, body)) continue;
    i += 1;
    yield forgery;
  }
}

function isTrue (forgery, body) {
  try {
    const parsed = JSON.parse(String(forgery));
    return Buffer.byteLength(forgery) <= 65_536 &&
      parsed.signature_key.toLowerCase() === body.signature_key &&
      Object.keys(body).every(name => name === 'signature_key' ||
        JSON.stringify(parsed[name]) === JSON.stringify(body[name]));
  } catch {
    return false;
  }
}

module.exports = { forgeries };
