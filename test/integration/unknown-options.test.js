'use strict';

// Unknown options are rejected everywhere, so that a misspelt one cannot be ignored. The entrances
// are read from the type declarations: each of them needs a line here.

const {
  createDegradation, createGateway, createHealth, createSharedLevel, healthChecks,
  policyFromConfig, readConfig
} = require('../../lib/gateway');
const http = require('../../lib/http');
const sekering = require('../../lib');
const { IrisClient, MidtransClient, advance, canMove } = require('../../lib/clients/midtrans');
const midtransClient = require('../../lib/clients/midtrans-client');
const { SmtpClient, SmtpError } = require('../../lib/clients/smtp');
const {
  CloudApiClient, GreenApiClient, SessionPool
} = require('../../lib/clients/whatsapp');
const decorators = require('../../lib/primitives/decorators');
const { migrateStore, openStore } = require('../../lib/store');
const testing = require('../../lib/testing');
const { listEntrances } = require('../support/entrances');

const SECRET = 'planted-secret';
const NAME = 'nosuchOption';
const WRONG = { [NAME]: SECRET };
const action = async () => 1;

const breaker = new sekering.CircuitBreaker(action);
const policy = sekering.policy();
const chain = sekering.fallbackChain([() => 1]);
const midtrans = new MidtransClient({ serverKey: 'SB-Mid-server-planted' });
const iris = new IrisClient({ apiKey: 'planted' });
const transport = { sendMail: action };
const smtp = new SmtpClient({ transport });
const cloud = new CloudApiClient({ accessToken: 'planted', phoneNumberId: '1' });
const green = new GreenApiClient({ instanceId: '1', token: 'planted' });
const sessions = new SessionPool({ connect: action });
const degradation = createDegradation();
const order = { orderId: 'unknown-1', amountMinor: 1000 };

let store;
let fakes;
let proxy;

beforeAll(async () => {
  store = await openStore({
    memory: true, payments: { midtrans }, channels: { JOB: {} }
  });
  const [midtransFake, smtpFake, whatsappFake] = await Promise.all([
    testing.startMidtransFake(), testing.startSmtpFake(), testing.startWhatsAppFake()]);
  fakes = { midtrans: midtransFake, smtp: smtpFake, whatsapp: whatsappFake };
  proxy = await testing.startTcpProxy({ target: smtpFake.port });
});

afterAll(async () => {
  await Promise.all([store.close(), proxy.close(), midtrans.close(), iris.close(), cloud.close(),
    green.close(),
    ...Object.values(fakes).map(fake => fake.close())]);
  smtp.close();
  sessions.close();
});

const DATA = 'what it reads is data, which has checks of its own';
const DROP_IN = 'a drop-in is as lenient as what it stands in for';
const A_PART = 'a part that sekering made';

/** By entrance: a call with an unknown option, or why there is none. */
const ENTRANCES = {
  // sekering
  'new :SekeringError(options)': 'as Error has it',
  'new :CircuitBreaker(options)': wrong => new sekering.CircuitBreaker(action, wrong),
  'CircuitBreaker.run(options)': wrong => breaker.run(action, wrong),
  'CircuitBreaker.fallback(func)': A_PART,
  ':CircuitBreaker.newStatus(options)': DROP_IN,
  'new :CircuitBreaker.Status(options)': DROP_IN,
  ':getCircuitBreaker(options)': wrong => sekering.getCircuitBreaker('unknown', wrong),
  ':getCircuitBreaker().run(options)': 'see CircuitBreaker',
  ':getCircuitBreaker().fallback(func)': A_PART,
  ':createBackoff(options)': wrong => sekering.createBackoff(wrong),
  ':retry(options)': wrong => sekering.retry(action, wrong),
  ':retry.retryable(options)': wrong => sekering.retryable(action, wrong),
  'new :BreakerGroup(options)': wrong => new sekering.BreakerGroup(action, wrong),
  ':fallbackChain(options)': wrong => sekering.fallbackChain([action], wrong),
  ':fallbackChain().answer(call)': wrong => chain.answer(new Error('x'), wrong),
  ':fallbackChain().remember(call)': wrong => chain.remember(1, wrong),
  ':fallbackChain().execute(call)': wrong => chain.execute(action, wrong),
  'new :NonRetryableError(options)': wrong => new sekering.NonRetryableError('x', wrong),
  'new :RetryableError(options)': wrong => new sekering.RetryableError('x', wrong),
  ':retryOn(options)': wrong => sekering.retryOn(wrong),
  'new :Bulkhead(options)': wrong => new sekering.Bulkhead({ maxConcurrent: 1, ...wrong }),
  'Bulkhead.execute(options)':
    wrong => new sekering.Bulkhead({ maxConcurrent: 1 }).execute(action, wrong),
  'new :AdaptiveLimiter(options)': wrong => new sekering.AdaptiveLimiter(wrong),
  'AdaptiveLimiter.execute(options)':
    wrong => new sekering.AdaptiveLimiter().execute(action, wrong),
  'new :RateLimiter(options)':
    wrong => new sekering.RateLimiter({ limit: 1, interval: 1000, ...wrong }),
  'RateLimiter.execute(options)':
    wrong => new sekering.RateLimiter({ limit: 1, interval: 1000 }).execute(action, wrong),
  'new :RetryBudget(options)': wrong => new sekering.RetryBudget(wrong),
  ':hedge(options)': wrong => sekering.hedge({ safeToRepeat: true, delay: 1, ...wrong }),
  'Hedge.execute(options)': wrong =>
    sekering.hedge({ safeToRepeat: true, delay: 1 }).execute(action, wrong),
  ':chaos(options)': wrong => sekering.chaos({ faults: [{ rate: 0, result: 1 }], ...wrong }),
  'Chaos.execute(options)': wrong =>
    sekering.chaos({ faults: [{ rate: 0, result: 1 }] }).execute(action, wrong),
  'new :LoadShedder(options)': wrong => new sekering.LoadShedder(wrong),
  'LoadShedder.execute(options)': wrong => new sekering.LoadShedder().execute(action, wrong),
  ':withDeadline(options)': wrong => sekering.withDeadline(1000, action, wrong),
  ':readDeadlineHeaders(headers)': DATA,
  ':policy(options)': wrong => sekering.policy(wrong),
  ':policy().cache.fetch(options)': 'see staleCache',
  ':policy().breaker.run(options)': 'see CircuitBreaker',
  ':policy().breaker.fallback(func)': A_PART,
  ':policy().execute(options)': wrong => policy.execute(action, wrong),
  ':policy().answer(options)': wrong => policy.answer(action, wrong),
  ':policy().wrap(options)': wrong => policy.wrap(action, wrong),
  ':protect(options)': wrong => sekering.protect({ pay: action }, { methods: ['pay'], ...wrong }),
  ':staleCache(options)': wrong => sekering.staleCache(wrong),
  ':staleCache().fetch(options)': wrong => sekering.staleCache().fetch('key', action, wrong),
  'new :Timeout(limit)': wrong => new sekering.Timeout({ initial: 1000, ...wrong }),
  'Timeout.execute(options)': wrong => new sekering.Timeout(1000).execute(action, wrong),
  // sekering/opossum
  'new opossum:CircuitBreaker(options)': DROP_IN,
  'opossum:newStatus(options)': DROP_IN,
  'opossum:prototype.fallback(func)': A_PART,
  'opossum:prototype.run(options)': 'see CircuitBreaker',
  // sekering/retry
  'RetryOperation.attempt(timeoutOps)': DROP_IN,
  'retry:createTimeout(options)': DROP_IN,
  'retry:operation(options)': DROP_IN,
  'retry:timeouts(options)': DROP_IN,
  'retry:wrap(options)': DROP_IN,
  // sekering/decorators
  'decorators:retry(options)': wrong => decorators.retry(wrong),
  'decorators:circuitBreaker(breaker)': wrong => decorators.circuitBreaker(wrong),
  // sekering/midtrans
  'midtrans:advance(options)': wrong => advance('pending', 'settlement', wrong),
  'midtrans:canMove(options)': wrong => canMove('pending', 'settlement', wrong),
  'midtrans:isPaid(transaction)': DATA,
  'new midtrans:MidtransClient(options)':
    wrong => new MidtransClient({ serverKey: 'SB-Mid-server-planted', ...wrong }),
  'MidtransClient.statusb2b(options)': wrong => midtrans.statusb2b('a', wrong),
  'MidtransClient.cardPointInquiry(options)': wrong => midtrans.cardPointInquiry('a', wrong),
  'MidtransClient.getPaymentAccount(options)': wrong => midtrans.getPaymentAccount('a', wrong),
  'MidtransClient.unlinkPaymentAccount(options)':
    wrong => midtrans.unlinkPaymentAccount('a', wrong),
  'MidtransClient.getSubscription(options)': wrong => midtrans.getSubscription('a', wrong),
  'MidtransClient.disableSubscription(options)': wrong => midtrans.disableSubscription('a', wrong),
  'MidtransClient.enableSubscription(options)': wrong => midtrans.enableSubscription('a', wrong),
  'MidtransClient.cancelSubscription(options)': wrong => midtrans.cancelSubscription('a', wrong),
  'MidtransClient.createTransactionToken(body)': DATA,
  'MidtransClient.createTransactionToken(options)': wrong => midtrans.createTransactionToken({
    transaction_details: { order_id: 'a', gross_amount: 1 } }, wrong),
  'MidtransClient.createTransactionRedirectUrl(body)': DATA,
  'MidtransClient.createTransactionRedirectUrl(options)':
    wrong => midtrans.createTransactionRedirectUrl({
      transaction_details: { order_id: 'a', gross_amount: 1 } }, wrong),
  'MidtransClient.cardRegister(options)':
    wrong => midtrans.cardRegister({ client_key: 'a' }, wrong),
  'MidtransClient.cardToken(options)':
    wrong => midtrans.cardToken({ client_key: 'a' }, wrong),
  'MidtransClient.linkPaymentAccount(options)': wrong => midtrans.linkPaymentAccount({}, wrong),
  'MidtransClient.createSubscription(body)': DATA,
  'MidtransClient.createSubscription(options)':
    wrong => midtrans.createSubscription({ amount: 1 }, wrong),
  'MidtransClient.updateSubscription(options)':
    wrong => midtrans.updateSubscription('a', {}, wrong),
  'MidtransClient.request(options)': wrong => midtrans.request('GET', '/v2/a', {}, wrong),
  'new midtrans:IrisClient(options)':
    wrong => new IrisClient({ apiKey: 'planted', ...wrong }),
  'IrisClient.getBeneficiaries(options)': wrong => iris.getBeneficiaries(wrong),
  'IrisClient.getBeneficiaryBanks(options)': wrong => iris.getBeneficiaryBanks(wrong),
  'IrisClient.getTopupChannels(options)': wrong => iris.getTopupChannels(wrong),
  'IrisClient.getBalance(options)': wrong => iris.getBalance(wrong),
  'IrisClient.getFacilitatorBankAccounts(options)': wrong => iris.getFacilitatorBankAccounts(wrong),
  'IrisClient.ping(options)': wrong => iris.ping(wrong),
  'IrisClient.getPayoutDetails(options)': wrong => iris.getPayoutDetails('a', wrong),
  'IrisClient.getFacilitatorBalance(options)': wrong => iris.getFacilitatorBalance('a', wrong),
  'IrisClient.createPayouts(body)': DATA,
  'IrisClient.createPayouts(options)': wrong => iris.createPayouts({ payouts: [{
    amount: 1, beneficiary_name: 'a', beneficiary_account: '1', beneficiary_bank: 'bca'
  }] }, wrong),
  'IrisClient.approvePayouts(body)': DATA,
  'IrisClient.approvePayouts(options)':
    wrong => iris.approvePayouts({ reference_nos: ['a'] }, wrong),
  'IrisClient.rejectPayouts(body)': DATA,
  'IrisClient.rejectPayouts(options)':
    wrong => iris.rejectPayouts({ reference_nos: ['a'] }, wrong),
  'IrisClient.createBeneficiaries(options)': wrong => iris.createBeneficiaries({}, wrong),
  'IrisClient.updateBeneficiaries(options)':
    wrong => iris.updateBeneficiaries('a', {}, wrong),
  'IrisClient.getTransactionHistory(query)': DATA,
  'IrisClient.getTransactionHistory(options)': wrong => iris.getTransactionHistory({}, wrong),
  'IrisClient.validateBankAccount(options)': wrong => iris.validateBankAccount({}, wrong),
  'IrisClient.request(options)': wrong => iris.request('GET', '/ping', {}, wrong),
  'MidtransClient.createTransaction(body)': DATA,
  'MidtransClient.createTransaction(options)': wrong => midtrans.createTransaction({
    transaction_details: { order_id: 'a', gross_amount: 1 } }, wrong),
  'MidtransClient.charge(body)': DATA,
  'MidtransClient.charge(options)': wrong => midtrans.charge({
    payment_type: 'gopay', transaction_details: { order_id: 'a', gross_amount: 1 } }, wrong),
  'MidtransClient.capture(body)': DATA,
  'MidtransClient.capture(options)':
    wrong => midtrans.capture({ transaction_id: 'a', gross_amount: 1 }, wrong),
  'MidtransClient.status(options)': wrong => midtrans.status('a', wrong),
  'MidtransClient.approve(options)': wrong => midtrans.approve('a', wrong),
  'MidtransClient.deny(options)': wrong => midtrans.deny('a', wrong),
  'MidtransClient.cancel(options)': wrong => midtrans.cancel('a', wrong),
  'MidtransClient.expire(options)': wrong => midtrans.expire('a', wrong),
  'MidtransClient.refund(body)': DATA,
  'MidtransClient.refund(options)': wrong => midtrans.refund('a', {}, wrong),
  'MidtransClient.directRefund(body)': DATA,
  'MidtransClient.directRefund(options)': wrong => midtrans.directRefund('a', {}, wrong),
  'MidtransClient.ping(options)': wrong => midtrans.ping(wrong),
  'MidtransClient.verifyNotification(options)': wrong => midtrans.verifyNotification({}, wrong),
  'MidtransClient.confirmNotification(options)': wrong => midtrans.confirmNotification({}, wrong),
  // sekering/midtrans-client
  'new midtrans-client:Snap(options)': DROP_IN,
  'new midtrans-client:Snap(protection)': wrong => new midtransClient.Snap({}, wrong),
  'new midtrans-client:CoreApi(options)': DROP_IN,
  'new midtrans-client:CoreApi(protection)': wrong => new midtransClient.CoreApi({}, wrong),
  'new midtrans-client:Iris(options)': DROP_IN,
  'new midtrans-client:Iris(protection)': wrong => new midtransClient.Iris({}, wrong),
  'ApiConfig.set(options)': DROP_IN,
  'HttpClient.http_client(config)': DROP_IN,
  'Http.create(config)': DROP_IN,
  // sekering/smtp
  'new smtp:SmtpError(details)': wrong => new SmtpError(new Error('x'), wrong),
  'new smtp:SmtpClient(options)': wrong => new SmtpClient({ transport, ...wrong }),
  'SmtpClient.send(message)': DATA,
  'SmtpClient.send(options)': wrong => smtp.send({
    from: 'a@shop.example', to: 'b@shop.example', text: 'x' }, wrong),
  'SmtpClient.check(message)': DATA,
  'SmtpClient.verify(options)': wrong => smtp.verify(wrong),
  // sekering/whatsapp
  'whatsapp:classifyCloudError(error)': DATA,
  'new whatsapp:WhatsAppError(judged)': DATA,
  'new whatsapp:CloudApiClient(options)':
    wrong => new CloudApiClient({ accessToken: 'planted', phoneNumberId: '1', ...wrong }),
  'CloudApiClient.send(message)': DATA,
  'CloudApiClient.send(options)':
    wrong => cloud.send({ to: '6281234567890', type: 'text', text: { body: 'x' } }, wrong),
  'CloudApiClient.check(message)': DATA,
  'CloudApiClient.markRead(options)': wrong => cloud.markRead('wamid.1', wrong),
  'CloudApiClient.receiveWebhook(options)': wrong => cloud.receiveWebhook('{}', 'x', wrong),
  'CloudApiClient.sendText(options)': wrong => cloud.sendText('6281234567890', 'x', wrong),
  'CloudApiClient.sendTemplate(template)': DATA,
  'CloudApiClient.sendTemplate(options)':
    wrong => cloud.sendTemplate('6281234567890', { name: 'x', language: 'id' }, wrong),
  'CloudApiClient.ping(options)': wrong => cloud.ping(wrong),
  'CloudApiClient.uploadMedia(media)': DATA,
  'CloudApiClient.uploadMedia(options)':
    wrong => cloud.uploadMedia({ data: Buffer.from('x'), type: 'image/png' }, wrong),
  'whatsapp:fromBaileys()(context)': DATA,
  'whatsapp:fromWhatsappWeb()(context)': DATA,
  'new whatsapp:GreenApiClient(options)':
    wrong => new GreenApiClient({ instanceId: '1', token: 'planted', ...wrong }),
  'GreenApiClient.send(message)': DATA,
  'GreenApiClient.send(options)': wrong => green.send({ to: '6281234567890', message: 'x' }, wrong),
  'GreenApiClient.check(message)': DATA,
  'GreenApiClient.markRead(options)':
    wrong => green.markRead('x', { chat: '6281234567890', ...wrong }),
  'GreenApiClient.sendTyping(options)': wrong => green.sendTyping('6281234567890', wrong),
  'GreenApiClient.sendFile(options)': wrong => green.sendFile('6281234567890',
    { url: 'https://a.test/a.png', filename: 'a.png' }, wrong),
  'GreenApiClient.sendText(options)': wrong => green.sendText('6281234567890', 'x', wrong),
  'GreenApiClient.ping(options)': wrong => green.ping(wrong),
  'new whatsapp:SessionPool(options)': wrong => new SessionPool({ connect: action, ...wrong }),
  'SessionPool.send(options)': wrong => sessions.send('a', '6281234567890', { text: 'x' }, wrong),
  'SessionPool.markRead(options)':
    wrong => sessions.markRead('a', { remoteJid: '6281234567890@c.us', id: 'x' }, wrong),
  'SessionPool.sendTyping(options)': wrong => sessions.sendTyping('a', '6281234567890', wrong),
  'SessionPool.connect(options)': wrong => sessions.connect('a', wrong),
  'SessionPool.requestQr(options)': wrong => sessions.requestQr('a', wrong),
  // sekering/browser
  'browser:autoRetry(options)': 'runs on a page only: see browser.test.js',
  'store:migrateStore(options)': wrong => migrateStore({ memory: true, ...wrong }),
  // sekering/store
  'store:openStore(options)': wrong => openStore({ memory: true, ...wrong }),
  'new store:StoreError(options)': 'as Error has it',
  'Store.cleanUp(options)': wrong => store.cleanUp(wrong),
  'Outbox.enqueue(message)': DATA,
  'Outbox.enqueue(options)':
    wrong => store.outbox.enqueue({ channel: 'JOB', recipient: 'a', body: 'x' }, wrong),
  'Outbox.registerChannel(definition)': wrong => store.outbox.registerChannel('OTHER', wrong),
  'Outbox.list(filter)': wrong => store.outbox.list(wrong),
  'Outbox.stats(options)': wrong => store.outbox.stats(wrong),
  'Outbox.createWorker(options)':
    wrong => store.outbox.createWorker({ channels: { JOB: action }, ...wrong }),
  'OutboxWorker.stop(options)':
    wrong => store.outbox.createWorker({ channels: { JOB: action } }).stop(wrong),
  'DeadLetters.add(message)': DATA,
  'DeadLetters.add(options)': wrong => store.deadLetters.add('1', 'x', wrong),
  'DeadLetters.count(filter)': wrong => store.deadLetters.count(wrong),
  'DeadLetters.list(filter)': wrong => store.deadLetters.list(wrong),
  'DeadLetters.purge(filter)': wrong => store.deadLetters.purge({ olderThan: 1, ...wrong }),
  'DeadLetters.retryMany(filter)': wrong => store.deadLetters.retryMany(wrong),
  'DeadLetters.recover(options)': wrong => store.deadLetters.recover({}, wrong),
  'Deliveries.failures(options)': wrong => store.deliveries.failures(wrong),
  'Idempotency.run(options)': wrong => store.idempotency.run('key', action, wrong),
  'Payments.open(body)': DATA,
  'Payments.open(options)': wrong => store.payments.open({
    transaction_details: { order_id: 'unknown-2', gross_amount: 1 } }, wrong),
  'Payments.defer(body)': DATA,
  'Payments.defer(options)': wrong => store.payments.defer({
    transaction_details: { order_id: 'unknown-3', gross_amount: 1 } }, wrong),
  'Payments.createOrder(order)': wrong => store.payments.createOrder({ ...order, ...wrong }),
  'Payments.createOrder(options)': wrong => store.payments.createOrder(order, wrong),
  'Payments.list(filter)': wrong => store.payments.list(wrong),
  'Payments.listEvents(filter)': wrong => store.payments.listEvents(wrong),
  'Payments.reconcile(options)': wrong => store.payments.reconcile(wrong),
  'Payments.review(options)':
    wrong => store.payments.review('a', 'dismiss', { by: 'x', reason: 'y', ...wrong }),
  'Fleet.join(breaker)': A_PART,
  'Fleet.join(options)': wrong => store.fleet.join(breaker, wrong),
  'Fleet.leave(breaker)': A_PART,
  // sekering/gateway
  'gateway:readConfig(config)': 'ERR_CONFIG: see config.test.js',
  'gateway:readConfig(options)': wrong => readConfig({}, wrong),
  'gateway:policyFromConfig(config)': 'ERR_CONFIG: see config.test.js',
  'gateway:policyFromConfig(parts)': wrong => policyFromConfig({}, wrong),
  'gateway:policyFromConfig().execute(options)': 'see policy',
  'gateway:policyFromConfig().answer(options)': 'see policy',
  'gateway:policyFromConfig().wrap(options)': 'see policy',
  'gateway:createGateway(config)': 'ERR_CONFIG: see config.test.js',
  'gateway:createGateway(parts)': wrong => createGateway({ store: { memory: true } }, wrong),
  'gateway:createDegradation(options)': wrong => createDegradation(wrong),
  'Degradation.setLevel(options)':
    wrong => degradation.setLevel('SEVERE', { reason: 'x', ...wrong }),
  'Degradation.guard(options)': wrong => degradation.guard(() => true, wrong),
  'Degradation.requireService(options)':
    wrong => createDegradation({ services: { a: breaker } }).requireService('a', wrong),
  'gateway:createHealth(options)': wrong => createHealth(wrong),
  'HealthCheck.check(context)': "the user's own function",
  'gateway:healthChecks.ping(client)': A_PART,
  'gateway:healthChecks.smtp(client)': A_PART,
  'gateway:healthChecks.worker(options)': wrong => healthChecks.worker(
    { running: true, lastBeat: 0, inFlight: 0 }, wrong),
  'gateway:createSharedLevel(options)':
    wrong => createSharedLevel({ store, degradation, ...wrong }),
  'Gateway.payments.createOrder(body)': DATA,
  'Gateway.payments.createOrder(options)': withGateway((gateway, wrong) =>
    gateway.payments.createOrder(
      { transaction_details: { order_id: 'unknown-4', gross_amount: 1 } }, wrong)),
  'Gateway.notify(message)': DATA,
  'Gateway.notify(options)': withGateway((gateway, wrong) => gateway.notify(
    { channel: 'JOB', recipient: 'a', body: 'x' }, wrong)),
  'Gateway.upstream(options)':
    withGateway((gateway, wrong) => gateway.upstream('stock', action, wrong)),
  'Gateway.report(options)': withGateway((gateway, wrong) => gateway.report(wrong)),
  'Gateway.stop(options)': withGateway((gateway, wrong) => gateway.stop(wrong)),
  // sekering/http
  'http:createAudit(options)': wrong => http.createAudit(wrong),
  'Audit.record(entry)': DATA,
  'Audit.list(filter)': wrong => http.createAudit().list(wrong),
  'http:createEventStream(options)': wrong => http.createEventStream(wrong),
  'http:createBreakerHistory(options)': wrong => http.createBreakerHistory(wrong),
  'BreakerHistory.read(filter)': withHistory((history, wrong) => history.read(wrong)),
  'http:createAdminRouter(options)': wrong => http.createAdminRouter(wrong),
  'http:createWebhookRouter(options)':
    wrong => http.createWebhookRouter({ payments: store.payments, ...wrong }),
  'http:createApp(gateway)': A_PART,
  'http:createApp(options)': withGateway((gateway, wrong) => http.createApp(gateway, wrong)),
  'http:startServer(gateway)': A_PART,
  'http:startServer(options)': withGateway((gateway, wrong) => http.startServer(gateway, wrong)),
  'http:createDeadlineMiddleware(options)': wrong => http.createDeadlineMiddleware(wrong),
  'http:createBreakerMiddleware(options)':
    wrong => http.createBreakerMiddleware({ prefixes: ['/'], ...wrong }),
  'http:createHealthRouter(options)':
    wrong => http.createHealthRouter({ health: createHealth(), ...wrong }),
  'http:createMetrics(options)': wrong => http.createMetrics(wrong),
  'Metrics.router(options)': wrong => routerOf(http.createMetrics(), wrong),
  'http:createClusterMetrics(options)': wrong => http.createClusterMetrics(wrong),
  'ClusterMetrics.router(options)': wrong => routerOf(http.createClusterMetrics(), wrong),
  'http:idempotent(options)':
    wrong => http.idempotent({ idempotency: store.idempotency, ...wrong }),
  'http:problem(members)': 'further members are part of a problem (RFC 9457, 3.2)',
  'http:problemHandler(options)': wrong => http.problemHandler(wrong),
  'http:createTracing(options)': wrong => http.createTracing(wrong),
  'Tracing.breaker(breaker)': A_PART,
  'Tracing.retry(options)': wrong => http.createTracing().retry('x', action, wrong),
  'Tracing.sender()(context)': DATA,
  'Tracing.sender()(message)': DATA,
  // sekering/testing
  'testing:startSmtpFake(options)': wrong => testing.startSmtpFake(wrong),
  'SmtpFake.set(fault)': wrong => fakes.smtp.set({ stage: 'data', ...wrong }),
  'testing:startWhatsAppFake(options)': wrong => testing.startWhatsAppFake(wrong),
  'WhatsAppFake.set(fault)': wrong => fakes.whatsapp.set({ kind: 'hang', ...wrong }),
  'WhatsAppFake.statusOf(message)': DATA,
  'WhatsAppFake.notify(options)':
    wrong => fakes.whatsapp.notify('http://127.0.0.1:1', {}, wrong),
  'testing:useVirtualClock(options)': wrong => testing.useVirtualClock(wrong),
  'testing:startMidtransFake(options)': wrong => testing.startMidtransFake(wrong),
  'MidtransFake.set(fault)': wrong => fakes.midtrans.set({ kind: 'hang', ...wrong }),
  'MidtransFake.notifications(options)': wrong => fakes.midtrans.notifications('a', wrong),
  'MidtransFake.notify(options)':
    wrong => fakes.midtrans.notify('http://127.0.0.1:1', 'a', wrong),
  'MidtransFake.notifyTest(options)':
    wrong => fakes.midtrans.notifyTest('http://127.0.0.1:1', wrong),
  'testing:startTcpProxy(options)': wrong => testing.startTcpProxy({ target: 1, ...wrong }),
  'TcpProxy.set(faults)': wrong => proxy.set(wrong),
};

// What is within options has a table of its own.
const NESTED = {
  "a policy's retry": wrong => sekering.policy({ retry: wrong }),
  "a policy's breaker": wrong => sekering.policy({ breaker: wrong }),
  "a policy's bulkhead": wrong => sekering.policy({ bulkhead: { maxConcurrent: 1, ...wrong } }),
  "a policy's adaptive limit": wrong => sekering.policy({ adaptiveLimit: wrong }),
  "a policy's rate limit":
    wrong => sekering.policy({ rateLimit: { limit: 1, interval: 1, ...wrong } }),
  "a policy's cache": wrong => sekering.policy({ cache: wrong }),
  "a policy's timeout": wrong => sekering.policy({ timeout: { initial: 1, ...wrong } }),
  "a policy's hedge": wrong =>
    sekering.policy({ hedge: { safeToRepeat: true, delay: 1, ...wrong } }),
  "a hedge's delay": wrong =>
    sekering.hedge({ safeToRepeat: true, delay: { quantile: 0.5, max: 1, ...wrong } }),
  "a hedge's budget": wrong =>
    sekering.hedge({ safeToRepeat: true, delay: 1, budget: wrong }),
  "a policy's shed": wrong => sekering.policy({ shed: wrong }),
  "a policy's chaos": wrong =>
    sekering.policy({ chaos: { faults: [{ rate: 0, result: 1 }], ...wrong } }),
  'a fault': wrong => sekering.chaos({ faults: [{ rate: 0, result: 1, ...wrong }] }),
  "a fallback's strategy": wrong => sekering.fallbackChain([{ use: action, ...wrong }]),
  "a breaker's reset": wrong =>
    new sekering.CircuitBreaker(action, { resetTimeout: { initial: 1, ...wrong } }),
  "a group's breakers": wrong => new sekering.BreakerGroup(action, { timeout: 1, ...wrong }),
  "Midtrans's retry":
    wrong => new MidtransClient({ serverKey: 'SB-Mid-server-planted', retry: wrong }),
  "Midtrans's breaker":
    wrong => new MidtransClient({ serverKey: 'SB-Mid-server-planted', breaker: wrong }),
  "SMTP's retry": wrong => new SmtpClient({ transport, retry: wrong }),
  "SMTP's relay": wrong => new SmtpClient({ relays: [{ transport, ...wrong }] }),
  "SMTP's breaker": wrong => new SmtpClient({ transport, breaker: wrong }),
  "WhatsApp's retry": wrong =>
    new GreenApiClient({ instanceId: '1', token: 'planted', retry: wrong }),
  "WhatsApp's breaker": wrong =>
    new GreenApiClient({ instanceId: '1', token: 'planted', breaker: wrong }),
  "a pool's breakers": wrong => new SessionPool({ connect: action, breaker: wrong }),
  "a store's channel": wrong => openStore({ memory: true, channels: { JOB: wrong } }),
  "a store's idempotency": wrong => openStore({ memory: true, idempotency: wrong }),
  "a store's payments":
    wrong => openStore({ memory: true, payments: { midtrans, ...wrong } }),
  "payments' hooks": wrong =>
    openStore({ memory: true, payments: { midtrans, hooks: wrong } }),
  "a channel's backoff": wrong => store.outbox.registerChannel('OTHER', { backoff: wrong }),
  "a worker's channel": wrong =>
    store.outbox.createWorker({ channels: { JOB: { send: action, ...wrong } } }),
  'a health check': wrong => createHealth({ checks: { db: { check: action, ...wrong } } }),
  'a rule of degradation':
    wrong => createDegradation({ rules: [{ level: 'SEVERE', down: 1, ...wrong }] }),
  "an administrator's token": wrong => http.createAdminRouter({
    tokens: [{ name: 'a', role: 'read', token: 'planted-token-0123456789', ...wrong }] }),
  "the administrators' rate limit": wrong => http.createAdminRouter({ rateLimit: wrong }),
  "a middleware's breaker": wrong =>
    http.createBreakerMiddleware({ prefixes: ['/'], breaker: wrong }),
};

/** @returns what the call threw, or rejected with */
async function errorOf (call) {
  try {
    await call(WRONG);
  } catch (error) {
    return error;
  }
  return undefined;
}

test('every entrance of the package is listed here', () => {
  expect(Object.keys(ENTRANCES).toSorted()).toEqual(listEntrances());
});

const calls = [...Object.entries(ENTRANCES), ...Object.entries(NESTED)]
  .filter(([, call]) => typeof call === 'function');

test.each(calls)('%s rejects an unknown option', async (_, call) => {
  const error = await errorOf(call);
  expect(error).toMatchObject(
    { code: 'ERR_INVALID_OPTION', option: expect.stringMatching(new RegExp(`\\b${NAME}$`)) });
  expect(error.message).toMatch(new RegExp(`^Unknown option ${NAME}\\b.*Known options: `));
  expect(error.message).not.toContain(SECRET);
});

test('an option that is undefined is as if it were not there', () => {
  const retry = { retries: 1, signal: undefined };
  expect(() => new SmtpClient({ transport, retry })).not.toThrow();
});

test('a misspelt option is told by its right name', async () => {
  expect(() => createHealth({ checks: { db: { check: action, critcal: true } } }))
    .toThrow('Unknown option critcal in checks.db. Did you mean critical?');
  await expect(breaker.run(action, { singal: undefined }))
    .rejects.toThrow('Unknown option singal. Did you mean signal?');
});

/** A call that needs a gateway of its own. */
function withGateway (call) {
  return async wrong => {
    const gateway = await createGateway({
      profile: 'testing', store: { memory: true }, upstreams: { stock: {} },
      midtrans: { serverKey: 'SB-Mid-server-planted' }, logging: { level: 'silent' },
    }, { senders: { JOB: action } });
    try {
      return await call(gateway, wrong);
    } finally {
      await gateway.stop();
    }
  };
}

function routerOf (metrics, wrong) {
  try {
    return metrics.router(wrong);
  } finally {
    metrics.close();
  }
}

function withHistory (call) {
  return wrong => {
    const history = http.createBreakerHistory();
    try {
      return call(history, wrong);
    } finally {
      history.close();
    }
  };
}
