'use strict';

// A messaging back end: customers write on WhatsApp, and a language model answers. The model goes
// down, then the WhatsApp provider; what could not be sent is sent later.

const { circuitBreakers, getCircuitBreaker, isRetryable, policy, presets, resetCircuitBreakers } =
  require('sekering');
const { createDegradation, createGateway } = require('sekering/gateway');

// Stand-ins for the services.
const down = new Set();
function check (service) {
  if (!down.has(service)) return;
  throw Object.assign(new Error(`${service} is down`), { code: `DOWN_${service}`, status: 503 });
}
async function askModel (question) {
  check('AI');
  return `The answer to "${question}"`;
}
async function sendWhatsApp (to, text) {
  check('WHATSAPP');
  console.log(`to ${to}: ${text}`);
}

// Any module can get these breakers by name.
getCircuitBreaker('ai', presets.aiProvider);
getCircuitBreaker('whatsapp', presets.greenApi);

async function main () {
  const gateway = await createGateway({
    profile: 'testing',
    store: { memory: true }, // In production: { url } of a PostgreSQL
    outbox: { maxAttempts: 1 }, // In production 5; here 1, so that the example ends soon.
    // In production '*/5 * * * *', the default. Here it is run by hand, below.
    schedule: { deadLetters: false, cleanUp: '30 3 * * *', retentionDays: 7 },
    logging: { level: 'silent' },
  }, {
    senders: {
      WHATSAPP: ({ recipient, body }) =>
        getCircuitBreaker('whatsapp').run(() => sendWhatsApp(recipient, body)),
    },
    // What to do with dead letters, by kind.
    recovery: { DOWN_WHATSAPP: () => 'retry', BLOCKED_NUMBER: () => 'drop' },
  });
  const degradation = createDegradation({
    scheme: 'levels', features: { assistant: 'MINOR' },
    services: { ai: getCircuitBreaker('ai'), whatsapp: getCircuitBreaker('whatsapp') },
  });
  degradation.on('level', ({ to, reason }) => console.log(`level ${to} (${reason})`));
  await Promise.all([gateway.start(), degradation.start()]);

  // A canned text in place of the model, a queue in place of WhatsApp.
  const ask = policy({
    fallback: [{ value: 'A colleague will answer you soon.' }],
    retry: { strategy: 'fibonacci', retries: 2, minTimeout: 1, shouldRetry: isRetryable },
    breaker: getCircuitBreaker('ai'),
  }).wrap(askModel);
  const send = policy({
    fallback: [{
      queue: (to, text) => gateway.notify({ channel: 'WHATSAPP', recipient: to, body: text }),
    }],
    breaker: getCircuitBreaker('whatsapp'),
  }).wrap(sendWhatsApp);
  const reply = async (to, question) => {
    const text = degradation.isEnabled('assistant') ? await ask(question) : 'We are busy.';
    return send(to, text);
  };

  await reply('+6281200000001', 'When do you open?');
  down.add('AI');
  await reply('+6281200000002', 'And on Sunday?');
  await reply('+6281200000003', 'Where are you?');

  const letter = new Promise(resolve => { gateway.store.deadLetters.once('arrival', resolve); });
  down.add('WHATSAPP');
  const { queued } = await reply('+6281200000004', 'Hello?');
  const { kind, attemptCount } = await letter;
  console.log({ queued, kind, attemptCount });

  down.clear();
  resetCircuitBreakers();
  const sent = new Promise(resolve => { gateway.worker.once('sent', resolve); });
  await gateway.schedule.run('deadLetters');
  await sent;

  const { status } = await gateway.health.check();
  console.log(status, circuitBreakers().map(({ name, closed }) => ({ name, closed })));
  degradation.stop();
  await gateway.stop();
}

main();
