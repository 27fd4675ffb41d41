'use strict';

// The tables of docs/errors.md, made from the table of error codes.
//
//   node test/support/errors-guide.js    regenerates them

const fs = require('node:fs');
const path = require('node:path');

const { CODES } = require('../../lib/base/error-codes');

const GUIDE = path.join(__dirname, '..', '..', 'docs', 'errors.md');
const BEGIN = '<!-- Made by test/support/errors-guide.js from lib/base/error-codes.js -->\n';
const END = '<!-- End of the tables -->\n';

/** The areas of the guide, in its order: the codes of each, and the guide that says more. */
const AREAS = [
  ['Breakers, limits, retries', /^(E(?!RR_)|ERR_(CHAOS_|(NON_)?RETRYABLE$|OPTIONS_MISMATCH$))/,
    '[Breakers](breaker.md), [policies](policies.md), [retries](retry.md)'],
  ['Options, input, packages',
    /^ERR_(INVALID_(OPTION|INPUT)|MISSING_PEER|ENGINE|BODY_(ENCODING|TOO_LARGE))$/],
  ['Shared breakers', /^ERR_(REGION_|NAME_TAKEN|SCOPE_)/,
    '[Shared breakers](shared.md)'],
  ['Midtrans', /^ERR_MIDTRANS_/, '[Midtrans](midtrans.md)'],
  ['SMTP', /^ERR_SMTP/, '[SMTP](smtp.md)'],
  ['WhatsApp', /^ERR_(WHATSAPP_|SESSION)/, '[WhatsApp](whatsapp.md)'],
  ['Store', /^ERR_STORE_/, '[The store](store.md)'],
  ['Outbox', /^ERR_OUTBOX_/, '[The outbox](store.md#outbox)'],
  ['Idempotency', /^ERR_IDEMPOTENCY_/, '[Idempotency](store.md#idempotency)'],
  ['Payments', /^ERR_PAYMENT_/, '[Payments](store.md#payments)'],
  ['Gateway and HTTP',
    new RegExp('^ERR_(ADMIN_|CHECK_|CONFIG|DEGRADED|EVENTS_|GATEWAY_|INTERNAL|LISTEN|METHOD_' +
      '|NOT_FOUND|REQUEST|SERVICE_|UNAVAILABLE|WEBHOOK_)'),
    '[The gateway](gateway.md), [the admin API](admin.md)'],
  ['Command line', /^ERR_CLI_/, '[Command line](cli.md)'],
  ['Testing', /^ERR_VIRTUAL_CLOCK/, '[Testing](testing.md)'],
];

const FAULTS = {
  caller: 'calling code', upstream: 'upstream', local: 'process', operator: 'operator',
};
const RETRY = { true: 'yes', false: 'no', undefined: 'see error' };

function rowOf (code) {
  const { class: Class, message, retryable, fault, counts = false } = CODES[code];
  return `| ${[
    `\`${code}\``, Class.replace(/[A-Z]\w+/g, '`$&`'), message.replaceAll('|', '\\|'),
    RETRY[retryable], FAULTS[fault], counts ? 'yes' : 'no',
  ].join(' | ')} |`;
}

/** The codes of each area that has some; those of no area are under the name `undefined`. */
function codesByArea () {
  const byArea = {};
  for (const code of Object.keys(CODES).toSorted()) {
    const area = AREAS.find(([, pattern]) => pattern.test(code))?.[0];
    (byArea[area] ??= []).push(code);
  }
  return byArea;
}

/** The sentence with the codes that say that nothing has happened. */
function notAsked () {
  const codes = Object.keys(CODES).filter(code => CODES[code].asked === false).toSorted();
  return 'With these codes the upstream was never called, so nothing can have happened there:\n' +
    `${codes.map(code => `\`${code}\``).join(' ')}.\n`;
}

/** The tables as Markdown. */
function tables () {
  const byArea = codesByArea();
  return AREAS.filter(([area]) => area in byArea).map(([area, , guide]) => [
    `## ${area}`, '',
    ...guide === undefined ? [] : [`More in: ${guide}.`, ''],
    '| code | class | meaning | retry | fault | counts |', '|---|---|---|---|---|---|',
    ...byArea[area].map(rowOf), '',
  ].join('\n')).join('\n');
}

/** The text of the guide with the tables in their place. */
function withTables (text) {
  const [before, rest] = text.split(BEGIN);
  const [, after] = rest.split(END);
  return `${before}${BEGIN}\n${notAsked()}\n${tables()}\n${END}${after}`;
}

if (require.main === module) fs.writeFileSync(GUIDE, withTables(fs.readFileSync(GUIDE, 'utf8')));

module.exports = { GUIDE, codesByArea, withTables };
