'use strict';

// Gives hostile values to every function of the package: as each of its arguments, as each member
// of its options, and from each callback. Prints the calls that never settle, that fail with an
// error that is not ours, or that leave a rejection unhandled. It runs in its own process, because
// an unhandled rejection would end it.

const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { isPromise } = require('node:util/types');

const http = require('../../lib/http');
const gateways = require('../../lib/gateway');
const sekering = require('../..');
const testing = require('../../lib/testing');
const { CODES } = require('../../lib/base/error-codes');
const { IrisClient, MidtransClient } = require('../../lib/clients/midtrans');
const midtransClient = require('../../lib/clients/midtrans-client');
const { SmtpClient } = require('../../lib/clients/smtp');
const { CloudApiClient, GreenApiClient, SessionPool } = require('../../lib/clients/whatsapp');
const OpossumBreaker = require('../../lib/primitives/opossum');
const { operation } = require('../../lib/primitives/operation');
const { openStore } = require('../../lib/store');
const { ROOT } = require('./setup');
const { listFunctions } = require('./entrances');
const { CALLBACKS, LOSSY, MEMBER_VALUES, VALUES, boom } = require('./hostile');

// No call takes this long: one that has not settled by then never will.
const WATCHDOG_MS = 60_000;

const { exports: SUBPATHS } = require(`${ROOT}/package.json`);

const one = async () => 1;
const failing = async () => { throw Object.assign(new Error('failed'), { bail: true }); };
const TO = '6281234567890';
const mail = { from: 'a@shop.example', to: 'b@shop.example', subject: 's', text: 'x' };
const orderOf = id => ({ transaction_details: { order_id: id, gross_amount: 1000 } });
const jobOf = () => ({ channel: 'JOB', recipient: 'a', body: 'x' });
const faultsOf = () => ({ faults: [{ rate: 1, result: one }] });
const retry = { retries: 1, minTimeout: 0, maxTimeout: 0 };

const requestOf = () => ({
  method: 'POST', url: '/a', originalUrl: '/a', path: '/a', baseUrl: '', query: {}, params: {},
  headers: { 'idempotency-key': '"key"' }, body: {}, rawBody: Buffer.from('{}'),
  get: () => undefined, once () {}, on () {}, off () {},
});

function responseOf () {
  const res = {
    statusCode: 200, headersSent: false, getHeaders: () => ({}), getHeaderNames: () => [],
    once () {}, on () {}, off () {}, write: () => true, destroy () {},
  };
  for (const name of ['setHeader', 'removeHeader', 'end', 'writeHead', 'flushHeaders', 'status',
    'json', 'send', 'set', 'type']) res[name] = () => res;
  return res;
}

/** The objects that the functions belong to, by the names in entrances.js. */
async function makeSubjects () {
  const [midtransFake, smtpFake, whatsAppFake] = await Promise.all([
    testing.startMidtransFake(), testing.startSmtpFake(), testing.startWhatsAppFake()]);
  const proxy = await testing.startTcpProxy({ target: smtpFake.port });
  const midtrans = new MidtransClient({
    serverKey: 'SB-Mid-server-planted', retry, breaker: false,
    baseUrls: { snap: midtransFake.url, core: midtransFake.url },
  });
  const iris = new IrisClient({
    apiKey: 'IRIS-creator-fake', retry, breaker: false, baseUrls: { iris: midtransFake.url },
  });
  const store = await openStore({ memory: true, payments: { midtrans }, channels: { JOB: {} } });
  const transport = { sendMail: async () => ({ messageId: '1' }), verify: async () => true };
  const sessionFake = testing.startSessionFake();
  const sessions = new SessionPool({
    connect: sessionFake.connect, retry: false, reconnect: false
  });
  await sessionFake.connect('a');
  const gateway = await gateways.createGateway({
    profile: 'testing', store: { memory: true }, upstreams: { stock: {} },
    midtrans: {
      serverKey: 'SB-Mid-server-planted', snapUrl: midtransFake.url, coreUrl: midtransFake.url
    },
    logging: { level: 'silent' },
  }, { senders: { JOB: one } });
  const breaker = () => new sekering.CircuitBreaker(one, { volumeThreshold: 1e6 });
  const theirs = () => new OpossumBreaker(one, { volumeThreshold: 1e6 });
  const group = () => new sekering.BreakerGroup(one);
  const fresh = make => ({ get value () { return make(); } });
  const official = name => {
    const client = new midtransClient[name]({ serverKey: 'SB-Mid-server-planted' },
      { retry: false, breaker: false });
    for (const api of ['Core', 'Snap', 'Iris']) {
      client.apiConfig[`get${api}ApiBaseUrl`] = () => midtransFake.url;
    }
    return client;
  };
  midtransClient.SnapBiConfig.getBaseUrl = () => midtransFake.url;
  return {
    CircuitBreaker: fresh(breaker), ':policy().breaker': fresh(breaker),
    BreakerGroup: fresh(group), 'BreakerMiddleware.breakers': fresh(group),
    'SessionPool.breakers': fresh(group),
    ':policy().cache': fresh(() => sekering.staleCache()),
    Hedge: fresh(() => sekering.hedge({ safeToRepeat: true, delay: 1 })),
    Chaos: fresh(() => sekering.chaos(faultsOf())),
    LoadShedder: fresh(() => new sekering.LoadShedder()),
    Bulkhead: fresh(() => new sekering.Bulkhead({ maxConcurrent: 1 })),
    AdaptiveLimiter: fresh(() => new sekering.AdaptiveLimiter()),
    RateLimiter: fresh(() => new sekering.RateLimiter({ limit: 1, interval: 1000 })),
    Timeout: fresh(() => new sekering.Timeout(1000)),
    RetryOperation: fresh(() => {
      const attempts = operation(retry);
      attempts.attempt(() => {});
      return attempts;
    }),
    Semaphore: fresh(() => new sekering.CircuitBreaker.Semaphore(1)),
    MemoryCache: fresh(() => new sekering.CircuitBreaker.MemoryCache()),
    'opossum:prototype': fresh(theirs), 'opossum/lib/circuit:prototype': fresh(theirs),
    'opossum/lib/circuit.js:prototype': fresh(theirs),
    'opossum/lib/cache:prototype': fresh(() => new sekering.CircuitBreaker.MemoryCache()),
    Status: fresh(() => breaker().status),
    MidtransClient: { value: midtrans }, IrisClient: { value: iris },
    MidtransFake: { value: midtransFake },
    Snap: fresh(() => official('Snap')), CoreApi: fresh(() => official('CoreApi')),
    Iris: fresh(() => official('Iris')), SnapBi: fresh(() => midtransClient.SnapBi.va()),
    ApiConfig: fresh(() => official('Snap').apiConfig),
    HttpClient: fresh(() => official('Snap').httpClient),
    Http: fresh(() => official('Snap').httpClient.http_client),
    Transaction: fresh(() => official('Snap').transaction),
    SmtpFake: { value: smtpFake }, WhatsAppFake: { value: whatsAppFake },
    TcpProxy: { value: proxy }, SessionFake: { value: sessionFake },
    SmtpClient: fresh(() => new SmtpClient({ transport, retry })),
    CloudApiClient: fresh(() => new CloudApiClient({ ...whatsAppFake.cloud, retry })),
    GreenApiClient: fresh(() => new GreenApiClient({ ...whatsAppFake.green, retry })),
    SessionPool: { value: sessions },
    Store: { value: store }, Outbox: { value: store.outbox },
    DeadLetters: { value: store.deadLetters }, Deliveries: { value: store.deliveries },
    Idempotency: { value: store.idempotency }, Payments: { value: store.payments },
    Fleet: { value: store.fleet },
    OutboxWorker: fresh(() => store.outbox.createWorker({ channels: { JOB: one } })),
    Degradation: fresh(() => gateways.createDegradation()),
    Health: fresh(() => gateways.createHealth({ checks: {} })),
    Gateway: { value: gateway }, Schedule: { value: gateway.schedule },
    Audit: { value: http.createAudit() }, EventStream: { value: http.createEventStream() },
    BreakerHistory: { value: http.createBreakerHistory() },
    Metrics: { value: http.createMetrics() },
    ClusterMetrics: { value: http.createClusterMetrics() },
    Tracing: fresh(() => http.createTracing()),
    VirtualClock: fresh(virtualClock),
  };
}

let clock;
function virtualClock () {
  clock?.restore();
  clock = testing.useVirtualClock();
  return clock;
}

/** Valid arguments, by function. A factory creates new ones for each call. */
const emitterArgs = () => ['event', () => {}];
const ARGS = {
  ':CircuitBreaker.newStatus': () => [{}],
  // A time limit would hide a call that never settles.
  'new :CircuitBreaker': () => [one, { timeout: false }],
  'new :CircuitBreaker.Status': () => [{}],
  'new :CircuitBreaker.Semaphore': () => [1],
  'new :CircuitBreaker.MemoryCache': () => [1],
  'new :BreakerGroup': () => [one, { timeout: false }],
  'new :Bulkhead': () => [{ maxConcurrent: 1 }],
  'new :AdaptiveLimiter': () => [{ isOverload: one }],
  'new :LoadShedder': () => [{}], 'LoadShedder.execute': () => [one, {}],
  'new :RateLimiter': () => [{ limit: 1, interval: 1000 }],
  'new :RetryBudget': () => [{}],
  'new :Timeout': () => [{ initial: 1000 }],
  'new :SekeringError': () => ['ETIMEDOUT', 'message', {}],
  'new :RetryableError': () => ['message', {}], 'new :NonRetryableError': () => ['message', {}],
  'new store:StoreError': () => ['ERR_STORE_CLOSED', 'message', {}],
  'new retry:RetryOperation': () => [[1], {}],
  ':retry': () => [one, { ...retry }], ':retry.retryable': () => [one, { ...retry }],
  ':retryOn': () => [{}], ':retryOn()': () => [new Error('x'), 1],
  ':fallbackChain': () => [[one], {}], ':fallbackChain()': () => [1, new Error('x')],
  ':fallbackChain().answer': () => [new Error('x'), { args: [1] }],
  ':fallbackChain().execute': () => [one, { args: [1] }],
  ':fallbackChain().remember': () => [1, { args: [1] }],
  ':policy': () => [{}], ':policy().wrap': () => [one, {}], ':policy().wrap()': () => [1],
  ':policy().wrap().answer': () => [1], ':policy().fallback': () => [1],
  ':policy().execute': () => [one, {}], ':policy().answer': () => [one, {}],
  ':withDeadline': () => [1e6, one, {}], ':timeLeft': () => [new AbortController().signal],
  ':deadlineHeaders': () => [new AbortController().signal],
  ':readDeadlineHeaders': () => [{ 'grpc-timeout': '1S' }],
  ':hedge': () => [{ safeToRepeat: true, delay: 1 }], 'Hedge.execute': () => [one, {}],
  ':chaos': () => [faultsOf()], 'Chaos.execute': () => [one, {}], 'Chaos.wrap': () => [one],
  'Chaos.wrap()': () => [1],
  ':protect': () => [{ ask: one }, { methods: ['ask'] }],
  ':staleCache': () => [{}], ':staleCache().fetch': () => ['key', one, {}],
  ':policy().cache.fetch': () => ['key', one, {}],
  ':preset': () => ['http'], ':profile': () => ['http'], ':regions.remove': () => ['nothing'],
  'CircuitBreaker.run': () => [one, {}], ':policy().breaker.run': () => [one, {}],
  'CircuitBreaker.fallback': () => [one], ':policy().breaker.fallback': () => [one],
  'CircuitBreaker.healthCheck': () => [one, 1e6],
  ':policy().breaker.healthCheck': () => [one, 1e6],
  'AdaptiveLimiter.execute': () => [one, {}],
  'Bulkhead.execute': () => [one, {}], 'RateLimiter.execute': () => [one, {}],
  'Timeout.execute': () => [one, {}],
  'RetryOperation.attempt': () => [() => {}, {}],
  'retry:createTimeout': () => [1, {}], 'retry:operation': () => [{ ...retry }],
  'retry:timeouts': () => [{ ...retry }],
  'retry:wrap': () => [{ ask (done) { done(); } }, { ...retry }, ['ask']],
  'midtrans:advance': () => ['pending', 'settlement', {}],
  'midtrans:canMove': () => ['pending', 'settlement', {}],
  'midtrans:isPaid': () => [{ transaction_status: 'settlement' }],
  'new midtrans:MidtransClient': () => [{ serverKey: 'SB-Mid-server-planted' }],
  'new midtrans:IrisClient': () => [{ apiKey: 'planted' }],
  'MidtransClient.statusb2b': () => ['a', {}],
  'MidtransClient.cardPointInquiry': () => ['a', {}],
  'MidtransClient.getPaymentAccount': () => ['a', {}],
  'MidtransClient.unlinkPaymentAccount': () => ['a', {}],
  'MidtransClient.getSubscription': () => ['a', {}],
  'MidtransClient.disableSubscription': () => ['a', {}],
  'MidtransClient.enableSubscription': () => ['a', {}],
  'MidtransClient.cancelSubscription': () => ['a', {}],
  'MidtransClient.createTransactionToken': () => [orderOf('a'), {}],
  'MidtransClient.createTransactionRedirectUrl': () => [orderOf('a'), {}],
  'MidtransClient.cardRegister': () => [{ client_key: 'a' }, {}],
  'MidtransClient.cardToken': () => [{ client_key: 'a' }, {}],
  'MidtransClient.linkPaymentAccount': () => [{}, {}],
  'MidtransClient.createSubscription': () => [{ amount: 1 }, {}],
  'MidtransClient.updateSubscription': () => ['a', {}, {}],
  'MidtransClient.request': () => ['GET', '/v2/a/status', {}, {}],
  'IrisClient.createPayouts': () => [{ payouts: [{
    amount: 1, beneficiary_name: 'a', beneficiary_account: '1', beneficiary_bank: 'bca'
  }] }, {}],
  'IrisClient.approvePayouts': () => [{ reference_nos: ['a'] }, {}],
  'IrisClient.rejectPayouts': () => [{ reference_nos: ['a'] }, {}],
  'IrisClient.getTransactionHistory': () => [{}, {}],
  'IrisClient.createBeneficiaries': () => [{}, {}],
  'IrisClient.updateBeneficiaries': () => ['a', {}, {}],
  'IrisClient.validateBankAccount': () => [{}, {}],
  'IrisClient.request': () => ['GET', '/ping', {}, {}],
  'IrisClient.getPayoutDetails': () => ['a', {}],
  'IrisClient.getFacilitatorBalance': () => ['a', {}],
  'IrisClient.getBeneficiaries': () => [{}],
  'IrisClient.getBeneficiaryBanks': () => [{}],
  'IrisClient.getTopupChannels': () => [{}],
  'IrisClient.getBalance': () => [{}],
  'IrisClient.getFacilitatorBankAccounts': () => [{}],
  'IrisClient.ping': () => [{}],
  'MidtransClient.createTransaction': () => [orderOf('a'), {}],
  'MidtransClient.charge': () => [{ payment_type: 'gopay', ...orderOf('a') }, {}],
  'MidtransClient.capture': () => [{ transaction_id: 'a', gross_amount: 1 }, {}],
  'MidtransClient.refund': () => ['a', {}, {}], 'MidtransClient.directRefund': () => ['a', {}, {}],
  'MidtransClient.verifyNotification': () => [{}, {}],
  'MidtransClient.confirmNotification': () => [{}, {}],
  'MidtransClient.ping': () => [{}],
  'HttpClient.request': subjects => ['get', 'key', `${subjects.MidtransFake.value.url}/a`],
  'HttpClient.http_client': subjects => [
    { method: 'post', url: `${subjects.MidtransFake.value.url}/a`, data: {}, headers: {} }],
  'new smtp:SmtpError': () => [new Error('x'), {}],
  'new smtp:SmtpClient': () => [{ transport: { sendMail: one } }],
  'SmtpClient.send': () => [{ ...mail }, {}], 'SmtpClient.check': () => [{ ...mail }],
  'SmtpClient.verify': () => [{}], 'SmtpClient.pause': () => [1],
  'new whatsapp:CloudApiClient': () => [{ accessToken: 'planted', phoneNumberId: '1' }],
  'new whatsapp:GreenApiClient': () => [{ instanceId: '1', token: 'planted' }],
  'new whatsapp:SessionPool': () => [{ connect: one, retry: false, reconnect: false }],
  'new whatsapp:SessionError': () => ['a', new Error('x')],
  'CloudApiClient.send': () => [{ to: TO, type: 'text', text: { body: 'x' } }, {}],
  'CloudApiClient.check': () => [{ to: TO, type: 'text', text: { body: 'x' } }],
  'CloudApiClient.sendText': () => [TO, 'x', {}],
  'CloudApiClient.sendTemplate': () => [TO, { name: 'x', language: 'id' }, {}],
  'CloudApiClient.uploadMedia': () => [{ data: Buffer.from('x'), type: 'image/png' }, {}],
  'CloudApiClient.ping': () => [{}], 'CloudApiClient.pause': () => [TO, 1],
  'CloudApiClient.handleWebhook': () => ['{}', 'sha256=00'],
  'CloudApiClient.receiveWebhook': () => ['{}', 'sha256=00', {}],
  'CloudApiClient.markRead': () => ['wamid.1', {}],
  'GreenApiClient.handleWebhook': () => [{ typeWebhook: 'x' }, 'Bearer green-webhook-token'],
  'GreenApiClient.receiveWebhook': () => [{ typeWebhook: 'x' }, 'Bearer green-webhook-token', {}],
  'GreenApiClient.markRead': () => ['x', { chat: TO }],
  'GreenApiClient.sendTyping': () => [TO, {}],
  'GreenApiClient.sendFile': () => [TO, { url: 'https://a.test/a.png', filename: 'a.png' }, {}],
  'whatsapp:fromBaileys': () => [one], 'whatsapp:fromWhatsappWeb': () => [one],
  'WhatsAppFake.incomingOf': () => ['62812', 'x'],
  'WhatsAppFake.greenWebhookOf': () => ['x', {}],
  'Deliveries.handleOnce': () => [[], String, one],
  'CloudApiClient.handshake': () => [{}],
  'CloudApiClient.verifySignature': () => ['{}', 'sha256=00'],
  'GreenApiClient.send': () => [{ to: TO, message: 'x' }, {}],
  'GreenApiClient.check': () => [{ to: TO, message: 'x' }],
  'GreenApiClient.sendText': () => [TO, 'x', {}], 'GreenApiClient.ping': () => [{}],
  'SessionFake.scan': () => ['a'], 'SessionFake.disconnect': () => ['a', 428, 'closed'],
  'SessionPool.send': () => ['a', TO, { text: 'x' }, {}],
  'SessionPool.markRead': () => ['a', { remoteJid: TO, id: 'x' }, {}],
  'SessionPool.sendTyping': () => ['a', TO, {}],
  'SessionPool.connect': () => ['a', {}], 'SessionPool.requestQr': () => ['a', {}],
  'store:openStore': () => [{ memory: true }],
  'Store.query': () => ['SELECT 1', []], 'Store.transaction': () => [one],
  'Store.listen': () => ['channel', () => {}], 'Store.cleanUp': () => [{}],
  'Outbox.enqueue': () => [jobOf(), {}], 'Outbox.registerChannel': () => ['OTHER', {}],
  'Outbox.createWorker': () => [{ channels: { JOB: one } }],
  'Outbox.list': () => [{}], 'Outbox.stats': () => [{}], 'OutboxWorker.stop': () => [{}],
  'DeadLetters.add': () => [{ ...jobOf() }, 'reason', {}], 'DeadLetters.count': () => [{}],
  'DeadLetters.list': () => [{}], 'DeadLetters.purge': () => [{ olderThan: 1e12 }],
  'DeadLetters.retryMany': () => [{}], 'DeadLetters.recover': () => [{}, {}],
  'Deliveries.failures': () => [{}], 'Idempotency.run': () => ['key', one, {}],
  'Payments.open': () => [orderOf('b'), {}], 'Payments.defer': () => [orderOf('c'), {}],
  'Payments.createOrder': () => [{ orderId: 'd', amountMinor: 1000 }, {}],
  'Payments.handleNotification': () => ['{}', {}],
  'Payments.list': () => [{}], 'Payments.listEvents': () => [{}], 'Payments.reconcile': () => [{}],
  'Payments.review': () => ['a', 'dismiss', { by: 'x', reason: 'y' }],
  'Fleet.join': () => [new sekering.CircuitBreaker(one, { name: 'fleet' }), {}],
  'Fleet.leave': () => [new sekering.CircuitBreaker(one, { name: 'fleet' })],
  'gateway:readConfig': () => [{}, {}],
  'gateway:createGateway': () => [{ logging: { level: 'silent' } }, {}],
  'gateway:createDegradation': () => [{}], 'gateway:createHealth': () => [{}],
  'gateway:healthChecks.worker': () => [{ running: true, lastBeat: 0, inFlight: 0 }, {}],
  'Degradation.setLevel': () => ['SEVERE', { reason: 'x' }],
  'Degradation.guard': () => [() => true, {}],
  'Gateway.payments.createOrder': () => [orderOf('e'), {}],
  'Gateway.notify': () => [jobOf(), {}], 'Gateway.report': () => [{}],
  'Gateway.upstream': () => ['stock', one, {}], 'Gateway.upstream()': () => [1],
  'Gateway.upstream().answer': () => [1],
  'http:createAdminRouter': () => [{
    tokens: [{ name: 'a', role: 'read', token: 'planted-token-0123456789' }] }],
  'http:createDeadlineMiddleware': () => [{ max: 1000 }],
  'http:createDeadlineMiddleware()': () => [requestOf(), responseOf(), () => {}],
  'http:createBreakerMiddleware': () => [{ prefixes: ['/'] }],
  'http:createBreakerMiddleware()': () => [requestOf(), responseOf(), () => {}],
  'http:createHealthRouter': subjects => [{ health: subjects.Health.value }],
  'http:createWebhookRouter': subjects => [{ payments: subjects.Payments.value }],
  'http:createMetrics': () => [{}], 'http:createTracing': () => [{}],
  'http:createClusterMetrics': () => [{}],
  'http:createAudit': () => [{}], 'http:createEventStream': () => [{}],
  'http:createBreakerHistory': () => [{}],
  'http:createApp': subjects => [subjects.Gateway.value, {}],
  'http:startServer': subjects => [subjects.Gateway.value, {}],
  'http:idempotent': subjects => [{ idempotency: subjects.Idempotency.value }],
  'http:idempotent()': () => {
    const res = responseOf();
    return [requestOf(), res, () => res.end()];
  },
  'http:notFound': () => [requestOf(), responseOf()],
  'http:problem': () => [responseOf(), 404, {}],
  'http:problemHandler()': () => [new Error('x'), requestOf(), responseOf(), () => {}],
  'http:problemHandler': () => [{ onError () {} }],
  'Metrics.handler': () => [requestOf(), responseOf()],
  'ClusterMetrics.handler': () => [requestOf(), responseOf()],
  'Audit.record': () => [{ actor: { name: 'a', role: 'read' }, action: 'x', result: 'ok' }],
  'Audit.list': () => [{}], 'EventStream.publish': () => ['a', {}],
  'BreakerHistory.read': () => [{}],
  'Tracing.span': () => ['a', {}, one], 'Tracing.retry': () => ['a', one, { ...retry }],
  'Tracing.breaker': () => [new sekering.CircuitBreaker(one)], 'Tracing.breaker()': () => [1],
  'Tracing.sender': () => [one],
  'testing:startMidtransFake': () => [{}], 'testing:startSmtpFake': () => [{}],
  'testing:startWhatsAppFake': () => [{}], 'testing:startTcpProxy': () => [{ target: 1 }],
  'testing:useVirtualClock': () => [{}],
  'SmtpFake.set': () => [{ stage: 'data' }], 'WhatsAppFake.set': () => [{ kind: 'slow' }],
  'MidtransFake.set': () => [{ kind: 'slow' }], 'TcpProxy.set': () => [{}],
  'WhatsAppFake.notify': () => ['http://127.0.0.1:1', {}, {}],
  'MidtransFake.notify': () => ['http://127.0.0.1:1', 'a', {}],
  'MidtransFake.notifyTest': () => ['http://127.0.0.1:1', {}],
  'MidtransFake.notifications': () => ['a', {}],
  'WhatsAppFake.statusOf': () => [{ id: 'a', to: TO }, 'sent', []],
  'VirtualClock.advance': () => [1], 'VirtualClock.advanceAsync': () => [1],
  'VirtualClock.block': () => [1],
};

/** Uses the object that a function has created, so that its callbacks are called, and ends it. */
const fireTwice = async breaker => {
  await Promise.allSettled([breaker.fire('x'), breaker.fire('x')]);
  const failed = new Error('of the action');
  await Promise.allSettled([breaker.run(() => Promise.reject(failed)), breaker.run(one)]);
  breaker.shutdown();
};
const closed = thing => thing?.close?.();
const AFTER = {
  'new :CircuitBreaker': fireTwice,
  'new :BreakerGroup': async group => {
    await Promise.allSettled([group.fire('x'), group.fire('x', 1)]);
    group.shutdown();
  },
  'CircuitBreaker.healthCheck': (_, breaker) => breaker.shutdown(),
  ':policy().breaker.healthCheck': (_, breaker) => breaker.shutdown(),
  'CircuitBreaker.fallback': async (_, breaker) => {
    breaker.open();
    await breaker.fire(1);
  },
  ':retry.retryable': fn => fn(),
  ':retryOn': decide => decide(new Error('x'), 1),
  ':fallbackChain': async chain => {
    const call = { args: [1] };
    await Promise.allSettled([chain.execute(failing, call), chain.remember(1, call)]);
  },
  ':policy': async made => {
    await Promise.allSettled(
      [made.execute(failing, { key: 'a' }), made.execute(one, { key: 'b' })]);
  },
  ':policy().wrap': fn => fn(1), 'Chaos.wrap': fn => fn(1),
  ':hedge': made => Promise.allSettled([made.execute(failing), made.execute(one)]),
  ':chaos': made => Promise.allSettled([made.execute(one), made.wrap(one)()]),
  ':protect': client => client.ask(1),
  ':staleCache': cache => Promise.allSettled([cache.fetch('a', failing), cache.fetch('a', one)]),
  'retry:wrap': (_, __, [object]) => { object.ask?.(() => {}); },
  'new smtp:SmtpClient': client => Promise.allSettled([client.send({ ...mail })])
    .finally(() => client.close()),
  'new whatsapp:SessionPool': pool => Promise.allSettled([pool.connect('a')])
    .finally(() => pool.close()),
  'new midtrans:MidtransClient': closed, 'new midtrans:IrisClient': closed,
  'new whatsapp:CloudApiClient': closed,
  'new whatsapp:GreenApiClient': closed,
  'store:openStore': closed, 'testing:startMidtransFake': closed, 'testing:startSmtpFake': closed,
  'testing:startWhatsAppFake': closed, 'testing:startTcpProxy': closed,
  'http:createBreakerHistory': closed, 'http:createEventStream': closed, 'http:startServer': closed,
  'http:createMetrics': closed, 'http:createClusterMetrics': closed,
  'testing:useVirtualClock': made => made.restore(),
  'VirtualClock.advance': (_, made) => made.restore(),
  'VirtualClock.advanceAsync': (_, made) => made.restore(),
  'VirtualClock.block': (_, made) => made.restore(),
  'gateway:createGateway': gateway => gateway.stop(),
  'gateway:createHealth': health => health.check(),
  'gateway:createDegradation': degradation => degradation.close?.(),
  'Gateway.upstream': fn => fn(1),
  'Store.listen': stop => stop?.(),
  'Outbox.createWorker': worker => worker.stop?.(),
};

/** Functions that are left out, and why. */
const LEFT_OUT = [
  [/^browser:/, 'they run on a page only'],
  [/\.(action|predicate)$/, "the user's own function"],
  [/^decorators:\w+\(\)$/, 'what a compiler calls'],
  [/^RetryOperation\.(attempt|try|start)$/, 'it calls the function from a timer, as `retry` does'],
  [/^HealthCheck\.check$/, "the user's own function"],
  [/^Gateway\.stop$/, 'the gateway is needed afterwards'],
  [/^Tracing\.sender\(\)$/, 'what a worker calls, with values of its own'],
];

/** Functions that may fail with any error, because they run the user's code. But they settle. */
const ANY_ERROR = [
  [/\.(on|once|off|addListener|removeListener|prepend\w+)$/, 'EventEmitter of Node.js'],
  [/^http:(createApp|startServer)$/, 'the gateway is a part of ours'],
  [/Fake\.notify/, 'what fetch() says'],
  [/^(Degradation\.guard\(\)|http:(\w+\(\)|notFound|problem)|(Cluster)?Metrics\.handler)$/,
    'the channel to a client'],
  [/^new (\w*:)\w+Error$/, 'as Error has it'],
  [/^whatsapp:laterStatus$/, 'it returns a status that it does not know'],
  [/fallback$/, "the user's own fallback, as opossum takes it"],
  [/^(new )?retry:|^RetryOperation\./, 'as the package `retry` has it'],
  [/^(new )?midtrans-client:/, 'as the package midtrans-client has it'],
  [/^(ApiConfig|CoreApi|Http|HttpClient|Iris|Snap|SnapBi|Transaction)\./,
    'as the package midtrans-client has it'],
];

/** Functions that do not wait for their callbacks, as in the package that they replace. */
const UNWATCHED = /^RetryOperation\.|^(http:\w+|Degradation\.guard)\(\)$/;

const faults = new Set();
let current = 'nothing';
let calls = 0;
const blame = what => faults.add(`${current}: ${what}`);

process.on('unhandledRejection', () => blame('an unhandled rejection'));
process.on('uncaughtException', () => blame('an uncaught exception'));
process.on('warning', () => {});

const isReadable = error => {
  try {
    return typeof error?.code === 'string' && error instanceof Error;
  } catch {
    return false;
  }
};
const isOurs = error => isReadable(error) &&
  (Object.hasOwn(CODES, error.code) || /^(ERR_|E[A-Z]+$|[A-Z_]+$)/.test(error.code));

function show (error) {
  try {
    const place = /\/(lib\/.*?)\)?\n/.exec(`${error?.stack}\n`)?.[1];
    return `${error?.name}: ${error?.message} (${place})`;
  } catch {
    return 'an error that cannot be read';
  }
}

/** Lets what the loop has to do come to pass. */
const turn = () => new Promise(resolve => { setImmediate(resolve); });

/** Calls a function once, and waits until everything that follows has ended. */
async function attempt (call, isCallback) {
  calls += 1;
  let timer;
  const watchdog = new Promise(resolve => {
    timer = setTimeout(() => resolve('late'), WATCHDOG_MS);
  });
  const outcome = (async () => { await call(); })().then(() => 'done', error => {
    if (!isCallback && !isOurs(error)) blame(`it fails with ${show(error)}`);
  });
  if (await Promise.race([outcome, watchdog]) === 'late') blame('it does not settle');
  clearTimeout(timer);
  await turn();
}

/** What a function of the user's does is its own affair. */
const isCallable = make => typeof make() === 'function';

const leftOut = name => LEFT_OUT.some(([pattern]) => pattern.test(name));

const RETURNING = LOSSY.map(([name, make]) =>
  [`a function that returns ${name}`, () => () => make()]);

const callbacksOf = (name, takesFunction) =>
  (takesFunction && !UNWATCHED.test(name) ? [...CALLBACKS, ...RETURNING] : []);

class Prober {
  #subjects;

  constructor (subjects) { this.#subjects = subjects; }

  /** What `name` stands for. */
  #resolve (name) {
    if (name in this.#subjects) return this.#subjects[name].value;
    if (name.endsWith('()')) {
      const inner = name.slice(0, -2);
      return this.#callable(inner)(...this.#args(inner));
    }
    const dot = name.lastIndexOf('.');
    const colon = name.lastIndexOf(':');
    if (dot > colon) return this.#resolve(name.slice(0, dot))[name.slice(dot + 1)];
    const [subpath, member] = [name.slice(0, colon), name.slice(colon + 1)];
    const module = SUBPATHS[subpath === '' ? '.' : `./${subpath}`];
    return require(`${ROOT}/${module.default}`)[member];
  }

  /** A function that calls what `name` stands for. */
  #callable (name) {
    if (name.startsWith('new ')) {
      const Class = this.#resolve(name.slice(4));
      return (...args) => new Class(...args);
    }
    const dot = name.lastIndexOf('.');
    if (dot > name.lastIndexOf(':') && !name.endsWith('()')) {
      const owner = this.#resolve(name.slice(0, dot));
      const method = name.slice(dot + 1);
      const bound = (...args) => owner[method](...args);
      bound.owner = owner;
      return bound;
    }
    return this.#resolve(name);
  }

  #args (name) { return ARGS[name]?.(this.#subjects) ?? []; }

  async probe (name, parameters) {
    const isLenient = ANY_ERROR.some(([pattern]) => pattern.test(name));
    const isEmitter = /\.(on|once|off|addListener|removeListener|prepend\w+)$/.test(name);
    const valid = () => (isEmitter ? emitterArgs() : this.#args(name));
    const go = async (what, change, isCallback) => {
      current = `${name}: ${what}`;
      const args = valid();
      change(args);
      await attempt(async () => {
        const call = this.#callable(name);
        const result = call(...args);
        const made = isPromise(result) ? await result : result;
        await AFTER[name]?.(made, call.owner, args);
      }, isCallback || isLenient);
    };
    for (const [i, { takesFunction, members }] of parameters.entries()) {
      for (const [kind, make] of VALUES) {
        if (UNWATCHED.test(name) && isCallable(make)) continue;
        await go(`${kind} as argument ${i + 1}`, args => { args[i] = make(); }, isCallable(make));
      }
      for (const [kind, make] of callbacksOf(name, takesFunction)) {
        await go(`${kind} as argument ${i + 1}`, args => { args[i] = make(); }, true);
      }
      for (const [member, isFunction] of members) {
        const lay = make => args => { args[i] = { ...args[i], [member]: make() }; };
        for (const [kind, make] of MEMBER_VALUES) {
          await go(`${kind} as ${member}`, lay(make), isCallable(make));
        }
        await go(`a ${member} that cannot be read`, args => {
          args[i] = Object.defineProperty({ ...args[i] }, member,
            { get () { throw boom; }, enumerable: true });
        }, false);
        for (const [kind, make] of callbacksOf(name, isFunction)) {
          await go(`${kind} as ${member}`, lay(make), true);
        }
      }
    }
  }
}

async function main () {
  // A gateway without a store keeps its data in the current folder.
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'sekering-hostile-'));
  process.chdir(folder);
  process.on('exit', () => fs.rmSync(folder, { recursive: true, force: true }));
  const pattern = new RegExp(process.argv[2] ?? '');
  const subjects = await makeSubjects();
  const prober = new Prober(subjects);
  for (const [name, parameters] of Object.entries(listFunctions())) {
    if (leftOut(name) || !pattern.test(name)) continue;
    await prober.probe(name, parameters);
  }
  current = 'the end';
  await turn();
  fs.writeSync(process.stdout.fd, `\n${JSON.stringify({ calls, faults: [...faults] })}\n`);
  process.exit(0);
}

main();
